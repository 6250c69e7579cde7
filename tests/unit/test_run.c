/* SPDX-License-Identifier: MIT */
/* A run from a guest to a result: where its VM comes from, and what the result says of that. */
#include "stand_in_engine.h"

#include <fcntl.h>

#include "base/cleanup.h"
#include "run/pool.h"
#include "run/run.h"

static const char *const no_strings[] = {NULL};

static struct fvm_run_spec make_spec(void)
{
    return (struct fvm_run_spec){
        .timeout_ms = 20000,
        .start_timeout_ms = 20000,
        .grace_ms = 20000,
        .collect_timeout_ms = 20000,
        .workdir = "/work",
        .env = no_strings,
        .python_args = no_strings,
        .args = no_strings,
        .expect = no_strings,
        .max_stdout_bytes = 1000,
        .max_stderr_bytes = 1000,
        .max_processes = 100,
        .stdin_fd = -1,
        .caller = FVM_CALLER_NONE,
        .code = "pass",
        .code_size = 4,
    };
}

/* Run, and see where the VM came from, and that it was reseeded once, wherever that was. */
static void assert_runs(struct stage *stage, struct fvm_pool *pool, bool cold_boot, bool restored,
                        bool pooled)
{
    const struct fvm_run_providers providers = {.templates = &stage->templates, .pool = pool};
    struct fvm_run_spec spec = make_spec();
    struct fvm_result *result = fvm_result_new();

    spec.cold_boot = cold_boot;
    assert_success(fvm_run(&stage->guest, &providers, &spec, result, &stage->error), &stage->error);
    assert_int_equal(result->public.restored, restored);
    assert_int_equal(result->public.pooled, pooled);
    assert_true(result->public.reseeded);
    assert_string_equal(result->public.stdout_data, "reseeded 1 times");
    assert_string_equal(result->public.engine, "stand-in");
    assert_string_equal(result->public.accelerator, "none");
    assert_string_equal(result->public.image_used, "localhost/test:1@sha256:1");
    fvm_result_free(result);
}

static void a_run_gets_a_copy_of_a_template(void **state)
{
    struct stage *stage = *state;

    assert_runs(stage, NULL, false, true, false); /* the first, which has rehearsed */
    assert_runs(stage, NULL, false, true, false); /* and one that has not */
    assert_int_equal(stand_in.boot_count, 1);
    assert_int_equal(stand_in.restore_count, 2);
}

static void a_run_may_want_a_guest_that_boots(void **state)
{
    struct stage *stage = *state;

    assert_runs(stage, NULL, true, false, false);
    assert_int_equal(stand_in.boot_count, 1);
    assert_int_equal(stand_in.restore_count, 0);
    assert_null(stage->templates.loaded);
}

static void an_engine_without_templates_boots(void **state)
{
    struct stage *stage = *state;
    struct fvm_engine simple = stand_in_engine;

    simple.restore = NULL;
    stage->guest.engine = &simple;
    assert_runs(stage, NULL, false, false, false);
}

/* As a pool's caller in api/run.c. */
static int describe(void *data, struct fvm_caller *caller, struct fvm_image *ret_image,
                    struct fvm_guest *ret_guest, struct flashvm_error *error)
{
    const struct stage *stage = data;

    (void)caller, (void)error;
    make_image(ret_image, "sha256:1");
    *ret_guest = stage->guest;
    ret_guest->image = ret_image;
    return 0;
}

static unsigned count_waiting(struct fvm_pool *pool)
{
    struct fvm_pool_stats stats;

    fvm_pool_read_stats(pool, &stats);
    return stats.waiting;
}

static void a_run_in_a_pool_says_whether_its_vm_waited(void **state)
{
    struct stage *stage = *state;
    const struct fvm_pool_source source = {.describe = describe, .data = stage};
    struct fvm_pool_stats stats;
    struct fvm_pool *pool;

    assert_success(fvm_pool_new(1, 0, &source, &stage->templates, &pool, &stage->error),
                   &stage->error);
    await(count_waiting(pool) == 1);
    assert_runs(stage, pool, false, true, true);
    await(count_waiting(pool) == 1);
    assert_runs(stage, pool, true, false, false); /* not of the pool */
    assert_int_equal(count_waiting(pool), 1);
    fvm_pool_read_stats(pool, &stats);
    assert_int_equal(stats.running, 0);
    assert_int_equal(stats.served, 1);
    assert_int_equal(stats.missed, 0);
    fvm_pool_free(pool);
}

