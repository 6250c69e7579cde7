/* SPDX-License-Identifier: MIT */
/* A pool: how it fills, what it gives out, when it gives back, and how it ends. */
#include "stand_in_engine.h"

#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "run/pool.h"

/* ---- a pool ---------------------------------------------------------------------------------- */

enum { ATTEMPTS_MAX = 10, REFILL_DELAY_US = 20000 };
#define ALWAYS UINT32_MAX

/* Where the pool of a test learns what its guest is. */
struct origin {
    struct stage *stage;
    const char *_Atomic digest; /* of the image */
    atomic_uint memory_mb;
    atomic_uint attempts;
    atomic_uint failing; /* a bit for each attempt */
    atomic_int held;     /* the attempt that waits until this is another; -1: none */
    uint64_t attempted_us[ATTEMPTS_MAX];
};

static int describe(void *data, struct fvm_caller *caller, struct fvm_image *ret_image,
                    struct fvm_guest *ret_guest, struct flashvm_error *error)
{
    struct origin *origin = data;
    const unsigned attempt = origin->attempts++;

    (void)caller;
    if (attempt < ATTEMPTS_MAX)
        origin->attempted_us[attempt] = fvm_now_us();
    while (origin->held == (int)attempt)
        wait_ms(1);
    if (origin->failing >> (attempt % 32) & 1)
        return fvm_fail(error, FLASHVM_NOT_FOUND, "there is no such image");
    make_image(ret_image, origin->digest);
    *ret_guest = origin->stage->guest;
    ret_guest->image = ret_image;
    ret_guest->memory_mb = origin->memory_mb;
    return 0;
}

static struct origin make_origin(struct stage *stage)
{
    return (struct origin){
        .stage = stage,
        .digest = "sha256:1",
        .memory_mb = STAND_IN_MEMORY_MB,
        .held = -1,
    };
}

static struct fvm_pool *open_pool(struct origin *origin, unsigned size, uint64_t idle_ms)
{
    const struct fvm_pool_source source = {.describe = describe, .data = origin};
    struct stage *stage = origin->stage;
    struct fvm_pool *pool;

    assert_success(fvm_pool_new(size, idle_ms, &source, &stage->templates, &pool, &stage->error),
                   &stage->error);
    return pool;
}

static struct fvm_pool_stats stats_of(struct fvm_pool *pool)
{
    struct fvm_pool_stats stats;

    fvm_pool_read_stats(pool, &stats);
    return stats;
}

static void assert_stats(struct fvm_pool *pool, unsigned running, uint64_t served, uint64_t missed,
                         uint64_t failed)
{
    struct fvm_pool_stats stats = stats_of(pool);

    assert_int_equal(stats.running, running);
    assert_int_equal(stats.served, served);
    assert_int_equal(stats.missed, missed);
    assert_int_equal(stats.failed, failed);
}

static bool get(struct fvm_pool *pool, struct stage *stage, struct fvm_copy *ret_copy)
{
    bool waited;

    *ret_copy = (struct fvm_copy)FVM_COPY_NONE;
    assert_success(
        fvm_pool_get(pool, &stage->guest, &stage->caller, ret_copy, &waited, &stage->error),
        &stage->error);
    return waited;
}

/* It lives, and is the guest's: it rehearses once more. */
static void assert_works(struct stage *stage, struct fvm_copy *copy)
{
    copy->is_reseeded = false;
    assert_success(fvm_copy_warm_up(copy, &stage->guest, &stage->caller, &stage->error),
                   &stage->error);
}

/* ---- filling --------------------------------------------------------------------------------- */

static void a_pool_fills_up_to_its_size_and_not_more(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool = open_pool(&origin, 3, 0);

    await(stats_of(pool).waiting == 3);
    wait_ms(200);
    assert_int_equal(stats_of(pool).waiting, 3);
    assert_int_equal(stand_in.restore_count, 3);
    assert_int_equal(stand_in.boot_count, 1);
    assert_stats(pool, 0, 0, 0, 0);
    fvm_pool_free(pool);
}

