/* SPDX-License-Identifier: MIT */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "api/library.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "image/containers_storage.h"
#include "run/template_cache.h"

int fvm_library_image(struct flashvm *fvm, const char *image, struct fvm_caller *caller,
                      struct fvm_image *ret_image, struct flashvm_error *error)
{
    const char *cache;

    if (fvm_library_cache(fvm, &cache, error) < 0)
        return -1;
    return fvm_image_prepare(fvm->data_dir, cache, image, caller, ret_image, error);
}

/* ---- containers-storage, whose failures are notices ------------------------------------------- */

/* Return: 0, or -1 when the caller ended the call. @failure: is finished. */
static int notice(struct fvm_caller *caller, const char *but, struct flashvm_error *failure,
                  struct flashvm_error *error)
{
    cleanup_free char *text = NULL;

    if (failure->status == FLASHVM_CANCELLED) {
        fvm_error_return(failure, error);
        return -1;
    }
    text = fvm_format("%s%s", but, failure->message ?: "");
    fvm_caller_tell(caller, NULL); /* no progress goes on behind what is said now */
    fvm_caller_notice(caller, text ?: but);
    flashvm_error_finish(failure);
    return 0;
}

static int import_image(const struct flashvm *fvm, const struct fvm_image *image,
                        struct fvm_caller *caller, struct flashvm_error *error)
{
    cleanup_storage_tools struct fvm_storage_tools tools = {0};
    struct flashvm_error failure = {0};
    char id[FVM_IMAGE_ID_SIZE];
    int found = fvm_storage_find_tools(&tools, error);

    if (found <= 0 || fvm_storage_import(&tools, fvm->data_dir, fvm->cache_path, image, caller, id,
                                         &failure) == 0)
        return found < 0 ? -1 : 0;
    return notice(caller, "the image is ready, only not in containers-storage: ", &failure, error);
}

static int note_stored(struct flashvm_cached_images *images, struct fvm_caller *caller,
                       struct flashvm_error *error)
{
    cleanup_storage_tools struct fvm_storage_tools tools = {0};
    cleanup_stored_images struct fvm_stored_images stored = {0};
    struct flashvm_error failure = {0};
    int found = fvm_storage_find_tools(&tools, error);

    if (found <= 0)
        return found;
    if (fvm_storage_list(&tools, images, caller, &stored, &failure) < 0)
        return notice(caller, "the list is without containers-storage: ", &failure, error);
    return fvm_cached_images_note_stored(images, &stored, error);
}

/* Before the cache is: what skopeo alone is to be asked for stands there. */
static int clear_stored(const char *cache, struct fvm_caller *caller, struct flashvm_error *error)
{
    cleanup_storage_tools struct fvm_storage_tools tools = {0};
    struct flashvm_cached_images *images = NULL;
    struct flashvm_error failure = {0};
    int found = fvm_storage_find_tools(&tools, error), outcome = 0;

    if (found <= 0)
        return found;
    if (fvm_cached_images_list(cache, &images, error) < 0)
        return -1;
    if (fvm_storage_clear(&tools, cache, images, caller, &failure) < 0)
        outcome = notice(caller, "", &failure, error);
    flashvm_cached_images_free(images);
    return outcome;
}

/* ---- the calls ------------------------------------------------------------------------------- */

int flashvm_prepare_image(struct flashvm *fvm, const char *image, char **ret_image_used,
                          struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image ready = {.rootfs_fd = -1};
    struct fvm_caller caller = fvm->caller;
    struct flashvm_error own = {0};
    char *image_used = NULL;
    int outcome = fvm_library_image(fvm, image, &caller, &ready, &own);

    if (outcome == 0)
        outcome = import_image(fvm, &ready, &caller, &own);
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
    struct flashvm_cached_images *images = NULL;
    struct fvm_caller caller = fvm->caller;
    struct flashvm_error own = {0};
    const char *cache;

    if (fvm_library_cache(fvm, &cache, &own) < 0 ||
        fvm_cached_images_list(cache, &images, &own) < 0 ||
        note_stored(images, &caller, &own) < 0) {
        flashvm_cached_images_free(images);
        return fvm_error_return(&own, error);
    }
    *ret_images = images;
    return FLASHVM_OK;
}

/* Before their images, which stay while there are containers of them. */
static void sweep(const struct fvm_host *host)
{
    for (const struct fvm_engine *const *engine = fvm_engines; *engine; engine++)
        if ((*engine)->sweep)
            (*engine)->sweep(host);
}

int flashvm_clear_cache(struct flashvm *fvm, uint64_t *ret_freed_bytes, struct flashvm_error *error)
{
    struct fvm_caller caller = fvm->caller;
    struct flashvm_error own = {0};
    uint64_t freed_bytes = 0;
    const char *cache;

    if (fvm_library_cache(fvm, &cache, &own) < 0)
        return fvm_error_return(&own, error);
    sweep(&fvm->host);
    if (clear_stored(cache, &caller, &own) < 0 ||
        fvm_template_cache_clear(cache, &freed_bytes, &own) < 0 ||
        fvm_cached_images_clear(cache, &freed_bytes, &own) < 0)
        return fvm_error_return(&own, error);
    if (ret_freed_bytes)
        *ret_freed_bytes = freed_bytes;
    return FLASHVM_OK;
}
