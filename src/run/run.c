/* SPDX-License-Identifier: MIT */
#include "run/run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "run/conversation.h"
#include "run/copy.h"

void fvm_run_spec_set_image(struct fvm_run_spec *spec, const struct fvm_image *image)
{
    const char *of_image = image->config.working_dir;

    if (spec->workdir == NULL) {
        spec->workdir_is_images = *of_image != '\0';
        spec->workdir = spec->workdir_is_images ? of_image : "/work";
    }
}

/* A VM that breaks off is over by then. */
enum { ENDING_MS = 1000 };

/* Get a VM in which an interpreter waits, or soon will. */
static int get_vm(const struct fvm_guest *guest, struct fvm_pool *pool,
                  struct fvm_templates *templates, struct fvm_run_spec *spec,
                  struct fvm_copy *ret_copy, struct fvm_result *result, struct flashvm_error *error)
{
    struct flashvm_result *public = &result->public;

    if (spec->cold_boot || guest->engine->restore == NULL) {
        fvm_caller_tell(&spec->caller, "booting a microVM");
        return fvm_guest_boot(guest, -1, &spec->caller, &ret_copy->vm, error);
    }
    public->restored = true;
    public->pooled = false;
    if (pool)
        return fvm_pool_get(pool, guest, &spec->caller, ret_copy, &public->pooled, error);
    return fvm_copy_make(guest, templates, &spec->caller, ret_copy, error);
}

static int run_in_vm(struct fvm_copy *copy, struct fvm_run_spec *spec, struct fvm_result *result,
                     struct flashvm_error *error)
{
    uint64_t begin = fvm_now_us();

    /* Not before there is a VM: its jail removes the directory if the caller dies. */
    if (spec->expect[0] &&
        ((result->directory == NULL && fvm_result_make_directory(result, error) < 0) ||
         fvm_vm_guard(&copy->vm, result->directory, error) < 0))
        return -1;
    fvm_caller_tell(&spec->caller, "running the snippet");
    if (fvm_conversation_run(&copy->vm, spec, !copy->is_reseeded, result, error) < 0)
        return -1;
    result->public.timings.run_us = fvm_now_us() - begin;
    fvm_result_complete(result);
    return 0;
}

/*
 * A VM that waited may have ended just before it was taken, which shows only now. Nothing has
 * happened yet that another could not begin anew.
 */
static bool was_lost_before(const struct fvm_copy *copy, const struct fvm_run_spec *spec,
                            const struct fvm_result *result, const struct flashvm_error *error)
{
    return result->public.pooled && !result->public.started && spec->stdin_fd < 0 &&
           error->status == FLASHVM_GUEST_FAILED && fvm_vm_ends(&copy->vm, ENDING_MS);
}

/*
 * One attempt.
 * @ret_was_lost: it failed before it began, and may be made once more.
 */
static int attempt(const struct fvm_guest *guest, struct fvm_pool *pool,
                   struct fvm_templates *templates, struct fvm_run_spec *spec,
                   struct fvm_result *result, bool *ret_was_lost, struct flashvm_error *error)
{
    struct flashvm_timings *timings = &result->public.timings;
    struct fvm_copy copy = FVM_COPY_NONE;
    uint64_t begin = fvm_now_us();
    int outcome;

    *ret_was_lost = false;
    if (get_vm(guest, pool, templates, spec, &copy, result, error) < 0)
        return -1;
    timings->boot_us = fvm_now_us() - begin;
    outcome = run_in_vm(&copy, spec, result, error);
    *ret_was_lost = outcome < 0 && was_lost_before(&copy, spec, result, error);
    begin = fvm_now_us();
    if (pool)
        fvm_pool_bury(pool, &copy);
    else
        fvm_copy_destroy(&copy);
    timings->destroy_us = fvm_now_us() - begin;
    return outcome;
}

int fvm_run(const struct fvm_guest *guest, const struct fvm_run_providers *providers,
            struct fvm_run_spec *spec, struct fvm_result *result, struct flashvm_error *error)
{
    struct fvm_pool *pool = spec->cold_boot ? NULL : providers->pool;
    struct flashvm_result *public = &result->public;
    bool was_lost;
    int outcome;

    public->engine = guest->engine->name;
    public->accelerator = guest->accelerator;
    public->image_used = fvm_image_full_name(guest->image);
    if (public->image_used == NULL)
        return fvm_fail_no_memory(error);
    outcome = attempt(guest, pool, providers->templates, spec, result, &was_lost, error);
    if (was_lost) {
        flashvm_error_finish(error);
        outcome = attempt(guest, NULL, providers->templates, spec, result, &was_lost, error);
    }
    return outcome;
}
