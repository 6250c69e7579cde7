/* SPDX-License-Identifier: MIT */
/* Copies of a template: the first shows that it answers, and a template that does not work is made
 * anew, once. */
#include "stand_in_engine.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "run/copy.h"

static int make(struct stage *stage, struct fvm_copy *ret_copy)
{
    return fvm_copy_make(&stage->guest, &stage->templates, &stage->caller, ret_copy, &stage->error);
}

static void assert_makes(struct stage *stage, bool reseeded)
{
    cleanup_copy struct fvm_copy copy = FVM_COPY_NONE;

    assert_success(make(stage, &copy), &stage->error);
    assert_int_equal(copy.is_reseeded, reseeded);
    assert_int_equal(copy.template_made_at, stage->templates.loaded->made_at);
}

static void assert_fails(struct stage *stage, enum flashvm_status status, const char *says)
{
    struct fvm_copy copy = FVM_COPY_NONE;

    assert_failure(make(stage, &copy), &stage->error, status, says);
    assert_int_equal(copy.vm.control_fd, -1); /* untouched */
}

/* ---- the first ------------------------------------------------------------------------------- */

static void the_first_copy_shows_that_it_answers(void **state)
{
    struct stage *stage = *state;

    assert_makes(stage, true);
    assert_makes(stage, false);
    assert_makes(stage, false);
    assert_int_equal(stand_in.boot_count, 1);
    assert_int_equal(stand_in.restore_count, 3);
}

static void a_process_does_not_believe_another(void **state)
{
    struct stage *stage = *state;

    assert_makes(stage, true);
    fvm_templates_trim(&stage->templates);
    assert_makes(stage, true);
    assert_int_equal(stand_in.boot_count, 1);
}

static void a_copy_is_warmed_up_once(void **state)
{
    struct stage *stage = *state;
    cleanup_copy struct fvm_copy copy = FVM_COPY_NONE;

    assert_makes(stage, true);
    assert_success(make(stage, &copy), &stage->error);
    assert_false(copy.is_reseeded);
    for (int i = 0; i < 2; i++) {
        assert_success(fvm_copy_warm_up(&copy, &stage->guest, &stage->caller, &stage->error),
                       &stage->error);
        assert_true(copy.is_reseeded);
    }
}

/* ---- templates that do not work -------------------------------------------------------------- */

static void a_template_that_does_not_answer_is_made_anew(void **state)
{
    static const char *const words[] = {MUTE, DEAD, FAILS};

    for (size_t i = 0; i < LENGTH(words); i++) {
        struct stage *stage = *state;

        stand_in.copies = COPIES(words[i], WELL);
        stage->guest.boot_timeout_ms = strcmp(words[i], MUTE) == 0 ? 500 : 20000;
        assert_makes(stage, true);
        assert_int_equal(stand_in.boot_count, 2);
        assert_int_equal(stand_in.restore_count, 2);
        assert_makes(stage, false);
        assert_null(stage->templates.loaded->next);
        fvm_templates_trim(&stage->templates);
        assert_makes(stage, true); /* the one in the cache is the new one */
        assert_int_equal(stand_in.boot_count, 2);
        stage_teardown(state);
        stage_setup(state);
    }
}

