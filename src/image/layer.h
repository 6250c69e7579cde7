/* SPDX-License-Identifier: MIT */
/*
 * Applies a layer (a tar, plain or compressed) to a tree, as the "Applying Changesets" part of the
 * OCI specification says. Files' content goes to the squashfs writer while it is read; content that
 * a later entry or layer replaces stays in the squashfs as dead bytes.
 *
 * Owners, modes (setuid too), times in seconds, symlinks, hard links, fifos and devices are kept.
 * Extended attributes and ACLs are dropped.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "image/oci.h"
#include "image/squashfs.h"
#include "image/tree.h"

/* What an image may ask for at most; all layers together. */
struct fvm_image_limits {
    uint32_t entries;        /* in the tars */
    uint32_t depth;          /* of directories */
    uint64_t content_bytes;  /* of files, as they say it is: holes count */
    uint64_t unpacked_bytes; /* of the tars */
};
extern const struct fvm_image_limits fvm_image_default_limits;

/*
 * Apply one layer.
 * @left: what the limits leave; reduced by what the layer used.
 * Nothing of tree and squashfs may be believed unless this succeeds: the digests are known at the
 * end.
 */
int fvm_layer_apply(const struct fvm_oci *oci, const struct fvm_oci_layer *layer,
                    struct fvm_image_limits *left, struct fvm_tree *tree,
                    struct fvm_squashfs *squashfs, struct flashvm_error *error);
