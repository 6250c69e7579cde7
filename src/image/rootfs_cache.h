/* SPDX-License-Identifier: MIT */
/*
 * Flattened images in the cache, under rootfs/:
 *     HEX-vN.squashfs   the file system; HEX is the manifest's digest, N is FVM_ROOTFS_FORMAT
 *     HEX-vN.json       what a run needs of the config; size, SHA-256 and identity of the file
 * system HEX-vN.lock       held by the process that makes the two The JSON is published last:
 * without it there is no entry.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "image/image.h"
#include "image/oci.h"

struct fvm_rootfs_cache {
    int fd;     /* the directory rootfs/ */
    char *path; /* of it */
};

/* @make: make the directory when it is missing. */
int fvm_rootfs_cache_open(const char *cache_path, bool make, struct fvm_rootfs_cache *ret_cache,
                          struct flashvm_error *error);
void fvm_rootfs_cache_finish(struct fvm_rootfs_cache *cache);
#define cleanup_rootfs_cache __attribute__((cleanup(fvm_rootfs_cache_finish)))

/*
 * Look for an image. Cheap as long as the file system's file is the one that was made: then only
 * its super block is read. If its identity is another (fvm_file_identity()), its digest decides,
 * and the entry remembers the new identity if the cache can be written. Return: 1 when *ret_image
 * was filled, 0 when there is no entry or it is damaged, -1 on failure.
 */
int fvm_rootfs_cache_find(const struct fvm_rootfs_cache *cache, const char *reference,
                          const char *manifest_digest, struct fvm_image *ret_image,
                          struct flashvm_error *error);

/* Wait for the right to make an image's entry. @waiting: as for fvm_cache_lock(). */
int fvm_rootfs_cache_lock(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          void (*waiting)(void *data), void *data, int *ret_fd,
                          struct flashvm_error *error);

/* Make an image's entry, or replace a damaged one. The lock must be held. */
int fvm_rootfs_cache_make(const struct fvm_rootfs_cache *cache, const struct fvm_oci *oci,
                          const char *reference, const struct fvm_oci_image *image,
                          struct flashvm_error *error);
