/* SPDX-License-Identifier: MIT */
/*
 * Writes a squashfs whose every part is stored uncompressed, so that a guest whose CPU is emulated
 * reads it at the cost of a copy. First the files' content, one file after the other, then the
 * tree:
 *
 *     begin_file, (write | skip)*, end_file -> struct fvm_file_data for the file's inode; any
 * number finish with the tree that holds these inodes
 *
 * The same calls give the same bytes. What end_file() gave and no inode of the tree holds stays in
 * the file as dead bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "image/tree.h"

enum { FVM_SQUASHFS_BLOCK_SIZE = 128 * 1024 };

struct fvm_squashfs;

/* @fd: an empty file, open for reading and writing; it stays the caller's and must outlive the
 * writer. */
int fvm_squashfs_create(int fd, struct fvm_squashfs **ret_squashfs, struct flashvm_error *error);
void fvm_squashfs_destroy(struct fvm_squashfs *squashfs);
static inline void fvm_cleanup_squashfs(struct fvm_squashfs **squashfs)
{
    fvm_squashfs_destroy(*squashfs);
}
#define cleanup_squashfs __attribute__((cleanup(fvm_cleanup_squashfs)))

void fvm_squashfs_begin_file(struct fvm_squashfs *squashfs);
int fvm_squashfs_write(struct fvm_squashfs *squashfs, const void *data, size_t size,
                       struct flashvm_error *error);

/* Append `size` zeros; whole blocks of them take no space. */
int fvm_squashfs_skip(struct fvm_squashfs *squashfs, uint64_t size, struct flashvm_error *error);

/* @ret_data: its block_sizes are to be freed, by the inode that takes it. */
int fvm_squashfs_end_file(struct fvm_squashfs *squashfs, struct fvm_file_data *ret_data,
                          struct flashvm_error *error);

/* Write the tree and the super block. The writer is of no more use then. */
int fvm_squashfs_finish(struct fvm_squashfs *squashfs, struct fvm_tree *tree,
                        struct flashvm_error *error);
