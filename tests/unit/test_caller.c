/* SPDX-License-Identifier: MIT */
/* Whoever waits for a call that lasts: is told of it, and may end it in two ways. */
#include "assertions.h"

#include <fcntl.h>
#include <pthread.h>

#include "base/caller.h"
#include "base/clock.h"

struct question {
    int asked;
    bool answer;
};

static bool ask(void *data)
{
    struct question *question = data;

    question->asked++;
    return question->answer;
}

static void note(void *data, const char *stage)
{
    *(const char **)data = stage;
}

static int interrupt_pipe[2];

static int setup(void **state)
{
    (void)state;
    return pipe2(interrupt_pipe, O_CLOEXEC);
}

static int teardown(void **state)
{
    (void)state;
    close(interrupt_pipe[0]);
    close(interrupt_pipe[1]);
    return 0;
}

static void interrupt(void)
{
    assert_int_equal(write(interrupt_pipe[1], "x", 1), 1);
}

static void assert_cancelled(int outcome, struct flashvm_error *error)
{
    assert_failure(outcome, error, FLASHVM_CANCELLED, "the call was cancelled");
}

static void a_caller_is_told_what_begins(void **state)
{
    struct fvm_caller deaf = FVM_CALLER_NONE, caller = FVM_CALLER_NONE;
    const char *told = "nothing";

    (void)state;
    fvm_caller_tell(&deaf, "something");
    caller.progress = note;
    caller.progress_data = &told;
    fvm_caller_tell(&caller, "booting");
    assert_string_equal(told, "booting");
    fvm_caller_tell(&caller, NULL);
    assert_null(told);
}

static void without_means_to_end_it_a_call_goes_on(void **state)
{
    struct fvm_caller caller = FVM_CALLER_NONE;
    struct flashvm_error error = {0};

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_success(fvm_caller_check(&caller, &error), &error);
        assert_success(fvm_caller_pause(&caller, 1, &error), &error);
    }
}

static void a_readable_descriptor_ends_a_call(void **state)
{
    struct fvm_caller caller = {.interrupt_fd = interrupt_pipe[0]};
    struct flashvm_error error = {0};

    (void)state;
    assert_success(fvm_caller_check(&caller, &error), &error);
    interrupt();
    caller.asked_us = 0; /* long ago */
    assert_cancelled(fvm_caller_check(&caller, &error), &error);
    assert_cancelled(fvm_caller_pause(&caller, 20000, &error), &error);
}

static void a_callback_ends_a_call_without_a_descriptor(void **state)
{
    struct question question = {.answer = true};
    struct fvm_caller caller = {
        .interrupt_fd = -1, .interrupted = ask, .interrupted_data = &question};
    struct flashvm_error error = {0};

    (void)state;
    assert_cancelled(fvm_caller_check(&caller, &error), &error);
    assert_cancelled(fvm_caller_pause(&caller, 1, &error), &error);
    assert_int_equal(question.asked, 2);
}

static void a_callback_decides_what_a_descriptor_means(void **state)
{
    struct question question = {.answer = false};
    struct fvm_caller caller = {
        .interrupt_fd = interrupt_pipe[0], .interrupted = ask, .interrupted_data = &question};
    struct flashvm_error error = {0};

    (void)state;
    interrupt();
    assert_success(fvm_caller_check(&caller, &error), &error);
    assert_false(fvm_caller_gives_up(&caller));
    question.answer = true;
    assert_true(fvm_caller_gives_up(&caller));
    assert_cancelled(fvm_caller_pause(&caller, 1, &error), &error);
}

/* It may be called for each block of a file. */
static void a_check_asks_20_times_a_second_at_most(void **state)
{
    struct question question = {.answer = false};
    struct fvm_caller caller = {
        .interrupt_fd = -1, .interrupted = ask, .interrupted_data = &question};
    struct flashvm_error error = {0};
    uint64_t begin = fvm_now_us(), passed_us;

    (void)state;
    while ((passed_us = fvm_now_us() - begin) < 200000)
        assert_success(fvm_caller_check(&caller, &error), &error);
    assert_in_range(question.asked, 2, passed_us / 50000 + 1);
}

static void a_pause_lasts_as_long_as_it_is_to(void **state)
{
    struct fvm_caller caller = {.interrupt_fd = interrupt_pipe[0]};
    struct flashvm_error error = {0};
    uint64_t begin = fvm_now_us();

    (void)state;
    assert_success(fvm_caller_pause(&caller, 50, &error), &error);
    assert_in_range(fvm_now_us() - begin, 49000, 10 * 1000000);
}

static void *interrupt_later(void *unused)
{
    (void)unused;
    usleep(30 * 1000);
    (void)!write(interrupt_pipe[1], "x", 1);
    return NULL;
}

static void a_pause_is_ended_by_the_descriptor(void **state)
{
    struct fvm_caller caller = {.interrupt_fd = interrupt_pipe[0]};
    struct flashvm_error error = {0};
    uint64_t begin = fvm_now_us();
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, NULL), 0);
    assert_cancelled(fvm_caller_pause(&caller, 20000, &error), &error);
    assert_in_range(fvm_now_us() - begin, 0, 10 * 1000000);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

#define caller_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        caller_test(a_caller_is_told_what_begins),
        caller_test(without_means_to_end_it_a_call_goes_on),
        caller_test(a_readable_descriptor_ends_a_call),
        caller_test(a_callback_ends_a_call_without_a_descriptor),
        caller_test(a_callback_decides_what_a_descriptor_means),
        caller_test(a_check_asks_20_times_a_second_at_most),
        caller_test(a_pause_lasts_as_long_as_it_is_to),
        caller_test(a_pause_is_ended_by_the_descriptor),
    };

    return cmocka_run_group_tests_name("caller", tests, NULL, NULL);
}