static void a_second_failure_is_an_error_that_explains(void **state)
{
    static const struct {
        const char *word;
        enum flashvm_status status;
        const char *says;
    } cases[] = {
        {MUTE, FLASHVM_BOOT_FAILED,
         "the microVM was not ready after 0.5 seconds and was ended\n"
         "--- the end of the guest's console ---\nthis guest is mute"},
        {DEAD, FLASHVM_BOOT_FAILED,
         "the microVM ended before it was up\n"
         "--- the end of the guest's console ---\nthis guest is dead"},
        {FAILS, FLASHVM_GUEST_FAILED, "the guest cannot do the run: the interpreter is gone"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct stage *stage = *state;

        stand_in.copies = COPIES(cases[i].word);
        stage->guest.boot_timeout_ms = strcmp(cases[i].word, MUTE) == 0 ? 500 : 20000;
        assert_fails(stage, cases[i].status, cases[i].says);
        assert_int_equal(stand_in.boot_count, 2);
        assert_null(stage->templates.loaded);
        assert_int_equal(count_cached(stage, ".json"), 0);
        stage_teardown(state);
        stage_setup(state);
    }
}

/* It would only take as long again. */
static void a_guest_that_does_not_boot_is_not_booted_twice(void **state)
{
    struct stage *stage = *state;

    stand_in.boots = MUTE;
    stage->guest.boot_timeout_ms = 200;
    assert_fails(stage, FLASHVM_BOOT_FAILED, "the microVM was not up after 0.2 seconds");
    assert_int_equal(stand_in.boot_count, 1);
}

/* ---- templates that are not at fault --------------------------------------------------------- */

static void assert_keeps_its_template(struct stage *stage)
{
    assert_int_equal(stand_in.boot_count, 1);
    assert_int_equal(stand_in.restore_count, 1);
    assert_non_null(stage->templates.loaded);
    assert_int_equal(stage->templates.loaded->users, 0);
    assert_int_equal(count_cached(stage, ".json"), 1);
}

/* The caller gives up as soon as a copy was started. */
static bool a_copy_was_started(void *unused)
{
    (void)unused;
    return stand_in.restore_count > 0;
}

static void a_cancelled_caller_drops_no_template(void **state)
{
    struct stage *stage = *state;
    cleanup_close int always = eventfd(1, EFD_CLOEXEC);

    stand_in.copies = COPIES(MUTE);
    stage->caller.interrupt_fd = always;
    stage->caller.interrupted = a_copy_was_started;
    assert_fails(stage, FLASHVM_CANCELLED, "the run was cancelled");
    assert_keeps_its_template(stage);
}

/* Too many processes, or no descriptor is left. */
static void a_host_that_cannot_start_a_vm_drops_no_template(void **state)
{
    struct stage *stage = *state;

    stand_in.cannot_restore = FLASHVM_IO;
    assert_fails(stage, FLASHVM_IO, "the engine does not restore");
    assert_keeps_its_template(stage);
}

static void an_engine_that_cannot_restore_it_gets_a_new_one(void **state)
{
    struct stage *stage = *state;

    stand_in.cannot_restore = FLASHVM_GUEST_FAILED;
    assert_fails(stage, FLASHVM_GUEST_FAILED, "the engine does not restore");
    assert_int_equal(stand_in.boot_count, 2);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *make_many(void *data)
{
    struct stage *stage = data;
    struct fvm_caller caller = FVM_CALLER_NONE;

    for (int i = 0; i < 5; i++) {
        cleanup_copy struct fvm_copy copy = FVM_COPY_NONE;
        cleanup_error struct flashvm_error error = {0};

        if (fvm_copy_make(&stage->guest, &stage->templates, &caller, &copy, &error) < 0)
            return data;
    }
    return NULL;
}

static void threads_that_find_a_broken_template_at_once_end_up_with_a_good_one(void **state)
{
    struct stage *stage = *state;

    stand_in.copies = COPIES(DEAD, WELL);
    run_threads(4, make_many, stage);
    assert_non_null(stage->templates.loaded);
    assert_null(stage->templates.loaded->next);
    assert_int_equal(stage->templates.loaded->users, 0);
    assert_makes(stage, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(the_first_copy_shows_that_it_answers),
        stage_test(a_process_does_not_believe_another),
        stage_test(a_copy_is_warmed_up_once),
        stage_test(a_template_that_does_not_answer_is_made_anew),
        stage_test(a_second_failure_is_an_error_that_explains),
        stage_test(a_guest_that_does_not_boot_is_not_booted_twice),
        stage_test(a_cancelled_caller_drops_no_template),
        stage_test(a_host_that_cannot_start_a_vm_drops_no_template),
        stage_test(an_engine_that_cannot_restore_it_gets_a_new_one),
        stage_test(threads_that_find_a_broken_template_at_once_end_up_with_a_good_one),
    };

    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
