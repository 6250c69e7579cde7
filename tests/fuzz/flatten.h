/* SPDX-License-Identifier: MIT */
/* An image from layers that a target made, flattened within small limits, and read back. */
#pragma once

#include "scratch.h"

#include "image/oci.h"

enum { FLATTEN_LAYERS_MAX = 3 };

/* Once. */
void flatten_prepare(void);

/*
 * Flatten these layers into a squashfs; what comes out must be one that can be read to its last
 * file.
 */
void flatten(struct fvm_oci_layer *layers, size_t count);
