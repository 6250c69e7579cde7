/* SPDX-License-Identifier: MIT */
#include "run/run.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "run/conversation.h"

static int boot(struct fvm_host *host, const struct fvm_engine *engine, const char *accelerator,
                const struct fvm_image *image, const struct fvm_run_spec *spec,
                const char *scratch_dir, struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    const struct fvm_vm_spec vm_spec = {
        .accelerator = accelerator,
        .cpus = spec->cpus,
        .memory_mb = spec->memory_mb,
        .rootfs_fd = image->rootfs_fd,
        .scratch_dir = scratch_dir,
    };

    cleanup_error struct flashvm_error flaw = {0};

    if (engine->boot(host, &vm_spec, ret_vm, error) < 0)
        return -1;
    if (fvm_conversation_boot(ret_vm, image, spec, error) == 0)
        return 0;
    if (error->status == FLASHVM_BOOT_FAILED && engine->examine(&flaw) < 0)
        fvm_fail_context(error, "%s", flaw.message);
    return -1;
}

static void show(const struct fvm_run_spec *spec, const char *stage)
{
    if (spec->progress)
        spec->progress(spec->progress_data, stage);
}

int fvm_run(struct fvm_host *host, const struct fvm_image *image, const struct fvm_run_spec *spec,
            struct fvm_result *result, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_vm_destroy))) struct fvm_vm vm = {.control_fd = -1};
    struct flashvm_timings *timings = &result->public.timings;
    const struct fvm_engine *engine;
    const char *accelerator;
    uint64_t begin = fvm_now_us(), booted, ran;

    if (fvm_engine_select(host, spec->engine, &engine, &accelerator, error) < 0)
        return -1;
    result->public.engine = engine->name;
    result->public.accelerator = accelerator;
    result->public.image_used = fvm_image_full_name(image);
    if (result->public.image_used == NULL)
        return fvm_fail_no_memory(error);
    if (spec->expect[0] && fvm_result_make_directory(result, error) < 0)
        return -1;
    timings->prepare_us = fvm_now_us() - begin;
    show(spec, "booting a microVM");
    if (boot(host, engine, accelerator, image, spec, result->directory, &vm, error) < 0)
        return -1;
    booted = fvm_now_us();
    timings->boot_us = booted - begin - timings->prepare_us;
    show(spec, "running the snippet");
    if (fvm_conversation_run(&vm, spec, result, error) < 0)
        return -1;
    ran = fvm_now_us();
    timings->run_us = ran - booted;
    fvm_vm_destroy(&vm);
    timings->destroy_us = fvm_now_us() - ran;
    fvm_result_complete(result);
    return 0;
}
