/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/library.h"
#include "base/cleanup.h"
#include "image/image.h"
#include "run/template_cache.h"

int fvm_library_image(struct flashvm *fvm, const char *image, struct fvm_caller *caller,
                      struct fvm_image *ret_image, struct flashvm_error *error)
{
    const char *cache;

    if (fvm_library_cache(fvm, &cache, error) < 0)
        return -1;
    return fvm_image_prepare(fvm->data_dir, cache, image, caller, ret_image, error);
}

int flashvm_prepare_image(struct flashvm *fvm, const char *image, char **ret_image_used,
                          struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image ready = {.rootfs_fd = -1};
    struct fvm_caller caller = fvm->caller;
    struct flashvm_error own = {0};
    char *image_used = NULL;
    int outcome = fvm_library_image(fvm, image, &caller, &ready, &own);

    fvm_caller_tell(&caller, NULL);
    if (outcome < 0)
        return fvm_error_return(&own, error);
    if (ret_image_used) {
        image_used = fvm_image_full_name(&ready);
        if (image_used == NULL) {
            fvm_fail_no_memory(&own);
            return fvm_error_return(&own, error);
        }
        *ret_image_used = image_used;
    }
    return FLASHVM_OK;
}

int flashvm_list_cached_images(struct flashvm *fvm, struct flashvm_cached_images **ret_images,
                               struct flashvm_error *error)
{
    struct flashvm_error own = {0};
    const char *cache;

    if (fvm_library_cache(fvm, &cache, &own) < 0 ||
        fvm_cached_images_list(cache, ret_images, &own) < 0)
        return fvm_error_return(&own, error);
    return FLASHVM_OK;
}

int flashvm_clear_cache(struct flashvm *fvm, uint64_t *ret_freed_bytes, struct flashvm_error *error)
{
    struct flashvm_error own = {0};
    uint64_t freed_bytes = 0;
    const char *cache;

    if (fvm_library_cache(fvm, &cache, &own) < 0 ||
        fvm_template_cache_clear(cache, &freed_bytes, &own) < 0 ||
        fvm_cached_images_clear(cache, &freed_bytes, &own) < 0)
        return fvm_error_return(&own, error);
    if (ret_freed_bytes)
        *ret_freed_bytes = freed_bytes;
    return FLASHVM_OK;
}