static void a_full_pool_sleeps(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool = open_pool(&origin, 2, 100000);
    unsigned before;

    await(stats_of(pool).waiting == 2);
    wait_ms(50);
    before = stand_in.poll_count;
    wait_ms(200);
    assert_in_range(stand_in.poll_count - before, 0, 2);
    fvm_pool_free(pool);
}

static void a_run_gets_one_that_waits_and_is_warm(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 1, 0);
    struct fvm_copy copy;

    await(stats_of(pool).waiting == 1);
    assert_true(get(pool, stage, &copy));
    assert_true(copy.is_reseeded);
    assert_int_equal(copy.template_made_at, stage->templates.loaded->made_at);
    assert_stats(pool, 1, 1, 0, 0);
    assert_works(stage, &copy);
    fvm_pool_bury(pool, &copy);
    assert_int_equal(copy.vm.control_fd, -1);
    assert_stats(pool, 0, 1, 0, 0);
    fvm_pool_free(pool);
}

static void a_run_that_finds_none_waiting_starts_one(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;
    struct fvm_copy copy;

    origin.failing = ALWAYS;
    pool = open_pool(&origin, 1, 0);
    assert_false(get(pool, stage, &copy));
    assert_stats(pool, 1, 0, 1, stats_of(pool).failed);
    assert_works(stage, &copy);
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

static void a_run_that_gets_none_is_told_why(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;
    struct fvm_copy copy = FVM_COPY_NONE;
    bool waited = true;

    origin.failing = ALWAYS;
    stand_in.boots = DEAD;
    pool = open_pool(&origin, 1, 0);
    assert_failure(fvm_pool_get(pool, &stage->guest, &stage->caller, &copy, &waited, &stage->error),
                   &stage->error, FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
    assert_false(waited);
    assert_stats(pool, 0, 0, 1, stats_of(pool).failed);
    fvm_pool_free(pool);
}

/* The run that took it has the processors for itself at first. */
static void one_that_was_taken_is_replaced_after_a_moment(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);

    for (int i = 0; i < 3; i++) {
        uint64_t before;
        struct fvm_copy copy;

        await(stats_of(pool).waiting == 2);
        before = fvm_now_us();
        assert_true(get(pool, stage, &copy));
        await(stats_of(pool).waiting == 2);
        assert_in_range(stand_in.last_restore_us - before, REFILL_DELAY_US, 10 * 1000000);
        fvm_pool_bury(pool, &copy);
    }
    assert_int_equal(stand_in.restore_count, 5);
    fvm_pool_free(pool);
}

/* ---- what is not given out ------------------------------------------------------------------- */

static void one_that_died_while_it_waited_is_not_given_out(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);
    struct fvm_copy copy;

    await(stats_of(pool).waiting == 2);
    kill_vm(stand_in.last_pid);
    assert_true(get(pool, stage, &copy)); /* the other one */
    assert_works(stage, &copy);
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

/* It makes another one, and so has not seen it. */
static void one_that_died_unseen_is_not_given_out(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;
    struct fvm_copy copy;

    origin.held = 1;
    pool = open_pool(&origin, 2, 0);
    await(origin.attempts == 2);
    kill_vm(stand_in.last_pid);
    assert_false(get(pool, stage, &copy));
    assert_works(stage, &copy);
    assert_stats(pool, 1, 0, 1, 1);
    fvm_pool_bury(pool, &copy);
    origin.held = -1;
    await(stats_of(pool).waiting == 2);
    fvm_pool_free(pool);
}

static void one_that_died_while_it_waited_is_replaced(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);

    await(stats_of(pool).waiting == 2);
    kill_vm(stand_in.last_pid);
    await(stats_of(pool).failed == 1);
    await(stats_of(pool).waiting == 2);
    fvm_pool_free(pool);
}

