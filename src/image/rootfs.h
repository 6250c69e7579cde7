/* SPDX-License-Identifier: MIT */
/* An OCI image flattened into one squashfs file. */
#pragma once

#include "base/error.h"
#include "image/layer.h"
#include "image/oci.h"

/*
 * The cache's name for what this code writes: to be raised with every change that gives the same
 * image other bytes, and when an entry's JSON changes its form (rootfs_cache.h).
 */
enum { FVM_ROOTFS_FORMAT = 2 };

/*
 * Write `image` as a squashfs. The file may be believed only when this succeeds.
 * @fd: an empty file, open for reading and writing.
 * @limits: NULL for the default ones.
 * @ret_python: receives the interpreter's path, to be freed; the image must then be one that can
 * run (fitness.h). NULL: any image will do.
 */
int fvm_rootfs_write(const struct fvm_oci *oci, const struct fvm_oci_image *image, int fd,
                     const struct fvm_image_limits *limits, char **ret_python,
                     struct flashvm_error *error);
