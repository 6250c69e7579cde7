/* SPDX-License-Identifier: MIT */
/* Files and directories of the host: read, write, make, remove. All descriptors are O_CLOEXEC. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
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

/*
 * Give a file this content: a reader finds the old one or the new one, whole. For what can be made
 * again: nothing waits for the disk. Return: 0, or -1 with errno set and nothing changed.
 */
int fvm_replace_file(const char *path, const char *text);

/* mkdir -p: each missing component is made with `mode`. */
int fvm_make_directories(const char *path, mode_t mode, struct flashvm_error *error);

/* rm -rf, never following symlinks; what is missing is no error. Best effort: goes on after a
 * failure. */
void fvm_remove_tree(const char *path);

/*
 * A file's identity in one line of text: inode, size, and the times of its last changes. As long as
 * it stays the same, so did the content. The second time (ctime) cannot be set back, so that
 * neither a restored mtime nor another file in its place goes unnoticed; a new identity does not
 * mean new content, though (a copy, a chmod, another mount of an overlay).
 */
enum { FVM_FILE_IDENTITY_SIZE = 128 };
void fvm_file_identity(const struct stat *status, char ret_text[FVM_FILE_IDENTITY_SIZE]);

/* The path from the root on, so that it stays right when the process changes its directory. To be
 * freed; NULL with the error set. */
char *fvm_absolute_path(const char *path, struct flashvm_error *error);

/* A printf that allocates. Return: NULL when memory is exhausted. */
char *fvm_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is `path` something one may run (an executable regular file)? */
int fvm_is_program(const char *path);

/* Find a program on $PATH, as execvp does. To be freed; NULL when it is not there. */
char *fvm_find_program(const char *name);

/* Find whatever has that name on $PATH, for an error that tells why it is none. */
char *fvm_find_on_path(const char *name);