static void a_run_does_not_get_another_guest(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;
    struct fvm_copy copy;

    origin.memory_mb = STAND_IN_MEMORY_MB + 1;
    pool = open_pool(&origin, 2, 0);
    await(stats_of(pool).waiting == 2);
    assert_int_equal(stand_in.memory_mb, STAND_IN_MEMORY_MB + 1);
    assert_false(get(pool, stage, &copy));
    assert_int_equal(stand_in.boot_count, 2);
    assert_works(stage, &copy);
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

static void an_image_that_changed_is_the_one_of_the_next_run(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);
    struct fvm_copy copy;

    await(stats_of(pool).waiting == 2);
    origin.digest = "sha256:2";
    fvm_image_finish(&stage->image);
    make_image(&stage->image, "sha256:2");
    assert_false(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    await(stats_of(pool).waiting == 2);
    assert_true(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    assert_int_equal(stand_in.boot_count, 2);
    fvm_pool_free(pool);
}

static void one_of_yesterday_is_not_given_out(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);
    struct fvm_copy copy;

    await(stats_of(pool).waiting == 2);
    stand_in.clock_ahead_s = FVM_TEMPLATE_SECONDS_MAX + 60;
    assert_false(get(pool, stage, &copy));
    assert_int_equal(stand_in.boot_count, 2);
    fvm_pool_bury(pool, &copy);
    await(stats_of(pool).waiting == 2);
    assert_true(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

/* ---- giving back ----------------------------------------------------------------------------- */

static bool has_templates(struct stage *stage)
{
    bool has;

    pthread_mutex_lock(&stage->templates.lock);
    has = stage->templates.loaded != NULL;
    pthread_mutex_unlock(&stage->templates.lock);
    return has;
}

static void a_pool_that_nobody_uses_gives_all_back_until_a_run_comes(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    uint64_t before = fvm_now_us();
    struct fvm_pool *pool = open_pool(&origin, 2, 1000);
    struct fvm_copy copy;

    await(stats_of(pool).waiting == 2);
    await(stats_of(pool).waiting == 0);
    assert_in_range(fvm_now_us() - before, 1000 * 1000, 10 * 1000000);
    await(!has_templates(stage));
    await(waitpid(-1, NULL, WNOHANG) < 0); /* no child is left */
    wait_ms(100);
    assert_int_equal(stand_in.restore_count, 2);
    assert_false(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    await(stats_of(pool).waiting == 2);
    assert_int_equal(stand_in.boot_count, 1); /* the template is still in the cache */
    assert_true(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

static void failures_do_not_keep_a_pool_from_giving_back(void **state)
{
    struct origin origin = make_origin(*state);
    uint64_t before = fvm_now_us();
    struct fvm_pool *pool;

    origin.failing = ALWAYS & ~1U;
    pool = open_pool(&origin, 2, 1000);
    await(stats_of(pool).waiting == 1);
    await(stats_of(pool).waiting ==
          0); /* after two attempts; the third comes half a second later */
    assert_in_range(fvm_now_us() - before, 1000 * 1000, 1450 * 1000);
    fvm_pool_free(pool);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void failures_are_counted_and_come_less_and_less_often(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;

    origin.failing = ALWAYS;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 2);
    origin.failing = 0;
    await(stats_of(pool).waiting == 1);
    assert_int_equal(stats_of(pool).failed, 2);
    assert_int_equal(origin.attempts, 3);
    assert_in_range(origin.attempted_us[1] - origin.attempted_us[0], 500000, 10 * 1000000);
    assert_in_range(origin.attempted_us[2] - origin.attempted_us[1], 1000000, 10 * 1000000);
    fvm_pool_free(pool);
}

static void a_run_that_found_one_waiting_makes_a_failure_the_first_again(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;
    struct fvm_copy copy;

    origin.failing = 1 << 0 | 1 << 2;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).waiting == 1);
    assert_true(get(pool, stage, &copy));
    fvm_pool_bury(pool, &copy);
    await(stats_of(pool).waiting == 1);
    assert_int_equal(origin.attempts, 4);
    assert_in_range(origin.attempted_us[3] - origin.attempted_us[2], 500000, 980000);
    fvm_pool_free(pool);
}

static void a_pool_sleeps_between_two_failures(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;
    unsigned before;

    origin.failing = ALWAYS;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 1);
    wait_ms(50);
    before = stand_in.poll_count;
    wait_ms(200);
    assert_in_range(stand_in.poll_count - before, 0, 2);
    assert_int_equal(stats_of(pool).failed, 1);
    fvm_pool_free(pool);
}

static void a_run_does_not_make_a_pool_try_again_sooner(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool;

    origin.failing = ALWAYS;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 1);
    for (int i = 0; i < 5; i++) {
        struct fvm_copy copy;

        assert_false(get(pool, stage, &copy));
        fvm_pool_bury(pool, &copy);
    }
    await(stats_of(pool).failed == 2);
    assert_in_range(origin.attempted_us[1] - origin.attempted_us[0], 500000, 10 * 1000000);
    fvm_pool_free(pool);
}

/* Nobody hears of it in the pool's thread: a run does. */
static void a_template_that_never_works_is_a_failure_that_a_run_explains(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_copy copy = FVM_COPY_NONE;
    struct fvm_pool *pool;
    bool waited;

    stand_in.copies = COPIES(FAILS);
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 1);
    assert_failure(fvm_pool_get(pool, &stage->guest, &stage->caller, &copy, &waited, &stage->error),
                   &stage->error, FLASHVM_GUEST_FAILED, "the interpreter is gone");
    fvm_pool_free(pool);
}

static void a_guest_that_does_not_boot_is_a_failure(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;

    stand_in.boots = DEAD;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 1);
    assert_int_equal(stats_of(pool).waiting, 0);
    fvm_pool_free(pool);
}

