/* SPDX-License-Identifier: MIT */
/* The image that comes with flashVM, in data_dir/oci. */
#pragma once

#include "image/oci.h"

/*
 * Open the embedded image's layout and find its manifest.
 * @digest: that the manifest must have; NULL: any.
 */
int fvm_embedded_find(const char *data_dir, const char *digest, struct fvm_oci *ret_oci,
                      struct fvm_descriptor *ret_manifest, struct flashvm_error *error);
