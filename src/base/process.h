/* SPDX-License-Identifier: MIT */
/* Starting a child process: an argv, a chosen environment, and only the descriptors it needs. No
 * shell. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Start argv[0] (a path) with an environment of PATH only and all signals at their defaults. The
 * child's descriptor i is a copy of fds[i]; fds[i] == -1 gives /dev/null. It has no others,
 * whatever the rest of this process has open without O_CLOEXEC.
 */
int fvm_process_start(const char *const *argv, const int *fds, size_t fd_count, pid_t *ret_pid,
                      struct flashvm_error *error);

/*
 * The same in another environment, and from a directory.
 * @environment: NULL-terminated "NAME=value" strings. @directory: NULL: the caller's.
 */
int fvm_process_start_in(const char *const *environment, const char *directory,
                         const char *const *argv, const int *fds, size_t fd_count, pid_t *ret_pid,
                         struct flashvm_error *error);

/*
 * Wait for a child to end. Return: its wait status, or -1 when it is unknown because the
 * surrounding program reaped it or ignores SIGCHLD.
 */
int fvm_process_wait(pid_t pid);
