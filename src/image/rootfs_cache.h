/* SPDX-License-Identifier: MIT */
/*
 * Flattened images in the cache, under rootfs/:
 *     HEX-vN.squashfs   the file system; HEX is the manifest's digest, N is FVM_ROOTFS_FORMAT
 *     HEX-vN.json       what a run needs of the config, the references that led to it; size,
 *                       SHA-256 and identity of the file system; the file's time is that of the last use
 *     HEX-vN.lock       held by the process that makes the two
 * The JSON is published last: without it there is no entry.
 */
#pragma once

#include <jansson.h>
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

struct fvm_rootfs_entry {
    struct fvm_image image; /* its reference: the first of `references` */
    json_t *references;     /* array of strings: what the image was called, the newest last */
    uint64_t size_bytes;
    int64_t made_at, used_at; /* seconds since 1970 */
};
void fvm_rootfs_entry_finish(struct fvm_rootfs_entry *entry);
#define cleanup_rootfs_entry __attribute__((cleanup(fvm_rootfs_entry_finish)))

/*
 * Look for an image. Cheap as long as the file system's file is the one that was made: then only
 * its super block is read. If its identity is another (fvm_file_identity()), its digest decides,
 * and the entry remembers the new identity if the cache can be written. Return: 1 when *ret_entry
 * was filled, 0 when there is no entry or it is damaged, -1 on failure.
 */
int fvm_rootfs_cache_load(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          struct fvm_rootfs_entry *ret_entry, struct flashvm_error *error);

/*
 * Note that an entry is used now, and what it was called. Best effort.
 * @reference: NULL: nothing to note.
 */
void fvm_rootfs_cache_note_use(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                               const char *reference);

/* Wait for the right to make an image's entry. */
int fvm_rootfs_cache_lock(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          struct fvm_caller *caller, int *ret_fd, struct flashvm_error *error);

/* Make an image's entry, or replace a damaged one. The lock must be held. */
int fvm_rootfs_cache_make(const struct fvm_rootfs_cache *cache, const struct fvm_oci *oci,
                          const char *reference, const struct fvm_oci_image *image,
                          struct flashvm_error *error);
