/* SPDX-License-Identifier: MIT */
/* flashvm version */
#include <getopt.h>
#include <stdio.h>

#include "cli/command.h"

static int version_run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option = 0;

    /* `flashvm --version` comes here as well, with argv[0] being that. */
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1)
        return option == 'h' ? command_show_help(&version_command)
                             : command_option_error(&version_command, option, options, argv);
    if (optind < argc)
        return command_usage_error(&version_command, "'%s' is one argument too many", argv[optind]);
    printf("flashvm %s\n", flashvm_version());
    return 0;
}

const struct command version_command = {
    .name = "version",
    .summary = "print the version",
    .help = "Usage: flashvm version\n"
            "Print the version.\n"
            "\n"
            "  -h, --help  print this text\n",
    .run = version_run,
};
