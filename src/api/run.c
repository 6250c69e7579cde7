/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/library.h"
#include "api/options.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "image/image.h"
#include "run/run.h"

static int prepare(struct flashvm *fvm, struct fvm_image *ret_image, struct flashvm_error *error)
{
    const char *cache;

    if (fvm_library_cache(fvm, &cache, error) < 0)
        return -1;
    return fvm_image_prepare(fvm->data_dir, cache, fvm->progress, fvm->progress_data, ret_image,
                             error);
}

int flashvm_prepare_image(struct flashvm *fvm, char **ret_image_used, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    struct flashvm_error own = {0};
    char *image_used = NULL;
    int outcome = prepare(fvm, &image, &own);

    fvm_progress(fvm, NULL);
    if (outcome < 0)
        return fvm_error_return(&own, error);
    if (ret_image_used) {
        image_used = fvm_format("%s@%s", image.reference, image.digest);
        if (image_used == NULL) {
            fvm_fail_no_memory(&own);
            return fvm_error_return(&own, error);
        }
        *ret_image_used = image_used;
    }
    return FLASHVM_OK;
}

static int run(struct flashvm *fvm, const struct fvm_run_spec *spec, struct fvm_result *result,
               struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    uint64_t begin = fvm_now_us(), prepared;

    if (prepare(fvm, &image, error) < 0)
        return -1;
    prepared = fvm_now_us();
    if (fvm_run(&fvm->host, &image, spec, result, error) < 0)
        return -1;
    result->public.timings.prepare_us += prepared - begin;
    result->public.timings.total_us = fvm_now_us() - begin;
    return 0;
}

int flashvm_run(struct flashvm *fvm, const struct flashvm_run_options *options, const char *code,
                size_t code_size, struct flashvm_result **ret_result, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_checked_options_finish))) struct fvm_checked_options checked = {0};
    struct flashvm_error own = {0};
    struct fvm_result *result;
    int outcome;

    if (fvm_options_check(options, code, code_size, &checked, &own) < 0)
        return fvm_error_return(&own, error);
    result = fvm_result_new();
    if (result == NULL) {
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    checked.spec.progress = fvm->progress;
    checked.spec.progress_data = fvm->progress_data;
    outcome = run(fvm, &checked.spec, result, &own);
    fvm_progress(fvm, NULL);
    if (outcome < 0) {
        fvm_result_free(result);
        return fvm_error_return(&own, error);
    }
    *ret_result = &result->public;
    return FLASHVM_OK;
}

void flashvm_result_free(struct flashvm_result *result)
{
    /* `public` is the first member of the struct that was allocated. */
    fvm_result_free((struct fvm_result *)result);
}
