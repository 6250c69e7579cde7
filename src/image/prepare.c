/* SPDX-License-Identifier: MIT */
/* From an image's name to struct fvm_image: by the cache, by a layout, or both. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/image.h"
#include "image/name.h"
#include "image/rootfs_cache.h"
#include "image/source.h"

/* One call of fvm_image_prepare(). */
struct preparation {
    struct fvm_image_name name;
    struct fvm_rootfs_cache cache;
    struct fvm_oci oci; /* where the image comes from; not of one that is only in the cache */
    struct fvm_caller *caller;
};

static void preparation_finish(struct preparation *preparation)
{
    fvm_image_name_finish(&preparation->name);
    fvm_rootfs_cache_finish(&preparation->cache);
    fvm_oci_finish(&preparation->oci);
}

/* ---- in the cache ---------------------------------------------------------------------------- */

/* Return: 1 when *ret_image was filled, 0 when it is not in the cache, -1. */
static int find_cached(const struct preparation *preparation, const char *digest,
                       struct fvm_image *ret_image, struct flashvm_error *error)
{
    cleanup_rootfs_entry struct fvm_rootfs_entry entry = {.image.rootfs_fd = -1};
    const struct fvm_image_name *name = &preparation->name;
    int found = fvm_rootfs_cache_load(&preparation->cache, digest, &entry, error);

    if (found <= 0)
        return found;
    if (*name->reference) { /* an image with several names is called as the caller calls it */
        free(entry.image.reference);
        entry.image.reference = strdup(name->reference);
        if (entry.image.reference == NULL)
            return fvm_fail_no_memory(error);
    }
    /* Only the layouts say what an image is called; what a caller writes before a digest does not.
     */
    fvm_rootfs_cache_note_use(&preparation->cache, digest,
                              preparation->oci.path ? name->reference : NULL);
    *ret_image = entry.image;
    entry.image = (struct fvm_image){.rootfs_fd = -1};
    return 1;
}

