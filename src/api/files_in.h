/* SPDX-License-Identifier: MIT */
/* From a caller's files_in to the list of files that is sent. */
#pragma once

#include "run/run.h"

/* Strings are owned by the struct, data is the caller's. Starts from {0}. */
struct fvm_files_in {
    struct fvm_file_in *files; /* by their guest_path, with '/' as the lowest character */
    size_t count, capacity;
    uint64_t bytes;
};

/*
 * Check every entry, look at its file, and replace directories by the files in them.
 * @max_files, @max_bytes: more is an error.
 */
int fvm_files_in_collect(const struct flashvm_file_in *given, size_t given_count,
                         uint32_t max_files, uint64_t max_bytes, struct fvm_files_in *files,
                         struct flashvm_error *error);

void fvm_files_in_finish(struct fvm_files_in *files);
