/* SPDX-License-Identifier: MIT */
/* Files and directories of the host: read, write, make, remove. All descriptors are O_CLOEXEC. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Read a whole regular file of at most `limit` bytes. FLASHVM_NOT_FOUND when it is missing.
 * @ret_data: NUL-terminated, to be freed; @ret_size: may be NULL.
 */
int fvm_read_file(const char *path, size_t limit, char **ret_data, size_t *ret_size,
                  struct flashvm_error *error);

/* Write all bytes to a descriptor, through short writes and EINTR. Return: 0, or -1 with errno set.
 */
int fvm_write_all(int fd, const void *data, size_t size);

/* mkdir -p: each missing component is made with `mode`. */
int fvm_make_directories(const char *path, mode_t mode, struct flashvm_error *error);

/* rm -rf, never following symlinks; what is missing is no error. Best effort: goes on after a
 * failure. */
void fvm_remove_tree(const char *path);

/* The path from the root on, so that it stays right when the process changes its directory. To be
 * freed; NULL with the error set. */
char *fvm_absolute_path(const char *path, struct flashvm_error *error);

/* A printf that allocates. Return: NULL when memory is exhausted. */
char *fvm_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is `path` something one may run (an executable regular file)? */
int fvm_is_program(const char *path);

/* Find a program on $PATH, as execvp does. To be freed; NULL when it is not there. */
char *fvm_find_program(const char *name);