/* The host may kill them for their memory: more of the same would make it worse. */
static void those_that_die_while_they_wait_come_less_and_less_often(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;

    stand_in.copies = COPIES(BRITTLE);
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 3);
    assert_in_range(origin.attempts, 3, 4);
    assert_in_range(origin.attempted_us[1] - origin.attempted_us[0], 500000, 10 * 1000000);
    assert_in_range(origin.attempted_us[2] - origin.attempted_us[1], 1000000, 10 * 1000000);
    fvm_pool_free(pool);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What is left of processes and descriptors, stage_teardown() finds. */
static void assert_closes_soon(struct fvm_pool *pool)
{
    uint64_t before = fvm_now_us();

    fvm_pool_free(pool);
    assert_in_range(fvm_now_us() - before, 0, 2 * 1000000);
}

static void a_pool_is_closed_at_once_when_it_has_just_been_opened(void **state)
{
    for (int i = 0; i < 20; i++) {
        struct origin origin = make_origin(*state);
        struct fvm_pool *pool = open_pool(&origin, 3, 0);

        wait_ms((unsigned)i);
        assert_closes_soon(pool);
    }
    fvm_pool_free(NULL);
}

static void a_pool_is_closed_while_it_makes_a_template(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;

    stand_in.boots = MUTE;
    pool = open_pool(&origin, 1, 0);
    await(stand_in.last_pid);
    assert_closes_soon(pool);
}

static void a_pool_is_closed_while_one_rehearses(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;

    stand_in.copies = COPIES(MUTE);
    pool = open_pool(&origin, 1, 0);
    await(stand_in.restore_count == 1);
    assert_closes_soon(pool);
    assert_non_null(origin.stage->templates.loaded); /* it was not at fault */
}

static void a_pool_is_closed_while_it_pauses(void **state)
{
    struct origin origin = make_origin(*state);
    struct fvm_pool *pool;

    origin.failing = ALWAYS;
    pool = open_pool(&origin, 1, 0);
    await(stats_of(pool).failed == 1);
    assert_closes_soon(pool);
}

/* ---- forks ----------------------------------------------------------------------------------- */

/* In the child; its exit code is 0 when all is well. An assertion would end the wrong process. */
static int use_in_fork(struct fvm_pool *pool, struct stage *stage)
{
    struct fvm_copy copy = FVM_COPY_NONE;
    struct fvm_pool_stats stats;
    bool waited = true;

    alarm(20);
    fvm_pool_read_stats(pool, &stats);
    if (stats.waiting != 0)
        return 1;
    if (fvm_pool_get(pool, &stage->guest, &stage->caller, &copy, &waited, NULL) < 0 || waited)
        return 2;
    if (fvm_copy_warm_up(&copy, &stage->guest, &stage->caller, NULL) < 0)
        return 3;
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
    return 0;
}

