/* SPDX-License-Identifier: MIT */
/*
 * The cache directory's rules, for everything that is kept in it:
 *  - the directory and its subdirectories belong to the caller and nobody else may write to them;
 *  - an entry is made by the one process that holds the entry's lock, in a temporary file with a
 * fixed name, and gets its real name when it is complete and on disk;
 *  - so whoever holds the lock may delete the temporary file: its maker is dead.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/caller.h"
#include "base/error.h"

/*
 * Open the cache directory: made when missing, refused (FLASHVM_CACHE_UNSAFE) when it, or a part of
 * flashVM's own below it, is not owned by the caller or is writable by others.
 * @cache_dir: NULL for $XDG_CACHE_HOME/flashvm or ~/.cache/flashvm.
 * @ret_path: to be freed.
 */
int fvm_cache_open(const char *cache_dir, char **ret_path, struct flashvm_error *error);

/*
 * Open a subdirectory, after checking the cache directory and it.
 * @make: make it when it is missing (0700).
 */
int fvm_cache_open_directory(const char *cache_path, const char *name, bool make, int *ret_fd,
                             struct flashvm_error *error);

/*
 * Take the lock of entry `key` (a file KEY.lock, which stays until somebody who holds it clears the
 * entry away), waiting for its holder. Closing the descriptor gives the lock back, and so does
 * dying.
 * @waiting: what the caller is told once if the lock is not free.
 */
int fvm_cache_lock(int directory_fd, const char *key, struct fvm_caller *caller,
                   const char *waiting, int *ret_fd, struct flashvm_error *error);

/* As above without waiting. Return: 1 when it is taken, 0 when another holds it, -1. */
int fvm_cache_try_lock(int directory_fd, const char *key, int *ret_fd, struct flashvm_error *error);

/*
 * Begin to make the file `name`: remove a dead maker's temporary file and open a new one, empty,
 * for reading and writing. The lock must be held.
 */
int fvm_cache_begin_file(int directory_fd, const char *name, int *ret_fd,
                         struct flashvm_error *error);

/* Complete it: mode and content reach the disk, then the name changes. */
int fvm_cache_publish_file(int directory_fd, const char *name, int fd, mode_t mode,
                           struct flashvm_error *error);

/* Give it up. */
void fvm_cache_abandon_file(int directory_fd, const char *name);

/*
 * Open a published file for reading, if it can be trusted: a regular file of the caller's, that
 * nobody else may write. Return: the descriptor, or -1 when it is missing or not to be trusted.
 */
int fvm_cache_open_file(int directory_fd, const char *name, struct stat *ret_status);
