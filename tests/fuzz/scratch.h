/* SPDX-License-Identifier: MIT */
/*
 * Files for targets whose code reads files: in memory (below TMPDIR, which run.sh sets, or
 * /dev/shm), since a fuzz target that waits for a disk gets nowhere.
 */
#pragma once

#include "fuzz.h"

#include "image/blob.h"

/* The directory of this process: made at the first call, removed when it ends. */
const char *scratch_directory(void);

/* "DIRECTORY/name". To be freed. */
char *scratch_path(const char *name);

/* A file in it that stays open, for scratch_fill(). */
int scratch_open(const char *name);

/* Make these bytes the whole content of a file. */
void scratch_fill(int fd, const void *data, size_t size);

/* The directory as an image layout without index.json. Return: a descriptor of it. */
int scratch_make_layout(void);

/* Add a blob: what leads to it says the truth about it. */
void scratch_add_blob(const void *data, size_t size, struct fvm_descriptor *ret_descriptor);
void scratch_remove_blob(const struct fvm_descriptor *descriptor);
