/* SPDX-License-Identifier: MIT */
/* An OCI image flattened into one squashfs file. */
#pragma once

#include "base/error.h"
#include "image/layer.h"
#include "image/oci.h"

/*
 * The cache's name for what this code writes: to be raised with every change that gives the same
 * image other bytes.
 */
enum { FVM_ROOTFS_FORMAT = 1 };

/*
 * Write `image` as a squashfs. The file may be believed only when this succeeds.
 * @fd: an empty file, open for reading and writing.
 * @limits: NULL for the default ones.
 */
int fvm_rootfs_write(const struct fvm_oci *oci, const struct fvm_oci_image *image, int fd,
                     const struct fvm_image_limits *limits, struct flashvm_error *error);
