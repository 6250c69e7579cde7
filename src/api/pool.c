/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/run.h"
#include "base/cleanup.h"
#include "base/files.h"

enum { SIZE_DEFAULT = 2, SIZE_MAX_VMS = 1000 };
static const uint64_t IDLE_MS_MAX = 365ULL * 24 * 3600 * 1000;

struct flashvm_pool {
    struct flashvm *fvm;
    pid_t owner;
    unsigned size;
    char *image, *engine;               /* as given; NULL: the default */
    struct fvm_checked_options checked; /* of the runs that its VMs serve */
    struct fvm_pool *pool;
};

static void pool_finish(struct flashvm_pool *pool)
{
    fvm_pool_free(pool->pool);
    fvm_checked_options_finish(&pool->checked);
    free(pool->image);
    free(pool->engine);
    free(pool);
}

static int describe(void *data, struct fvm_caller *caller, struct fvm_image *ret_image,
                    struct fvm_guest *ret_guest, struct flashvm_error *error)
{
    struct flashvm_pool *pool = data;

    return fvm_library_guest(pool->fvm, pool->image, &pool->checked.spec, caller, ret_image,
                             ret_guest, error);
}

static int check(const struct flashvm_pool_options *options, struct flashvm_pool *pool,
                 struct flashvm_error *error)
{
    struct flashvm_run_options run = FLASHVM_RUN_OPTIONS_INIT;

    if (options->size > SIZE_MAX_VMS)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "size is %u; it can be 1 to %d",
                        options->size, SIZE_MAX_VMS);
    if (options->idle_ms > IDLE_MS_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "idle_ms is %ju; it can be up to %ju (a year)", (uintmax_t)options->idle_ms,
                        (uintmax_t)IDLE_MS_MAX);
    pool->size = options->size ? options->size : SIZE_DEFAULT;
    pool->image = options->image ? strdup(options->image) : NULL;
    pool->engine = options->engine ? strdup(options->engine) : NULL;
    if ((options->image && pool->image == NULL) || (options->engine && pool->engine == NULL))
        return fvm_fail_no_memory(error);
    run.engine = pool->engine;
    run.cpus = options->cpus;
    run.memory_mb = options->memory_mb;
    run.boot_timeout_ms = options->boot_timeout_ms;
    return fvm_options_check(&run, "", 0, &pool->checked, error);
}

/* What cannot become right later is an error now. */
static int try_guest(struct flashvm_pool *pool, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    struct fvm_caller caller = pool->fvm->caller;
    struct fvm_guest guest;
    int outcome = describe(pool, &caller, &image, &guest, error);

    fvm_caller_tell(&caller, NULL);
    if (outcome < 0)
        return -1;
    if (guest.engine->restore == NULL)
        return fvm_fail(error, FLASHVM_UNSUPPORTED,
                        "the engine %s cannot keep microVMs waiting; use run() without a pool",
                        guest.engine->name);
    return 0;
}

int flashvm_pool_open(struct flashvm *fvm, const struct flashvm_pool_options *given,
                      struct flashvm_pool **ret_pool, struct flashvm_error *error)
{
    struct flashvm_pool_options options = FLASHVM_POOL_OPTIONS_INIT;
    struct flashvm_pool *pool = calloc(1, sizeof *pool);
    struct flashvm_error own = {0};
    const struct fvm_pool_source source = {.describe = describe, .data = pool};

    if (pool == NULL) {
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    pool->fvm = fvm;
    pool->owner = getpid();
    if ((given && fvm_options_copy(&options, sizeof options, given, given->struct_size,
                                   "flashvm_pool_options", &own) < 0) ||
        check(&options, pool, &own) < 0 || try_guest(pool, &own) < 0 ||
        fvm_pool_new(pool->size, options.idle_ms, &source, &fvm->templates, &pool->pool, &own) <
            0) {
        pool_finish(pool);
        return fvm_error_return(&own, error);
    }
    *ret_pool = pool;
    return FLASHVM_OK;
}

void flashvm_pool_close(struct flashvm_pool *pool)
{
    if (pool && pool->owner == getpid()) /* in a fork nobody waits for its thread */
        pool_finish(pool);
}

static int fail_fixed(const char *name, struct flashvm_error *error)
{
    return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                    "%s is fixed when a pool is opened, and this run wants another; use another "
                    "pool",
                    name);
}

static bool differs(const char *wanted, const char *own)
{
    return wanted && (own == NULL || strcmp(wanted, own) != 0);
}

/* What the pool's VMs are, a run need not say, but if it does it must be the same. */
static int adopt(const struct flashvm_pool *pool, struct flashvm_run_options *options,
                 struct flashvm_error *error)
{
    const struct fvm_run_spec *spec = &pool->checked.spec;

    if (pool->owner != getpid())
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "the pool belongs to process %d, of which this one is a fork; open another",
                        pool->owner);
    if (differs(options->image, pool->image))
        return fail_fixed("image", error);
    if (differs(options->engine, pool->engine))
        return fail_fixed("engine", error);
    if (options->cpus && options->cpus != spec->cpus)
        return fail_fixed("cpus", error);
    if (options->memory_mb && options->memory_mb != spec->memory_mb)
        return fail_fixed("memory_mb", error);
    options->image = pool->image;
    options->engine = pool->engine;
    options->cpus = spec->cpus;
    options->memory_mb = spec->memory_mb;
    if (options->boot_timeout_ms == 0)
        options->boot_timeout_ms = spec->boot_timeout_ms;
    return 0;
}

int flashvm_pool_run(struct flashvm_pool *pool, const struct flashvm_run_options *given,
                     const char *code, size_t code_size, struct flashvm_result **ret_result,
                     struct flashvm_error *error)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    struct flashvm_error own = {0};

    if ((given && fvm_options_copy(&options, sizeof options, given, given->struct_size,
                                   "flashvm_run_options", &own) < 0) ||
        adopt(pool, &options, &own) < 0)
        return fvm_error_return(&own, error);
    return fvm_library_run(pool->fvm, pool->pool, &options, code, code_size, ret_result, error);
}

void flashvm_pool_read_stats(struct flashvm_pool *pool, struct flashvm_pool_stats *ret_stats)
{
    const size_t size = ret_stats->struct_size;
    struct flashvm_pool_stats all;
    struct fvm_pool_stats stats;

    fvm_pool_read_stats(pool->pool, &stats);
    all = (struct flashvm_pool_stats){
        .struct_size = size,
        .size = pool->size,
        .waiting = stats.waiting,
        .running = stats.running,
        .served = stats.served,
        .missed = stats.missed,
        .failed = stats.failed,
    };
    memcpy(ret_stats, &all, size < sizeof all ? size : sizeof all);
}
