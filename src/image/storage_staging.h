/* SPDX-License-Identifier: MIT */
/*
 * What a tool is given to import: a layout of our own that has one name and leads to one manifest,
 * the one that was verified; its blobs are those of the image's layout. So a tool chooses nothing,
 * and the names in it are ours, whatever the image's own path and tag are.
 */
#pragma once

#include "base/error.h"
#include "image/oci.h"

struct fvm_staging {
    char *directory; /* to start the tool in */
    char *source;    /* what to import from there: "oci:flashvm:NAME" */
    char *policy;    /* a file for a host that has no policy for images; NULL: it has one */
};

/*
 * @directory: is made; what a process that died left there is removed.
 * @name: what the image is called in containers-storage.
 */
int fvm_staging_make(const char *directory, const struct fvm_oci *oci,
                     const struct fvm_descriptor *manifest, const char *name,
                     struct fvm_staging *ret_staging, struct flashvm_error *error);

/* Remove the directory, with what a tool that was ended left in it. */
void fvm_staging_finish(struct fvm_staging *staging);
#define cleanup_staging __attribute__((cleanup(fvm_staging_finish)))
