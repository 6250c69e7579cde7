/* SPDX-License-Identifier: MIT */
/* Where an image's layers are: the layout that its name leads to. */
#pragma once

#include "image/name.h"
#include "image/oci.h"

/*
 * Open the layout of an embedded image or of an `oci:` name, and find the image's manifest.
 * A digest in the name says it all: what else it leads to in the layout may be another image by now.
 */
int fvm_source_open(const char *data_dir, const struct fvm_image_name *name,
                    struct fvm_oci *ret_oci, struct fvm_descriptor *ret_manifest,
                    struct flashvm_error *error);
