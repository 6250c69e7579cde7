/* SPDX-License-Identifier: MIT */
/* Templates: which guest has which, who makes it, how long it is kept. */
#include "stand_in_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/cleanup.h"
#include "run/template_cache.h"

enum { DAY = 24 * 3600 };

static struct fvm_template *get(struct stage *stage)
{
    struct fvm_template *template;

    assert_success(fvm_template_get(&stage->templates, &stage->guest, &stage->caller, &template,
                                    &stage->error),
                   &stage->error);
    return template;
}

static void put(struct stage *stage, struct fvm_template *template)
{
    fvm_template_put(&stage->templates, template);
}

/* As another process would: from the cache or by making it. */
static void get_elsewhere(struct stage *stage)
{
    struct fvm_templates templates;
    struct fvm_template *template;

    fvm_templates_init(&templates);
    assert_success(
        fvm_template_get(&templates, &stage->guest, &stage->caller, &template, &stage->error),
        &stage->error);
    fvm_template_put(&templates, template);
    fvm_templates_finish(&templates);
}

/* ---- the key --------------------------------------------------------------------------------- */

static void read_key(struct stage *stage, char ret_key[FVM_SHA256_HEX_SIZE])
{
    assert_success(fvm_template_key(&stage->guest, ret_key, &stage->error), &stage->error);
}

static void change_nothing(struct stage *stage)
{
    (void)stage;
}

static void change_engine(struct stage *stage)
{
    (void)stage;
    stand_in.key = "stand-in 2";
}

static void change_kernel(struct stage *stage)
{
    write_guest_files(stage, "3", "2");
}

static void change_initramfs(struct stage *stage)
{
    write_guest_files(stage, "1", "3");
}

static void change_image(struct stage *stage)
{
    fvm_image_finish(&stage->image);
    make_image(&stage->image, "sha256:2");
}

static void change_cpus(struct stage *stage)
{
    stage->guest.cpus++;
}

static void change_memory(struct stage *stage)
{
    stage->guest.memory_mb++;
}

static void change_patience(struct stage *stage)
{
    stage->guest.boot_timeout_ms++;
}

static void whatever_makes_a_guest_another_one_is_in_its_key(void **state)
{
    static const struct {
        void (*change)(struct stage *stage);
        bool differs;
    } cases[] = {
        {change_nothing, false},  {change_engine, true},    {change_kernel, true},
        {change_initramfs, true}, {change_image, true},     {change_cpus, true},
        {change_memory, true},    {change_patience, false},
    };
    struct stage *stage = *state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        char before[FVM_SHA256_HEX_SIZE], after[FVM_SHA256_HEX_SIZE];

        read_key(stage, before);
        cases[i].change(stage);
        read_key(stage, after);
        if ((strcmp(before, after) != 0) != cases[i].differs)
            fail_msg("case %zu: the keys are %s and %s", i, before, after);
    }
}

/* ---- making ---------------------------------------------------------------------------------- */

static void assert_sealed(int fd)
{
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
}

static void a_template_is_made_once_and_kept(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *template = get(stage), *again = get(stage);

    assert_ptr_equal(template, again);
    assert_int_equal(stand_in.boot_count, 1);
    assert_int_equal(stand_in.restore_count, 0);
    assert_in_range(template->made_at, time(NULL) - 20, time(NULL));
    assert_false(template->is_proven);
    assert_sealed(template->snapshot.memory_fd);
    assert_sealed(template->snapshot.state_fd);
    put(stage, template);
    put(stage, again);
    assert_ptr_equal(get(stage), template);
    put(stage, template);
    get_elsewhere(stage);
    assert_int_equal(stand_in.boot_count, 1);
}

static void each_guest_has_its_own(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *template = get(stage), *other;

    change_memory(stage);
    other = get(stage);
    assert_ptr_not_equal(template, other);
    assert_int_equal(stand_in.boot_count, 2);
    put(stage, template);
    put(stage, other);
}

