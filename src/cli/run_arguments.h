/* SPDX-License-Identifier: MIT */
/* The command line of `flashvm run`. */
#pragma once

#include <stdbool.h>

#include <flashvm/flashvm.h>

struct run_arguments {
    struct flashvm_run_options options; /* its strings are those of argv */
    const char *code;                   /* of -c; NULL: there is a file */
    const char *file;                   /* "-" for standard input; NULL: there is -c */
    const char *out_dir;                /* NULL: do not save artifacts */
    bool as_json;
    bool quiet;
    bool help;
    const char **env, **expect, **ports, **python_args; /* NULL-terminated */
    struct flashvm_file_in *files_in;                   /* with paths of their own */
};

/* Return: 0, or the exit code after a message. Call run_arguments_finish() in either case. */
int run_arguments_parse(struct run_arguments *arguments, int argc, char **argv);
void run_arguments_finish(struct run_arguments *arguments);
#define cleanup_run_arguments __attribute__((cleanup(run_arguments_finish)))
