/* SPDX-License-Identifier: MIT */
#include "image/source.h"

#include "base/cleanup.h"
#include "image/embedded.h"

int fvm_source_open(const char *data_dir, const struct fvm_image_name *name,
                    struct fvm_oci *ret_oci, struct fvm_descriptor *ret_manifest,
                    struct flashvm_error *error)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    const char *digest = *name->digest ? name->digest : NULL;

    if (name->kind == FVM_IMAGE_EMBEDDED) {
        if (fvm_embedded_find(data_dir, digest, &oci, ret_manifest, error) < 0)
            return -1;
    } else if (fvm_oci_open(name->path, &oci, error) < 0 ||
               fvm_oci_find(&oci, digest ? NULL : name->ref_name, digest, ret_manifest, error) <
                   0) {
        return fvm_fail_context(error, "the image %s%s%s", name->reference, digest ? "@" : "",
                                digest ? digest : "");
    }
    *ret_oci = oci;
    oci = (struct fvm_oci){.fd = -1}; // NOLINT(*DeadStores): cleanup_oci reads it
    return 0;
}
