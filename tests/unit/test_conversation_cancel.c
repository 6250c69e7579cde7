/* SPDX-License-Identifier: MIT */
/* How a caller ends a conversation early: a descriptor, a signal, and a callback that decides. */
#include "scripted_guest.h"

#include <fcntl.h>
#include <stdatomic.h>

/* What the callback is asked, and answers. Shared with the guest's thread. */
struct question {
    atomic_int asked;
    bool answer;
    int empty_fd; /* to be emptied; -1: none */
};

static struct question question;
static int interrupt_pipe[2];

static bool ask(void *data)
{
    struct question *asked = data;
    char byte;

    if (asked->empty_fd >= 0)
        assert_int_equal(read(asked->empty_fd, &byte, 1), 1);
    asked->asked++;
    return asked->answer;
}

static void do_nothing(int signal_number)
{
    (void)signal_number;
}

static int cancel_setup(void **state)
{
    struct sigaction action = {.sa_handler = do_nothing}; /* no SA_RESTART */

    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(pipe2(interrupt_pipe, O_CLOEXEC), 0);
    question = (struct question){.empty_fd = -1};
    return talk_setup(state);
}

static int cancel_teardown(void **state)
{
    close(interrupt_pipe[0]);
    close(interrupt_pipe[1]);
    return talk_teardown(state);
}

/* The run ends with FLASHVM_CANCELLED, long before any deadline. */
static void assert_cancelled(struct talk *talk, void (*script)(struct guest *guest))
{
    assert_failure(talk_run(talk, script), &talk->error, FLASHVM_CANCELLED,
                   "the run was cancelled");
    assert_in_range(talk->elapsed_us, 0, 5 * 1000000);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static void interrupt_by_descriptor(struct guest *guest)
{
    guest_start(guest);
    guest_wait_ms(50);
    fvm_write_all(interrupt_pipe[1], "x", 1);
    guest_wait_for_the_end(guest);
}

/* Then the callback may have asked for the run to go on, or not. */
static void interrupt_by_descriptor_and_end(struct guest *guest)
{
    guest_start(guest);
    fvm_write_all(interrupt_pipe[1], "x", 1);
    while (question.asked == 0)
        guest_wait_ms(1);
    guest_say(guest, FVM_FRAME_STDOUT, "went on");
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void a_readable_descriptor_cancels(void **state)
{
    struct talk *talk = *state;

    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    assert_cancelled(talk, interrupt_by_descriptor);
}

static void a_descriptor_that_was_readable_before_cancels(void **state)
{
    struct talk *talk = *state;

    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    assert_int_equal(write(interrupt_pipe[1], "x", 1), 1);
    assert_cancelled(talk, guest_wait_for_the_end);
}

static void a_boot_can_be_cancelled_too(void **state)
{
    struct talk *talk = *state;

    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    assert_int_equal(write(interrupt_pipe[1], "x", 1), 1);
    assert_failure(talk_boot(talk, guest_wait_for_the_end), &talk->error, FLASHVM_CANCELLED,
                   "the run was cancelled");
    assert_in_range(talk->elapsed_us, 0, 5 * 1000000);
}

static void a_rehearsal_can_be_cancelled_too(void **state)
{
    struct talk *talk = *state;

    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    assert_int_equal(write(interrupt_pipe[1], "x", 1), 1);
    assert_failure(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, guest_wait_for_the_end),
                   &talk->error, FLASHVM_CANCELLED, "the run was cancelled");
    assert_in_range(talk->elapsed_us, 0, 5 * 1000000);
}

static void a_callback_may_confirm_the_descriptor(void **state)
{
    struct talk *talk = *state;

    question = (struct question){.answer = true, .empty_fd = interrupt_pipe[0]};
    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    talk->spec.caller.interrupted = ask;
    talk->spec.caller.interrupted_data = &question;
    assert_cancelled(talk, interrupt_by_descriptor);
    assert_int_equal(question.asked, 1);
}

static void a_callback_may_let_the_run_go_on(void **state)
{
    struct talk *talk = *state;

    question = (struct question){.answer = false, .empty_fd = interrupt_pipe[0]};
    talk->spec.caller.interrupt_fd = interrupt_pipe[0];
    talk->spec.caller.interrupted = ask;
    talk->spec.caller.interrupted_data = &question;
    assert_string_equal(talk_result(talk, interrupt_by_descriptor_and_end)->stdout_data, "went on");
    assert_int_equal(question.asked, 1);
}

/* ---- signals --------------------------------------------------------------------------------- */

/* Interrupt the host's system call; some signals may come while it is in none. */
static void interrupt_by_signal(struct guest *guest)
{
    guest_start(guest);
    for (int i = 0; i < 400 && question.asked == 0; i++) {
        pthread_kill(guest->host, SIGUSR1);
        guest_wait_ms(10);
    }
}

static void interrupt_by_signal_and_wait(struct guest *guest)
{
    interrupt_by_signal(guest);
    guest_wait_for_the_end(guest);
}

static void interrupt_by_signal_and_end(struct guest *guest)
{
    interrupt_by_signal(guest);
    guest_say(guest, FVM_FRAME_STDOUT, "went on");
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void send_a_few_signals_and_end(struct guest *guest)
{
    guest_start(guest);
    for (int i = 0; i < 10; i++) {
        pthread_kill(guest->host, SIGUSR1);
        guest_wait_ms(10);
    }
    guest_say(guest, FVM_FRAME_STDOUT, "went on");
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void an_interrupted_call_asks_and_cancels(void **state)
{
    struct talk *talk = *state;

    question.answer = true;
    talk->spec.caller.interrupted = ask;
    talk->spec.caller.interrupted_data = &question;
    assert_cancelled(talk, interrupt_by_signal_and_wait);
    assert_int_equal(question.asked, 1);
}

static void an_interrupted_call_asks_and_goes_on(void **state)
{
    struct talk *talk = *state;

    talk->spec.caller.interrupted = ask;
    talk->spec.caller.interrupted_data = &question;
    assert_string_equal(talk_result(talk, interrupt_by_signal_and_end)->stdout_data, "went on");
    assert_true(question.asked >= 1);
}

static void a_signal_alone_cancels_nothing(void **state)
{
    assert_string_equal(talk_result(*state, send_a_few_signals_and_end)->stdout_data, "went on");
}

#define cancel_test(test) cmocka_unit_test_setup_teardown(test, cancel_setup, cancel_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cancel_test(a_readable_descriptor_cancels),
        cancel_test(a_descriptor_that_was_readable_before_cancels),
        cancel_test(a_boot_can_be_cancelled_too),
        cancel_test(a_rehearsal_can_be_cancelled_too),
        cancel_test(a_callback_may_confirm_the_descriptor),
        cancel_test(a_callback_may_let_the_run_go_on),
        cancel_test(an_interrupted_call_asks_and_cancels),
        cancel_test(an_interrupted_call_asks_and_goes_on),
        cancel_test(a_signal_alone_cancels_nothing),
    };

    return cmocka_run_group_tests_name("conversation_cancel", tests, NULL, NULL);
}
