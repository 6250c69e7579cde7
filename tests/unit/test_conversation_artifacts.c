/* SPDX-License-Identifier: MIT */
/* The end of a conversation: files after the result, and a result that stands whatever becomes of
 * them. */
#include "scripted_guest.h"

static int setup(void **state)
{
    talk_setup(state);
    ((struct talk *)*state)->spec.expect = everything;
    return 0;
}

#define artifacts_test(test) cmocka_unit_test_setup_teardown(test, setup, talk_teardown)

/* As of a snippet that ended with exit code 3. */
static void end_with_exit_code_3(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_STDOUT, "all of it");
    guest_say(
        guest, FVM_FRAME_RESULT,
        "{\"exit_code\":3,\"term_signal\":0,\"started\":true,\"timed_out\":false," RESULT_USAGE
        ",\"execute_us\":1234}");
}

static void assert_exit_code_3(const struct flashvm_result *result)
{
    assert_int_equal(result->exit_code, 3);
    assert_false(result->timed_out);
    assert_null(result->ended_by_limit);
    assert_string_equal(result->stdout_data, "all of it");
    assert_int_equal(result->timings.execute_us, 1234);
}

/* ---- the whole end --------------------------------------------------------------------------- */

static void send_files(struct guest *guest)
{
    end_with_exit_code_3(guest);
    guest_send_file(guest, "a", "");
    guest_send_file(guest, "out/b.txt", "hello");
    guest_send(guest, FVM_FRAME_DONE, guest->text, guest->text ? strlen(guest->text) : 0);
}

static void files_come_after_the_result(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result = talk_result(talk, send_files);

    assert_exit_code_3(result);
    assert_int_equal(result->artifact_count, 2);
    assert_string_equal(result->artifacts[0].guest_path, "a");
    assert_string_equal(result->artifacts[1].guest_path, "out/b.txt");
    assert_int_equal(result->artifacts[1].size_bytes, 5);
    assert_null(result->artifacts_note);
}

static void a_guest_may_say_what_it_left_out(void **state)
{
    struct talk *talk = *state;

    talk->guest.text = "2 over the limit";
    assert_string_equal(talk_result(talk, send_files)->artifacts_note, "2 over the limit");
}

static void end_without_files(struct guest *guest)
{
    end_with_exit_code_3(guest);
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
}

static void there_need_not_be_any_files(void **state)
{
    const struct flashvm_result *result = talk_result(*state, end_without_files);

    assert_exit_code_3(result);
    assert_int_equal(result->artifact_count, 0);
    assert_null(result->artifacts_note);
}

/* The host does not wait for what it did not ask for. */
static void without_any_wish_for_files_the_result_is_the_end(void **state)
{
    static const char *const nothing[] = {NULL};
    struct talk *talk = *state;

    talk->spec.expect = nothing;
    assert_exit_code_3(talk_result(talk, end_with_exit_code_3));
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
}

/* ---- an end that is not whole ---------------------------------------------------------------- */

static void assert_incomplete(const struct talk *talk, const char *how)
{
    const struct flashvm_result *result = &talk->result->public;

    assert_exit_code_3(result);
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
    assert_non_null(strstr(result->artifacts_note, how));
    assert_non_null(
        strstr(result->artifacts_note, "files that it had not sent by then are missing"));
}

static void send_one_and_a_half(struct guest *guest)
{
    end_with_exit_code_3(guest);
    guest_send_file(guest, "whole", "hello");
    guest_begin_file(guest, "half", 10);
    guest_say(guest, FVM_FRAME_FILE_DATA, "hello");
}

static void stop_within_an_artifact(struct guest *guest)
{
    send_one_and_a_half(guest);
    guest_wait_for_the_end(guest);
}

static void an_artifact_that_came_only_in_part_is_none(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.grace_ms = 100; /* between two frames; the snippet has its 20 s */
    result = talk_result(talk, stop_within_an_artifact);
    assert_incomplete(talk, "the guest stopped answering and was ended");
    assert_int_equal(result->artifact_count, 1);
    assert_string_equal(result->artifacts[0].guest_path, "whole");
}

