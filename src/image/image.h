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

#include "base/error.h"

/* The image's full name, whose layout the build put into data_dir/oci. */
#define FVM_EMBEDDED_REFERENCE "localhost/flashvm:python-basic"

/* What the guest's agent needs of an image's config; strings are owned by the struct. */
struct fvm_image_config {
    char **env; /* NULL-terminated "NAME=value" */
    char *working_dir;
    char *user; /* as in the config: "uid[:gid]" or names; "" when absent */
};

/* An image that is ready for a VM. */
struct fvm_image {
    char *reference;   /* "localhost/flashvm:python-basic" */
    char *digest;      /* of the manifest: "sha256:…" */
    char *rootfs_path; /* the root file system's file in the cache */
    int rootfs_fd;     /* open read-only */
    struct fvm_image_config config;
};

/*
 * Open the cache directory: made when missing, refused (FLASHVM_CACHE_UNSAFE) when it, or a part of
 * flashVM's own below it, is not owned by the caller or is writable by others.
 * @cache_dir: NULL for $XDG_CACHE_HOME/flashvm or ~/.cache/flashvm.
 * @ret_path: to be freed.
 */
int fvm_cache_open(const char *cache_dir, char **ret_path, struct flashvm_error *error);

/*
 * Get the embedded image ready: read data_dir/oci with every digest verified, flatten its layers
 * into one squashfs file, and keep that in the cache; when it is there already, only check and open
 * it. Any number of processes may call this at once: one makes the file, the others wait for it.
 * @progress: may be NULL; called with a phrase before work that may take longer than a moment.
 */
int fvm_image_prepare(const char *data_dir, const char *cache_path,
                      void (*progress)(void *data, const char *stage), void *progress_data,
                      struct fvm_image *ret_image, struct flashvm_error *error);

/* Is the embedded image in the cache already? Never fails, makes nothing. */
bool fvm_image_is_cached(const char *data_dir, const char *cache_path);

void fvm_image_finish(struct fvm_image *image);
