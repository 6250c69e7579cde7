/* SPDX-License-Identifier: MIT */
/* The image that comes with flashVM: data_dir/oci -> cache -> struct fvm_image. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/image.h"
#include "image/oci.h"
#include "image/rootfs_cache.h"

/* In a layout an image is named by its tag alone. */
static const char *embedded_ref_name(void)
{
    return strrchr(FVM_EMBEDDED_REFERENCE, ':') + 1;
}

static int find_embedded(const char *data_dir, struct fvm_oci *oci,
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
    if (fvm_oci_open(path, oci, error) < 0 ||
        fvm_oci_find(oci, embedded_ref_name(), ret_manifest, error) < 0)
        return fvm_fail_context(error, "the embedded image is not usable (`make guest` builds it)");
    return 0;
}

struct progress {
    void (*report)(void *data, const char *stage);
    void *data;
};

static void report(const struct progress *progress, const char *stage)
{
    if (progress->report)
        progress->report(progress->data, stage);
}

static void report_waiting(void *progress)
{
    report(progress, "waiting for another process that unpacks the image");
}

static int make_embedded(const struct fvm_rootfs_cache *cache, const struct fvm_oci *oci,
                         const struct fvm_descriptor *manifest, struct flashvm_error *error)
{
    cleanup_oci_image struct fvm_oci_image image = {0};

    if (fvm_oci_load(oci, manifest, &image, error) < 0 ||
        fvm_rootfs_cache_make(cache, oci, FVM_EMBEDDED_REFERENCE, &image, error) < 0)
        return fvm_fail_context(
            error, "cannot unpack the image in %s%s", oci->path,
            error && error->status == FLASHVM_IMAGE_INVALID
                ? " (install flashVM again, or in its source tree run: make guest)"
                : "");
    return 0;
}

int fvm_image_prepare(const char *data_dir, const char *cache_path,
                      void (*progress)(void *data, const char *stage), void *progress_data,
                      struct fvm_image *ret_image, struct flashvm_error *error)
{
    struct progress reporter = {progress, progress_data};
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_close int lock_fd = -1;
    struct fvm_descriptor manifest;
    int found;

    if (find_embedded(data_dir, &oci, &manifest, error) < 0 ||
        fvm_rootfs_cache_open(cache_path, true, &cache, error) < 0)
        return -1;
    found =
        fvm_rootfs_cache_find(&cache, FVM_EMBEDDED_REFERENCE, manifest.digest, ret_image, error);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (fvm_rootfs_cache_lock(&cache, manifest.digest, report_waiting, &reporter, &lock_fd, error) <
        0)
        return -1;
    /* Another process may have made it while this one waited. */
    found =
        fvm_rootfs_cache_find(&cache, FVM_EMBEDDED_REFERENCE, manifest.digest, ret_image, error);
    if (found != 0)
        return found < 0 ? -1 : 0;
    report(&reporter, "unpacking the image");
    if (make_embedded(&cache, &oci, &manifest, error) < 0)
        return -1;
    found =
        fvm_rootfs_cache_find(&cache, FVM_EMBEDDED_REFERENCE, manifest.digest, ret_image, error);
    if (found == 0)
        return fvm_fail(error, FLASHVM_INTERNAL,
                        "the image in %s is damaged right after it was made", cache.path);
    return found < 0 ? -1 : 0;
}

bool fvm_image_is_cached(const char *data_dir, const char *cache_path)
{
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    struct fvm_descriptor manifest;
    struct fvm_image image;

    if (find_embedded(data_dir, &oci, &manifest, NULL) < 0 ||
        fvm_rootfs_cache_open(cache_path, false, &cache, NULL) < 0 ||
        fvm_rootfs_cache_find(&cache, FVM_EMBEDDED_REFERENCE, manifest.digest, &image, NULL) != 1)
        return false;
    fvm_image_finish(&image);
    return true;
}

void fvm_image_finish(struct fvm_image *image)
{
    if (image->rootfs_path) /* not in a zeroed struct, whose descriptor would be 0 */
        fvm_cleanup_close(&image->rootfs_fd);
    free(image->reference);
    free(image->digest);
    free(image->rootfs_path);
    fvm_image_config_finish(&image->config);
    *image = (struct fvm_image){.rootfs_fd = -1};
}