static void a_fork_of_the_owner_gets_none_that_waits_and_does_not_hang(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 2, 0);
    struct fvm_copy copy;
    int status;
    pid_t pid;

    await(stats_of(pool).waiting == 2);
    pid = fork();
    if (pid == 0)
        _exit(use_in_fork(pool, stage));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(stats_of(pool).waiting, 2);
    assert_stats(pool, 0, 0, 0, 0);
    assert_true(get(pool, stage, &copy));
    assert_works(stage, &copy);
    fvm_pool_bury(pool, &copy);
    fvm_pool_free(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { STRESS_THREADS = 8, STRESS_RUNS = 25 };

struct crowd {
    struct stage *stage;
    struct fvm_pool *pool;
    atomic_uint served, missed, failures;
};

static void *get_and_bury(void *data)
{
    struct crowd *crowd = data;
    struct fvm_caller caller = FVM_CALLER_NONE;

    for (unsigned i = 0; i < STRESS_RUNS; i++) {
        struct fvm_copy copy = FVM_COPY_NONE;
        bool waited;

        if (fvm_pool_get(crowd->pool, &crowd->stage->guest, &caller, &copy, &waited, NULL) < 0) {
            crowd->failures++;
            continue;
        }
        *(waited ? &crowd->served : &crowd->missed) += 1;
        copy.is_reseeded = false;
        if (i % 3 == 0 && fvm_copy_warm_up(&copy, &crowd->stage->guest, &caller, NULL) < 0)
            crowd->failures++;
        if (i % 5 == 0)
            wait_ms(30); /* so that the pool has time to fill */
        fvm_pool_bury(crowd->pool, &copy);
    }
    return NULL;
}

static void many_threads_may_use_a_pool_at_once(void **state)
{
    struct stage *stage = *state;
    struct origin origin = make_origin(stage);
    struct fvm_pool *pool = open_pool(&origin, 3, 0);
    struct crowd crowd = {.stage = stage, .pool = pool};

    run_threads(STRESS_THREADS, get_and_bury, &crowd);
    assert_int_equal(crowd.failures, 0);
    assert_int_equal(crowd.served + crowd.missed, STRESS_THREADS * STRESS_RUNS);
    assert_true(crowd.served > 0);
    assert_stats(pool, 0, crowd.served, crowd.missed, 0);
    await(stats_of(pool).waiting == 3);
    fvm_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(a_pool_fills_up_to_its_size_and_not_more),
        stage_test(a_full_pool_sleeps),
        stage_test(a_run_gets_one_that_waits_and_is_warm),
        stage_test(a_run_that_finds_none_waiting_starts_one),
        stage_test(a_run_that_gets_none_is_told_why),
        stage_test(one_that_was_taken_is_replaced_after_a_moment),
        stage_test(one_that_died_while_it_waited_is_not_given_out),
        stage_test(one_that_died_unseen_is_not_given_out),
        stage_test(one_that_died_while_it_waited_is_replaced),
        stage_test(a_run_does_not_get_another_guest),
        stage_test(an_image_that_changed_is_the_one_of_the_next_run),
        stage_test(one_of_yesterday_is_not_given_out),
        stage_test(a_pool_that_nobody_uses_gives_all_back_until_a_run_comes),
        stage_test(failures_do_not_keep_a_pool_from_giving_back),
        stage_test(failures_are_counted_and_come_less_and_less_often),
        stage_test(a_run_that_found_one_waiting_makes_a_failure_the_first_again),
        stage_test(a_pool_sleeps_between_two_failures),
        stage_test(a_run_does_not_make_a_pool_try_again_sooner),
        stage_test(a_template_that_never_works_is_a_failure_that_a_run_explains),
        stage_test(a_guest_that_does_not_boot_is_a_failure),
        stage_test(those_that_die_while_they_wait_come_less_and_less_often),
        stage_test(a_pool_is_closed_at_once_when_it_has_just_been_opened),
        stage_test(a_pool_is_closed_while_it_makes_a_template),
        stage_test(a_pool_is_closed_while_one_rehearses),
        stage_test(a_pool_is_closed_while_it_pauses),
        stage_test(a_fork_of_the_owner_gets_none_that_waits_and_does_not_hang),
        stage_test(many_threads_may_use_a_pool_at_once),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
