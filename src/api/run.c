/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/library.h"
#include "api/options.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "image/image.h"
#include "run/run.h"

static int run(struct flashvm *fvm, const char *image_name, struct fvm_run_spec *spec,
               struct fvm_result *result, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    uint64_t begin = fvm_now_us(), prepared;

    if (fvm_library_image(fvm, image_name, &image, error) < 0)
        return -1;
    if (spec->workdir == NULL)
        spec->workdir = *image.config.working_dir ? image.config.working_dir : "/work";
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
    outcome = run(fvm, checked.options.image, &checked.spec, result, &own);
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
