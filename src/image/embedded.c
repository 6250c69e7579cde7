/* SPDX-License-Identifier: MIT */
/* The image that comes with flashVM: data_dir/oci. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/embedded.h"
#include "image/image.h"
#include "image/rootfs_cache.h"

/* In a layout an image is named by its tag alone. */
static const char *embedded_ref_name(void)
{
    return strrchr(FVM_EMBEDDED_REFERENCE, ':') + 1;
}

int fvm_embedded_find(const char *data_dir, const char *digest, struct fvm_oci *ret_oci,
                      struct fvm_descriptor *ret_manifest, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/oci", data_dir);

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return fvm_fail(
            error, FLASHVM_NOT_FOUND,
            "there is no embedded image: the directory %s is missing; in a source tree, "
            "run `make guest` to build it, otherwise install flashVM again",
            path);
    if (fvm_oci_open(path, ret_oci, error) < 0 ||
        fvm_oci_find(ret_oci, digest ? NULL : embedded_ref_name(), digest, ret_manifest, error) < 0)
        return digest ? fvm_fail_context(error, "the embedded image is another one by now")
                      : fvm_fail_context(
                            error, "the embedded image is not usable (`make guest` builds it)");
    return 0;
}

bool fvm_image_is_cached(const char *data_dir, const char *cache_path)
{
    cleanup_rootfs_entry struct fvm_rootfs_entry entry = {.image.rootfs_fd = -1};
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    struct fvm_descriptor manifest;

    return fvm_embedded_find(data_dir, NULL, &oci, &manifest, NULL) == 0 &&
           fvm_rootfs_cache_open(cache_path, false, &cache, NULL) == 0 &&
           fvm_rootfs_cache_load(&cache, manifest.digest, &entry, NULL) == 1;
}