static void stop_before_the_files(struct guest *guest)
{
    end_with_exit_code_3(guest);
    guest_wait_for_the_end(guest);
}

static void a_guest_that_hangs_after_its_result_has_given_one(void **state)
{
    struct talk *talk = *state;

    talk->spec.grace_ms = 100;
    assert_int_equal(talk_result(talk, stop_before_the_files)->artifact_count, 0);
    assert_incomplete(talk, "the guest stopped answering and was ended");
}

static void die_within_an_artifact(struct guest *guest)
{
    send_one_and_a_half(guest);
    guest_die(guest);
}

static void a_guest_that_dies_while_it_sends_files_has_given_a_result(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result = talk_result(talk, die_within_an_artifact);

    assert_incomplete(talk, "the guest ended while it sent files");
    assert_int_equal(result->artifact_count, 1);
    assert_string_equal(result->artifacts[0].guest_path, "whole");
}

static void send_an_artifact_slowly(struct guest *guest)
{
    end_with_exit_code_3(guest);
    guest_begin_file(guest, "slow", 1000);
    while (guest_say(guest, FVM_FRAME_FILE_DATA, "x"))
        guest_wait_ms(10);
}

static void artifacts_may_take_long_but_not_for_ever(void **state)
{
    struct talk *talk = *state;

    talk->spec.grace_ms = 100;
    talk->spec.collect_timeout_ms = 350;
    assert_int_equal(talk_result(talk, send_an_artifact_slowly)->artifact_count, 0);
    assert_in_range(talk->elapsed_us, 350 * 1000, 5 * 1000000);
    assert_incomplete(talk, "the guest stopped answering and was ended");
}

static void send_files_in_some_time(struct guest *guest)
{
    static const char *const names[] = {"1", "2", "3", "4", "5", "6"};

    end_with_exit_code_3(guest);
    for (size_t i = 0; i < LENGTH(names); i++) {
        guest_wait_ms(100);
        guest_send_file(guest, names[i], "");
    }
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
}

static void files_have_time_of_their_own(void **state)
{
    struct talk *talk = *state;

    talk->spec.timeout_ms = 1;
    talk->spec.grace_ms = 500;
    talk->spec.max_artifacts = 6;
    assert_int_equal(talk_result(talk, send_files_in_some_time)->artifact_count, 6);
    assert_null(talk->result->public.artifacts_note);
}

static void time_out_and_send_a_file(struct guest *guest)
{
    guest_start(guest);
    guest_say(
        guest, FVM_FRAME_RESULT,
        "{\"exit_code\":124,\"term_signal\":9,\"started\":true,\"timed_out\":true," RESULT_USAGE
        ",\"execute_us\":50000}");
    guest_send_file(guest, "a", "so far");
    guest_wait_for_the_end(guest);
}

static void a_timeout_stays_one_when_the_guest_hangs_after_it(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.grace_ms = 100;
    result = talk_result(talk, time_out_and_send_a_file);
    assert_true(result->timed_out);
    assert_int_equal(result->exit_code, 124);
    assert_string_equal(result->ended_by_limit, "timeout");
    assert_int_equal(result->artifact_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        artifacts_test(files_come_after_the_result),
        artifacts_test(a_guest_may_say_what_it_left_out),
        artifacts_test(there_need_not_be_any_files),
        artifacts_test(without_any_wish_for_files_the_result_is_the_end),
        artifacts_test(an_artifact_that_came_only_in_part_is_none),
        artifacts_test(a_guest_that_hangs_after_its_result_has_given_one),
        artifacts_test(a_guest_that_dies_while_it_sends_files_has_given_a_result),
        artifacts_test(artifacts_may_take_long_but_not_for_ever),
        artifacts_test(files_have_time_of_their_own),
        artifacts_test(a_timeout_stays_one_when_the_guest_hangs_after_it),
    };

    return cmocka_run_group_tests_name("conversation_artifacts", tests, NULL, NULL);
}
