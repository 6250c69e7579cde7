/* SPDX-License-Identifier: MIT */
/* Programs of the host that do a piece of work for us and end: skopeo, buildah, krunvm. */
#pragma once

#include <stdint.h>

#include "base/caller.h"
#include "base/error.h"

struct fvm_tool_call {
    const char *const *argv;        /* argv[0] is a path */
    const char *const *environment; /* NULL-terminated; see fvm_tool_environment() */
    const char *directory;          /* to start in; NULL: the caller's */
    uint64_t timeout_ms;            /* then it is ended, and the call fails */
    int lock_fd; /* stays open in the program as descriptor 3, so that it holds a lock as long as it
                    runs, even when we do not live to see its end; -1: none */
    bool must_finish; /* a caller who gives up waits for it all the same, up to the timeout: half of
                         what it does would be worse */
};

/*
 * Run it to its end.
 * @ret_output: what it wrote to stdout, at most 1 MiB, NUL-terminated, to be freed. May be NULL.
 * Return: 0 when it exited with 0. Else -1 with the error set: FLASHVM_CANCELLED; or FLASHVM_IO with
 * the program's name, how it ended, and the last words that it wrote.
 */
int fvm_tool_run(const struct fvm_tool_call *call, struct fvm_caller *caller, char **ret_output,
                 struct flashvm_error *error);

/*
 * What container tools want to know of the caller's environment (where its home, its storage and
 * its other programs are), and nothing else.
 * @overrides: NULL-terminated "NAME=value" that take precedence; may be NULL.
 * Return: one block, to be freed, strings and all; NULL when memory is exhausted.
 */
char **fvm_tool_environment(const char *const *overrides);
