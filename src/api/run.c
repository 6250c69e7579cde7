/* SPDX-License-Identifier: MIT */
#include "api/run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "image/image.h"

int fvm_library_guest(struct flashvm *fvm, const char *image_name, const struct fvm_run_spec *spec,
                      struct fvm_caller *caller, struct fvm_image *ret_image,
                      struct fvm_guest *ret_guest, struct flashvm_error *error)
{
    *ret_guest = (struct fvm_guest){
        .host = &fvm->host,
        .image = ret_image,
        .cpus = spec->cpus,
        .memory_mb = spec->memory_mb,
        .boot_timeout_ms = spec->boot_timeout_ms,
    };
    if (fvm_library_image(fvm, image_name, caller, ret_image, error) < 0)
        return -1;
    return fvm_engine_select(&fvm->host, spec->engine, &ret_guest->engine, &ret_guest->accelerator,
                             error);
}

static int run(struct flashvm *fvm, struct fvm_pool *pool, const char *image_name,
               struct fvm_run_spec *spec, struct fvm_result *result, struct flashvm_error *error)
{
    const struct fvm_run_providers providers = {.templates = &fvm->templates, .pool = pool};
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    struct flashvm_timings *timings = &result->public.timings;
    uint64_t begin = fvm_now_us();
    struct fvm_guest guest;

    if (fvm_library_guest(fvm, image_name, spec, &spec->caller, &image, &guest, error) < 0)
        return -1;
    fvm_run_spec_set_image(spec, &image);
    timings->prepare_us = fvm_now_us() - begin;
    if (fvm_run(&guest, &providers, spec, result, error) < 0)
        return -1;
    timings->total_us = fvm_now_us() - begin;
    return 0;
}

int fvm_library_run(struct flashvm *fvm, struct fvm_pool *pool,
                    const struct flashvm_run_options *options, const char *code, size_t code_size,
                    struct flashvm_result **ret_result, struct flashvm_error *error)
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
    fvm_library_adopt_caller(fvm, &checked.spec.caller);
    outcome = run(fvm, pool, checked.options.image, &checked.spec, result, &own);
    fvm_caller_tell(&checked.spec.caller, NULL);
    if (outcome < 0) {
        fvm_result_free(result);
        return fvm_error_return(&own, error);
    }
    *ret_result = &result->public;
    return FLASHVM_OK;
}

int flashvm_run(struct flashvm *fvm, const struct flashvm_run_options *options, const char *code,
                size_t code_size, struct flashvm_result **ret_result, struct flashvm_error *error)
{
    return fvm_library_run(fvm, NULL, options, code, code_size, ret_result, error);
}

void flashvm_result_free(struct flashvm_result *result)
{
    /* `public` is the first member of the struct that was allocated. */
    fvm_result_free((struct fvm_result *)result);
}