static void a_run_that_fails_in_a_pool_gives_its_vm_back(void **state)
{
    struct stage *stage = *state;
    const struct fvm_pool_source source = {.describe = describe, .data = stage};
    struct fvm_run_providers providers = {.templates = &stage->templates};
    struct fvm_run_spec spec = make_spec();
    struct fvm_result *result = fvm_result_new();
    struct fvm_pool_stats stats;

    stand_in.copies = COPIES(FRAIL);
    assert_success(fvm_pool_new(1, 0, &source, &stage->templates, &providers.pool, &stage->error),
                   &stage->error);
    assert_failure(fvm_run(&stage->guest, &providers, &spec, result, &stage->error), &stage->error,
                   FLASHVM_GUEST_FAILED, "the microVM ended before it sent a result");
    fvm_pool_read_stats(providers.pool, &stats);
    assert_int_equal(stats.running, 0);
    fvm_pool_free(providers.pool);
    fvm_result_free(result);
}

/* A pool with one VM that waits and ends when it gets a run, and a template whose copies do well. */
static struct fvm_pool *open_pool_with_a_frail_vm(struct stage *stage,
                                                  const struct fvm_pool_source *source)
{
    static const char *const frail_at_first[] = {FRAIL, WELL, NULL};
    struct fvm_template *template;
    struct fvm_pool *pool;

    stand_in.copies = frail_at_first;
    assert_success(fvm_pool_new(1, 0, source, &stage->templates, &pool, &stage->error),
                   &stage->error);
    await(count_waiting(pool) == 1);
    assert_success(fvm_template_get(&stage->templates, &stage->guest, &stage->caller, &template,
                                    &stage->error),
                   &stage->error);
    fvm_template_drop(&stage->templates, &stage->guest, template);
    fvm_template_put(&stage->templates, template);
    return pool;
}

static void a_vm_that_ends_before_the_snippet_begins_costs_no_run(void **state)
{
    struct stage *stage = *state;
    const struct fvm_pool_source source = {.describe = describe, .data = stage};
    struct fvm_pool *pool = open_pool_with_a_frail_vm(stage, &source);
    struct fvm_pool_stats stats;

    assert_runs(stage, pool, false, true, false);
    fvm_pool_read_stats(pool, &stats);
    assert_int_equal(stats.running, 0);
    fvm_pool_free(pool);
}

/* What was read of it cannot be read again. */
static void a_run_with_an_input_is_not_begun_anew(void **state)
{
    struct stage *stage = *state;
    const struct fvm_pool_source source = {.describe = describe, .data = stage};
    const struct fvm_run_providers providers = {
        .templates = &stage->templates,
        .pool = open_pool_with_a_frail_vm(stage, &source),
    };
    cleanup_close int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct fvm_run_spec spec = make_spec();
    struct fvm_result *result = fvm_result_new();

    spec.stdin_fd = nothing;
    assert_failure(fvm_run(&stage->guest, &providers, &spec, result, &stage->error), &stage->error,
                   FLASHVM_GUEST_FAILED, "the microVM ended before it sent a result");
    fvm_pool_free(providers.pool);
    fvm_result_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(a_run_gets_a_copy_of_a_template),
        stage_test(a_run_may_want_a_guest_that_boots),
        stage_test(an_engine_without_templates_boots),
        stage_test(a_run_in_a_pool_says_whether_its_vm_waited),
        stage_test(a_run_that_fails_in_a_pool_gives_its_vm_back),
        stage_test(a_vm_that_ends_before_the_snippet_begins_costs_no_run),
        stage_test(a_run_with_an_input_is_not_begun_anew),
    };

    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