/* What the threads of a test share: they begin together. */
struct crowd {
    struct stage *stage;
    struct fvm_templates *templates; /* NULL: each has its own */
    pthread_barrier_t barrier;
    atomic_uint failures;
};

static void *get_in_a_crowd(void *data)
{
    struct crowd *crowd = data;
    struct fvm_caller caller = FVM_CALLER_NONE;
    struct fvm_templates own, *templates = crowd->templates ?: &own;
    struct fvm_template *template;

    fvm_templates_init(&own);
    pthread_barrier_wait(&crowd->barrier);
    if (fvm_template_get(templates, &crowd->stage->guest, &caller, &template, NULL) == 0)
        fvm_template_put(templates, template);
    else
        crowd->failures++;
    fvm_templates_finish(&own);
    return NULL;
}

static void get_all_at_once(struct stage *stage, struct fvm_templates *templates)
{
    struct crowd crowd = {.stage = stage, .templates = templates};

    pthread_barrier_init(&crowd.barrier, NULL, 4);
    run_threads(4, get_in_a_crowd, &crowd);
    pthread_barrier_destroy(&crowd.barrier);
    assert_int_equal(crowd.failures, 0);
}

static void handles_that_start_at_once_make_one(void **state)
{
    get_all_at_once(*state, NULL);
    assert_int_equal(stand_in.boot_count, 1);
}

static void threads_that_start_at_once_make_one(void **state)
{
    struct stage *stage = *state;

    get_all_at_once(stage, &stage->templates);
    assert_int_equal(stand_in.boot_count, 1);
    assert_non_null(stage->templates.loaded);
    assert_null(stage->templates.loaded->next);
}

