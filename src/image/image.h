/* SPDX-License-Identifier: MIT */
/*
 * Images: from an OCI image layout to one read-only root-file-system file in the cache.
 *
 * The OCI words (index, manifest, config, layer, whiteout) are those of the OCI Image Format
 * Specification 1.1. Nothing of an image is ever executed or extracted into a host directory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/caller.h"
#include "base/error.h"

/* The image's full name, whose layout the build put into data_dir/oci. */
#define FVM_EMBEDDED_REFERENCE "localhost/flashvm:python-basic"

/* What flashVM honours of an image's config; strings are owned by the struct. */
struct fvm_image_config {
    char **env;        /* NULL-terminated "NAME=value" */
    char *working_dir; /* absolute; "" when absent */
    char *user;        /* as in the config: "uid[:gid]" or names; "" when absent */
    char *program;     /* the first word of Entrypoint and Cmd; "" when absent */
};

/* An image that is ready for a VM. */
struct fvm_image {
    char *reference;   /* "localhost/flashvm:python-basic" */
    char *digest;      /* of the manifest: "sha256:…" */
    char *python;      /* its interpreter's path in it */
    char *rootfs_path; /* the root file system's file in the cache */
    int rootfs_fd;     /* open read-only */
    struct fvm_image_config config;
};

/*
 * Get an image ready: find it in the cache by its manifest's digest, or read its layout with every
 * digest verified, flatten its layers into one squashfs file, and keep that in the cache. Any
 * number of processes may call this at once: one makes the file, the others wait for it.
 * @image: as in flashvm.h; NULL: the embedded one, whose layout is data_dir/oci.
 * @caller: told what takes longer than a moment; may end it.
 */
int fvm_image_prepare(const char *data_dir, const char *cache_path, const char *image,
                      struct fvm_caller *caller, struct fvm_image *ret_image,
                      struct flashvm_error *error);

/* Is the embedded image in the cache already? Never fails, makes nothing. */
bool fvm_image_is_cached(const char *data_dir, const char *cache_path);

/* The full reference, "REFERENCE@DIGEST". To be freed; NULL when memory is exhausted. */
char *fvm_image_full_name(const struct fvm_image *image);

void fvm_image_finish(struct fvm_image *image);

/*
 * The images in the cache, those used last first; a cache directory that is missing has none.
 * @ret_images: to be freed with flashvm_cached_images_free().
 */
int fvm_cached_images_list(const char *cache_path, struct flashvm_cached_images **ret_images,
                           struct flashvm_error *error);

/* Note in the list what containers-storage has of it, and add at its end what only that has. */
struct fvm_stored_images;
int fvm_cached_images_note_stored(struct flashvm_cached_images *images,
                                  const struct fvm_stored_images *stored,
                                  struct flashvm_error *error);

/*
 * Remove the images from the cache, and what dead makers left of others. Those that a living
 * process is making stay, and a VM keeps the one that it runs from. Nothing else is touched.
 * @freed_bytes: is added to.
 */
int fvm_cached_images_clear(const char *cache_path, uint64_t *freed_bytes,
                            struct flashvm_error *error);
