/* SPDX-License-Identifier: MIT */
/* What each command of `flashvm` is, and what they share. */
#pragma once

#include <getopt.h>

#include <flashvm/flashvm.h>

#include "cli/progress.h"

struct command {
    const char *name;
    const char *summary; /* one line for `flashvm help` */
    const char *help;    /* the text of `flashvm help NAME`, from "Usage:" on */
    /* argv[0] is the command's name. Return: the exit code. */
    int (*run)(int argc, char **argv);
};

extern const struct command run_command;
extern const struct command doctor_command;
extern const struct command image_command;
extern const struct command version_command;
extern const struct command help_command;

/* Tell of a wrong use, and where to read more. Return: the exit code. */
int command_usage_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As above for what getopt_long() returned, ':' or '?', with ":" at the start of its short options.
 */
int command_option_error(const struct command *command, int returned,
                         const struct option *long_options, char **argv);

/* Print the command's help to stdout. Return: the exit code. */
int command_show_help(const struct command *command);

/* The open library, with the progress line that belongs to it. */
struct library {
    struct flashvm *fvm;
    struct progress progress;
};

/* Open the library in the directories that the environment names (FLASHVM_DATA_DIR, …). */
int library_open(struct library *library, struct flashvm_error *error);
void library_close(struct library *library);
#define cleanup_library __attribute__((cleanup(library_close)))
