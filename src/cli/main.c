/* SPDX-License-Identifier: MIT */
/* flashvm: the command over libflashvm. Finds the command that is asked for, and makes sure of
 * stdout. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/message.h"

static const struct command *const commands[] = {
    &run_command, &doctor_command, &image_command, &version_command, &help_command,
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_overview(FILE *stream)
{
    fputs("Usage: flashvm COMMAND [ARGUMENT...]\n"
          "Run Python snippets, each in a microVM of its own.\n"
          "\n"
          "Commands:\n",
          stream);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(stream, "  %-8s  %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n"
          "Try:  flashvm run -c \"print('hi')\"\n"
          "\n"
          "'flashvm help COMMAND' explains one of them; 'man flashvm' tells everything.\n"
          "\n"
          "Environment:\n"
          "  FLASHVM_CACHE_DIR    the cache (flashvm in $XDG_CACHE_HOME or ~/.cache)\n"
          "  FLASHVM_DATA_DIR     the guest's kernel, initramfs and embedded image\n"
          "  FLASHVM_LIBEXEC_DIR  the helper programs\n"
          "  FLASHVM_OFFLINE      1 is shown by doctor; flashVM never uses a network\n"
          "\n"
          "Exit codes from 240 on are flashVM's own; 'flashvm help run' lists them.\n",
          stream);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    show_error("there is no command '%s'; 'flashvm help' lists those there are", name);
    return FLASHVM_INVALID_ARGUMENT;
}

static int help_run(int argc, char **argv)
{
    const struct command *command;

    if (argc > 2)
        return command_usage_error(&help_command, "'%s' is one argument too many", argv[2]);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_overview(stdout);
        return 0;
    }
    command = find_command(argv[1]);
    return command ? command_show_help(command) : unknown_command(argv[1]);
}

const struct command help_command = {
    .name = "help",
    .summary = "list the commands, or explain one of them",
    .help = "Usage: flashvm help [COMMAND]\n"
            "List the commands, or explain one of them.\n"
            "\n"
            "  -h, --help  list the commands\n",
    .run = help_run,
};

/*
 * Take up the places of closed standard descriptors, so that no file that is opened later gets one
 * of them and receives what was meant for the terminal. The wrong way round: using one still fails.
 */
static void reserve_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct command *command;

    if (name == NULL) {
        print_overview(stderr);
        return FLASHVM_INVALID_ARGUMENT;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    command = find_command(name);
    return command ? command->run(argc - 1, argv + 1) : unknown_command(name);
}

int main(int argc, char **argv)
{
    int exit_code;

    reserve_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error that we report */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not become larger */
    exit_code = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        show_error("cannot write to standard output: %s", strerror(errno));
        return FLASHVM_IO;
    }
    return exit_code;
}