/* How many changes of one character make `left` into `right`? Names that are long are far apart. */
static size_t distance(const char *left, const char *right)
{
    enum { LONG = 300 };
    size_t columns = strlen(right);
    cleanup_free size_t *row =
        columns < LONG && strlen(left) < LONG ? calloc(columns + 1, sizeof *row) : NULL;

    for (size_t i = 0; row && i <= columns; i++)
        row[i] = i;
    for (size_t i = 1; row && i <= strlen(left); i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t best = diagonal + (left[i - 1] != right[j - 1]);

            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row ? row[columns] : SIZE_MAX;
}

static int fail_not_cached(const struct preparation *preparation,
                           const struct flashvm_cached_images *images, struct flashvm_error *error)
{
    const struct fvm_image_name *name = &preparation->name;
    const char *asked = *name->reference ? name->reference : name->digest;
    const char *nearest = FVM_EMBEDDED_REFERENCE;
    size_t least = distance(asked, nearest);

    for (size_t i = 0; i < images->image_count; i++)
        for (const char *const *known = images->images[i]->references; *known; known++)
            if (distance(asked, *known) < least) {
                nearest = *known;
                least = distance(asked, nearest);
            }
    return fvm_fail(error, FLASHVM_NOT_FOUND,
                    "the image \"%s%s%s\" is not in the cache; the nearest that can be used is %s. "
                    "flashVM fetches no images: make an OCI image layout of it (skopeo copy "
                    "docker://… oci:DIR:TAG), and its name is oci:DIR:TAG",
                    name->reference, *name->reference && *name->digest ? "@" : "", name->digest,
                    nearest);
}

/* A reference may have led to several images in the course of time: the one used last is meant. */
static int find_by_reference(const struct preparation *preparation, const char *cache_path,
                             struct fvm_image *ret_image, struct flashvm_error *error)
{
    struct flashvm_cached_images *images;
    int found = 0;

    if (fvm_cached_images_list(cache_path, &images, error) < 0)
        return -1;
    for (size_t i = 0; found == 0 && !*preparation->name.digest && i < images->image_count; i++)
        for (const char *const *known = images->images[i]->references; *known; known++)
            if (found == 0 && strcmp(*known, preparation->name.reference) == 0)
                found = find_cached(preparation, images->images[i]->digest, ret_image, error);
    if (found == 0)
        found = fail_not_cached(preparation, images, error);
    flashvm_cached_images_free(images);
    return found < 0 ? -1 : 0;
}

/* ---- from a layout --------------------------------------------------------------------------- */

static int make(const struct preparation *preparation, const struct fvm_descriptor *manifest,
                struct flashvm_error *error)
{
    cleanup_oci_image struct fvm_oci_image image = {0};

    if (fvm_oci_load(&preparation->oci, manifest, &image, error) < 0 ||
        fvm_rootfs_cache_make(&preparation->cache, &preparation->oci, preparation->name.reference,
                              &image, error) < 0)
        return fvm_fail_context(
            error, "cannot use the image %s in %s%s", preparation->name.reference,
            preparation->oci.path,
            preparation->name.kind == FVM_IMAGE_EMBEDDED && error->status == FLASHVM_IMAGE_INVALID
                ? " (install flashVM again, or in its source tree run: make guest)"
                : "");
    return 0;
}

static int find_or_make(struct preparation *preparation, const struct fvm_descriptor *manifest,
                        struct fvm_image *ret_image, struct flashvm_error *error)
{
    cleanup_close int lock_fd = -1;
    int found = find_cached(preparation, manifest->digest, ret_image, error);

    if (found != 0)
        return found < 0 ? -1 : 0;
    if (fvm_rootfs_cache_lock(&preparation->cache, manifest->digest, preparation->caller, &lock_fd,
                              error) < 0)
        return -1;
    /* Another process may have made it while this one waited. */
    found = find_cached(preparation, manifest->digest, ret_image, error);
    if (found != 0)
        return found < 0 ? -1 : 0;
    fvm_caller_tell(preparation->caller, "unpacking the image");
    preparation->oci.caller = preparation->caller;
    if (make(preparation, manifest, error) < 0)
        return -1;
    found = find_cached(preparation, manifest->digest, ret_image, error);
    if (found == 0)
        return fvm_fail(error, FLASHVM_INTERNAL,
                        "the image in %s is damaged right after it was made",
                        preparation->cache.path);
    return found < 0 ? -1 : 0;
}

int fvm_image_prepare(const char *data_dir, const char *cache_path, const char *image,
                      struct fvm_caller *caller, struct fvm_image *ret_image,
                      struct flashvm_error *error)
{
    __attribute__((cleanup(preparation_finish))) struct preparation preparation = {
        .cache.fd = -1, .oci.fd = -1, .caller = caller};
    const struct fvm_image_name *name = &preparation.name;
    struct fvm_descriptor manifest;

    if (fvm_image_name_parse(image, &preparation.name, error) < 0 ||
        fvm_rootfs_cache_open(cache_path, true, &preparation.cache, error) < 0)
        return -1;
    if (*name->digest) {
        int found = find_cached(&preparation, name->digest, ret_image, error);

        if (found != 0)
            return found < 0 ? -1 : 0;
    }
    if (name->kind == FVM_IMAGE_CACHED)
        return find_by_reference(&preparation, cache_path, ret_image, error);
    if (fvm_source_open(data_dir, name, &preparation.oci, &manifest, error) < 0)
        return -1;
    return find_or_make(&preparation, &manifest, ret_image, error);
}

char *fvm_image_full_name(const struct fvm_image *image)
{
    return fvm_format("%s@%s", image->reference, image->digest);
}

void fvm_image_finish(struct fvm_image *image)
{
    if (image->rootfs_path) /* not in a zeroed struct, whose descriptor would be 0 */
        fvm_cleanup_close(&image->rootfs_fd);
    free(image->reference);
    free(image->digest);
    free(image->python);
    free(image->rootfs_path);
    fvm_image_config_finish(&image->config);
    *image = (struct fvm_image){.rootfs_fd = -1};
}
