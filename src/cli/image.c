/* SPDX-License-Identifier: MIT */
/* flashvm image prepare */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/message.h"

static int prepare(void)
{
    cleanup_error struct flashvm_error error = {0};
    cleanup_library struct library library = {0};
    cleanup_free char *image_used = NULL;

    if (library_open(&library, &error) != FLASHVM_OK ||
        flashvm_prepare_image(library.fvm, &image_used, &error) != FLASHVM_OK)
        return show_failure(&error);
    printf("%s\n", image_used);
    return 0;
}

static int image_run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1)
        return option == 'h' ? command_show_help(&image_command)
                             : command_option_error(&image_command, option, argv);
    if (optind == argc)
        return command_usage_error(&image_command, "say what to do: 'flashvm image prepare'");
    if (strcmp(argv[optind], "prepare") != 0)
        return command_usage_error(&image_command, "'%s' is not known; it can be 'prepare'",
                                   argv[optind]);
    if (optind + 1 < argc)
        return command_usage_error(&image_command, "'%s' is one argument too many",
                                   argv[optind + 1]);
    return prepare();
}

const struct command image_command = {
    .name = "image",
    .summary = "get the image ready before the first run",
    .help = "Usage: flashvm image prepare\n"
            "Unpack the embedded image into the cache, so that the first run need not, and\n"
            "print its reference with its digest. What is there already stays as it is.\n"
            "\n"
            "  -h, --help  print this text\n",
    .run = image_run,
};