static void without_a_cache_threads_may_make_several_but_share_one(void **state)
{
    struct stage *stage = *state;

    stage->host.cache_dir = NULL;
    get_all_at_once(stage, &stage->templates);
    assert_in_range(stand_in.boot_count, 1, 4);
    assert_non_null(stage->templates.loaded);
    assert_null(stage->templates.loaded->next);
    assert_int_equal(stage->templates.loaded->users, 0);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void assert_fails(struct stage *stage, enum flashvm_status status, const char *says)
{
    struct fvm_template *template = NULL;

    assert_failure(fvm_template_get(&stage->templates, &stage->guest, &stage->caller, &template,
                                    &stage->error),
                   &stage->error, status, says);
    assert_null(template);
    assert_null(stage->templates.loaded);
    assert_int_equal(count_cached(stage, ".json"), 0);
}

static void a_guest_that_does_not_boot_leaves_none(void **state)
{
    struct stage *stage = *state;

    stand_in.boots = DEAD;
    assert_fails(stage, FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
    stand_in.boots = WELL;
    put(stage, get(stage));
    assert_int_equal(stand_in.boot_count, 2);
}

static void a_guest_that_cannot_rehearse_becomes_none(void **state)
{
    stand_in.boots = FAILS;
    assert_fails(*state, FLASHVM_GUEST_FAILED, "the interpreter is gone");
}

static void an_engine_may_have_none(void **state)
{
    static const struct fvm_engine simple = {.name = "simple"};
    struct stage *stage = *state;

    stage->guest.engine = &simple;
    assert_fails(stage, FLASHVM_UNSUPPORTED, "the engine simple cannot restore a microVM");
}

static bool give_up(void *unused)
{
    (void)unused;
    return true;
}

static void a_caller_need_not_wait_for_another_maker(void **state)
{
    struct stage *stage = *state;
    cleanup_close int lock_fd = -1;
    char key[FVM_SHA256_HEX_SIZE];

    read_key(stage, key);
    assert_success(
        fvm_template_cache_lock(stage->cache_dir, key, &stage->caller, &lock_fd, &stage->error),
        &stage->error);
    stage->caller.interrupted = give_up;
    assert_fails(stage, FLASHVM_CANCELLED, "the call was cancelled");
    assert_int_equal(stand_in.boot_count, 0);
}

/* ---- age ------------------------------------------------------------------------------------- */

static void a_template_is_used_for_a_day(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *template = get(stage);

    stand_in.clock_ahead_s = DAY - 60;
    put(stage, get(stage));
    get_elsewhere(stage);
    assert_int_equal(stand_in.boot_count, 1);
    stand_in.clock_ahead_s = DAY + 60;
    get_elsewhere(stage);
    assert_int_equal(stand_in.boot_count, 2);
    assert_non_null(template); /* still ours, though old */
    assert_sealed(template->snapshot.memory_fd);
    assert_ptr_not_equal(get(stage), template);
    assert_int_equal(stand_in.boot_count, 2); /* the one that was made elsewhere */
    put(stage, template);
    put(stage, stage->templates.loaded);
}

/* ---- giving up ------------------------------------------------------------------------------- */

static void drop(struct stage *stage, struct fvm_template *template)
{
    fvm_template_drop(&stage->templates, &stage->guest, template);
}

static void a_dropped_template_is_made_anew(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *template = get(stage), *other;

    assert_int_equal(count_cached(stage, ".json"), 1);
    drop(stage, template);
    assert_int_equal(count_cached(stage, ".json"), 0);
    assert_null(stage->templates.loaded);
    other = get(stage);
    assert_ptr_not_equal(other, template);
    assert_int_equal(stand_in.boot_count, 2);
    assert_sealed(template->snapshot.memory_fd); /* until its last user has put it back */
    put(stage, template);
    put(stage, other);
}

static void to_drop_one_again_spares_its_successor(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *template = get(stage), *other;

    assert_ptr_equal(get(stage), template);
    drop(stage, template);
    other = get(stage);
    drop(stage, template);
    assert_ptr_equal(stage->templates.loaded, other);
    put(stage, template);
    put(stage, template);
    put(stage, other);
}

static void those_that_nobody_uses_are_given_back(void **state)
{
    struct stage *stage = *state;
    struct fvm_template *used = get(stage);

    change_memory(stage);
    put(stage, get(stage));
    assert_ptr_not_equal(stage->templates.loaded, used);
    fvm_templates_trim(&stage->templates);
    assert_ptr_equal(stage->templates.loaded, used);
    assert_null(used->next);
    put(stage, used);
    fvm_templates_trim(&stage->templates);
    assert_null(stage->templates.loaded);
}

/* Use the template of guest `index`. Return: had it to be made? */
static bool makes(struct stage *stage, unsigned index)
{
    unsigned before = stand_in.boot_count;

    stage->guest.memory_mb = STAND_IN_MEMORY_MB + index;
    put(stage, get(stage));
    return stand_in.boot_count != before;
}

static void the_four_used_last_stay_loaded(void **state)
{
    struct stage *stage = *state;

    stage->host.cache_dir = NULL;
    for (unsigned i = 0; i < 4; i++)
        assert_true(makes(stage, i));
    for (unsigned i = 0; i < 4; i++)
        assert_false(makes(stage, i));
    assert_false(makes(stage, 0));
    assert_true(makes(stage, 4));
    assert_false(makes(stage, 0));
    assert_false(makes(stage, 3));
    assert_false(makes(stage, 2));
    assert_true(makes(stage, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(whatever_makes_a_guest_another_one_is_in_its_key),
        stage_test(a_template_is_made_once_and_kept),
        stage_test(each_guest_has_its_own),
        stage_test(handles_that_start_at_once_make_one),
        stage_test(threads_that_start_at_once_make_one),
        stage_test(without_a_cache_threads_may_make_several_but_share_one),
        stage_test(a_guest_that_does_not_boot_leaves_none),
        stage_test(a_guest_that_cannot_rehearse_becomes_none),
        stage_test(an_engine_may_have_none),
        stage_test(a_caller_need_not_wait_for_another_maker),
        stage_test(a_template_is_used_for_a_day),
        stage_test(a_dropped_template_is_made_anew),
        stage_test(to_drop_one_again_spares_its_successor),
        stage_test(those_that_nobody_uses_are_given_back),
        stage_test(the_four_used_last_stay_loaded),
    };

    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
