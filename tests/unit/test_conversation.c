/* SPDX-License-Identifier: MIT */
/* A conversation with a guest that means well, whatever happens to it: results, endings, deadlines.
 */
#include "scripted_guest.h"

#include <fcntl.h>

#include "base/cleanup.h"
#include "base/json.h"

/* ---- boot ------------------------------------------------------------------------------------ */

static void come_up(struct guest *guest)
{
    if (guest_receive(guest, FVM_FRAME_SETUP))
        guest_send(guest, FVM_FRAME_READY, NULL, 0);
}

static void a_guest_is_told_the_image_and_comes_up(void **state)
{
    struct talk *talk = *state;

    assert_success(talk_boot(talk, come_up), &talk->error);
    assert_string_equal(talk->guest.setup.data, "{\"env\":[\"PATH=/bin\"],\"user\":\"1000:100\","
                                                "\"python\":\"/bin/python3\"}");
}

static void panic_at_boot(struct guest *guest)
{
    guest_print(guest->log_fd, "qemu: something odd\n");
    guest_print(guest->console_fd, "Kernel panic - not syncing\n");
    guest_die(guest);
}

static void a_guest_that_dies_at_boot_is_explained_by_its_console_and_log(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(talk_boot(talk, panic_at_boot), -1);
    assert_non_null(strstr(talk->error.message, "--- the VM's process said ---\nqemu: something"));
    assert_non_null(strstr(talk->error.message, "--- the end of the guest's console ---\nKernel"));
    assert_failure(-1, &talk->error, FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
}

static void print_much_and_die(struct guest *guest)
{
    guest_print(guest->console_fd, "the beginning\n");
    for (int i = 0; i < 20000; i++)
        guest_print(guest->console_fd, "0123456789");
    guest_print(guest->console_fd, "\nthe end\n");
    guest_die(guest);
}

static void an_error_has_no_more_than_the_end_of_the_console(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(talk_boot(talk, print_much_and_die), -1);
    assert_non_null(strstr(talk->error.message, "0123456789\nthe end"));
    assert_null(strstr(talk->error.message, "the beginning"));
    assert_in_range(strlen(talk->error.message), 4096, 5000);
}

static void hang_at_boot(struct guest *guest)
{
    guest_print(guest->console_fd, "loading modules\n");
    guest_wait_for_the_end(guest);
}

static void a_guest_that_hangs_at_boot_is_given_up(void **state)
{
    struct talk *talk = *state;

    talk->spec.boot_timeout_ms = 150;
    assert_int_equal(talk_boot(talk, hang_at_boot), -1);
    assert_in_range(talk->elapsed_us, 150 * 1000, 10 * 1000000);
    assert_non_null(strstr(talk->error.message, "loading modules"));
    assert_failure(-1, &talk->error, FLASHVM_BOOT_FAILED, "not up after 0.15 seconds");
}

static void fail_at_boot(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_FAILED, "/bin/python3 ended before it was ready, with exit code 1");
    guest_wait_for_the_end(guest);
}

static void a_guest_may_say_why_it_does_not_come_up(void **state)
{
    struct talk *talk = *state;

    assert_failure(
        talk_boot(talk, fail_at_boot), &talk->error, FLASHVM_IMAGE_INVALID,
        "the image test:image cannot run Python: /bin/python3 ended before it was ready");
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void run_well(struct guest *guest)
{
    guest_start(guest);
    guest_send(guest, FVM_FRAME_STDOUT, "out \0\xff 1\n", 9);
    guest_say(guest, FVM_FRAME_STDERR, "err\n");
    guest_say(guest, FVM_FRAME_STDOUT, "out 2\n");
    guest_send_file(guest, "out/a.txt", "hello");
    guest_say(guest, FVM_FRAME_RESULT,
              "{\"exit_code\":137,\"term_signal\":9,\"started\":true,\"timed_out\":false,"
              "\"execute_us\":1234," RESULT_USAGE
              ",\"left_out\":\"2 over the limit\",\"later\":1}");
}

static void a_run_gives_what_the_guest_sent(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result = talk_result(talk, run_well);

    assert_int_equal(result->exit_code, 137);
    assert_int_equal(result->term_signal, 9);
    assert_true(result->started);
    assert_false(result->timed_out);
    assert_int_equal(result->timings.execute_us, 1234);
    assert_int_equal(result->cpu_time_us, 1000);
    assert_int_equal(result->peak_memory_bytes, 5000000);
    assert_false(result->oom_killed);
    assert_null(result->ended_by_limit);
    assert_int_equal(result->stdout_size, 15);
    assert_memory_equal(result->stdout_data, "out \0\xff 1\nout 2\n", 15);
    assert_int_equal(result->stdout_bytes, 15);
    assert_string_equal(result->stderr_data, "err\n");
    assert_int_equal(result->stderr_bytes, 4);
    assert_int_equal(result->artifact_count, 1);
    assert_string_equal(result->artifacts[0].guest_path, "out/a.txt");
    assert_string_equal(result->artifacts_note, "2 over the limit");
}

static void run_silently(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void assert_request_string(const json_t *json, const char *name, const char *expected)
{
    const json_t *value = json_object_get(json, name);

    assert_string_equal(json_string_value(json_is_array(value) ? json_array_get(value, 0) : value),
                        expected);
}

static void the_guest_is_told_all_of_the_run(void **state)
{
    struct talk *talk = *state;
    cleanup_json json_t *json = NULL;

    talk->spec.env = (const char *const[]){"NAME=é", NULL};
    talk->spec.expect = (const char *const[]){"out/*", NULL};
    talk->spec.workdir = "/tmp/x";
    talk->spec.args = (const char *const[]){"first", NULL};
    talk->spec.max_disk_bytes = 5 << 20;
    assert_int_equal(talk_result(talk, run_silently)->stdout_size, 0);
    json = json_loads(talk->guest.request.data, 0, NULL);
    assert_request_string(json, "python_args", "-u");
    assert_request_string(json, "args", "first");
    assert_request_string(json, "env", "NAME=é");
    assert_request_string(json, "expect", "out/*");
    assert_request_string(json, "workdir", "/tmp/x");
    assert_int_equal(json_integer_value(json_object_get(json, "timeout_ms")), 20000);
    assert_int_equal(json_integer_value(json_object_get(json, "max_artifact_bytes")), 1 << 20);
    assert_int_equal(json_integer_value(json_object_get(json, "max_artifacts")), 3);
    assert_int_equal(json_integer_value(json_object_get(json, "max_processes")), 100);
    assert_int_equal(json_integer_value(json_object_get(json, "max_disk_bytes")), 5 << 20);
    assert_true(json_integer_value(json_object_get(json, "clock_ns")) > 1600000000000000000);
    assert_int_equal(json_string_length(json_object_get(json, "seed")), 64);
    assert_true(talk->guest.run && talk->guest.stdin_ended);
    assert_string_equal(talk->guest.files[0].path, "main.py");
    assert_string_equal(talk->guest.files[0].data.data, "pass");
}

static void code_of_any_size_and_bytes_arrives(void **state)
{
    struct talk *talk = *state;
    size_t size = 3 * FVM_FRAME_MAX_PAYLOAD + 1;
    cleanup_free char *code = malloc(size);

    for (size_t i = 0; i < size; i++)
        code[i] = (char)(i * 7);
    talk->spec.code = code;
    talk->spec.code_size = size;
    talk_result(talk, run_silently);
    assert_int_equal(talk->guest.files[0].size, size);
    assert_int_equal(talk->guest.files[0].data.size, size);
    assert_memory_equal(talk->guest.files[0].data.data, code, size);
}

static void write_more_than_is_kept(struct guest *guest)
{
    guest_start(guest);
    for (int i = 0; i < 3; i++) {
        guest_say(guest, FVM_FRAME_STDOUT, "01234567");
        guest_say(guest, FVM_FRAME_STDERR, "abc");
    }
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void output_beyond_the_limit_is_counted_not_kept(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.max_stdout_bytes = 10;
    talk->spec.max_stderr_bytes = 9;
    result = talk_result(talk, write_more_than_is_kept);
    assert_string_equal(result->stdout_data, "0123456701");
    assert_int_equal(result->stdout_size, 10);
    assert_int_equal(result->stdout_bytes, 24);
    assert_string_equal(result->stderr_data, "abcabcabc");
    assert_int_equal(result->stderr_bytes, 9);
}

static void give_a_result_and_die(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_STDOUT, "bye");
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
    guest_die(guest);
}

static void a_result_counts_though_the_vm_ends_right_after_it(void **state)
{
    assert_string_equal(talk_result(*state, give_a_result_and_die)->stdout_data, "bye");
}

static void run_out_of_memory(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT,
              "{\"exit_code\":137,\"term_signal\":9,\"started\":true,\"timed_out\":false,"
              "\"oom_killed\":true,\"execute_us\":1,\"cpu_time_us\":2,\"peak_memory_bytes\":3}");
}

static void a_guest_may_say_that_memory_ended_the_run(void **state)
{
    const struct flashvm_result *result = talk_result(*state, run_out_of_memory);

    assert_true(result->oom_killed);
    assert_string_equal(result->ended_by_limit, "memory");
    assert_int_equal(result->exit_code, 137);
}

/* ---- endings --------------------------------------------------------------------------------- */

static void panic_before_the_snippet(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_STDIN_END);
    guest_die(guest);
}

static void panic_in_the_snippet(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_STDOUT, "so far");
    guest_print(guest->console_fd, "Out of memory and no killable processes\n");
    guest_die(guest);
}

static void a_guest_that_dies_is_an_error_that_says_whether_the_snippet_had_begun(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_run(talk, panic_before_the_snippet), &talk->error, FLASHVM_GUEST_FAILED,
                   "the microVM ended before it sent a result (the snippet had not begun)");
}

static void a_guest_that_dies_in_the_snippet_is_explained_by_its_console(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(talk_run(talk, panic_in_the_snippet), -1);
    assert_non_null(strstr(talk->error.message, "no killable processes"));
    assert_failure(-1, &talk->error, FLASHVM_GUEST_FAILED, "(the snippet had begun)");
}

/* As the boot's conversation leaves it. */
static void what_the_console_said_at_boot_explains_a_run_too(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(fvm_buffer_append(&talk->vm.console, "at boot\n", 8), 0);
    assert_int_equal(talk_run(talk, panic_in_the_snippet), -1);
    assert_non_null(strstr(talk->error.message, "---\nat boot\nOut of memory and no killable"));
}

static void lose_the_process(struct guest *guest)
{
    guest_start(guest);
    fvm_cleanup_close(&guest->control_fd);
    guest->control_fd = -1;
    guest_wait_for_the_end(guest);
}

static void the_end_of_the_vms_process_is_enough(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_run(talk, lose_the_process), &talk->error, FLASHVM_GUEST_FAILED,
                   "the microVM ended before it sent a result");
}

static void fail_in_the_run(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_STDIN_END);
    guest_say(guest, FVM_FRAME_FAILED, "cannot make workdir: Not a directory");
    guest_wait_for_the_end(guest);
}

static void a_guest_may_say_why_it_cannot_do_the_run(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_run(talk, fail_in_the_run), &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest cannot do the run: cannot make workdir: Not a directory");
}

static void fail_unheard(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_FAILED, "the disk is full");
    guest_die(guest);
}

/* More than a socket takes at once, so that the host is still sending when the guest has gone. */
static void a_guest_is_heard_though_it_did_not_listen(void **state)
{
    struct talk *talk = *state;
    size_t size = 4 << 20;
    cleanup_free char *code = calloc(1, size);

    talk->spec.code = code;
    talk->spec.code_size = size;
    assert_failure(talk_run(talk, fail_unheard), &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest cannot do the run: the disk is full");
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void never_begin(struct guest *guest)
{
    guest_wait_for_the_end(guest);
}

static void a_snippet_that_does_not_begin_is_an_error(void **state)
{
    struct talk *talk = *state;

    talk->spec.start_timeout_ms = 100;
    assert_failure(talk_run(talk, never_begin), &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest did not begin the snippet within 0.1 seconds");
}

static void stop_answering(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_STDOUT, "so far");
    guest_say(guest, FVM_FRAME_STDERR, "and so on");
    guest_wait_for_the_end(guest);
}

static void a_guest_that_stops_answering_times_out_with_its_output_so_far(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.timeout_ms = 60;
    talk->spec.grace_ms = 90;
    result = talk_result(talk, stop_answering);
    assert_in_range(talk->elapsed_us, 150 * 1000, 10 * 1000000);
    assert_true(result->timed_out && result->started && !result->oom_killed);
    assert_string_equal(result->ended_by_limit, "timeout");
    assert_int_equal(result->exit_code, 124);
    assert_string_equal(result->stdout_data, "so far");
    assert_string_equal(result->stderr_data, "and so on");
    assert_non_null(strstr(result->artifacts_note, "the guest stopped answering and was ended"));
}

static void stop_within_an_artifact(struct guest *guest)
{
    guest_start(guest);
    guest_send_file(guest, "whole", "hello");
    guest_begin_file(guest, "half", 10);
    guest_say(guest, FVM_FRAME_FILE_DATA, "hello");
    guest_wait_for_the_end(guest);
}

static void an_artifact_that_came_only_in_part_is_none(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.grace_ms = 100; /* between two frames; the snippet has its 20 s */
    result = talk_result(talk, stop_within_an_artifact);
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
    assert_true(result->timed_out);
    assert_int_equal(result->artifact_count, 1);
    assert_string_equal(result->artifacts[0].guest_path, "whole");
}

static void send_an_artifact_slowly(struct guest *guest)
{
    guest_start(guest);
    guest_begin_file(guest, "slow", 1000);
    while (guest_say(guest, FVM_FRAME_FILE_DATA, "x"))
        guest_wait_ms(10);
}

static void artifacts_may_take_long_but_not_for_ever(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.timeout_ms = 50;
    talk->spec.grace_ms = 100;
    talk->spec.collect_timeout_ms = 200;
    result = talk_result(talk, send_an_artifact_slowly);
    assert_in_range(talk->elapsed_us, 350 * 1000, 5 * 1000000);
    assert_true(result->timed_out);
    assert_int_equal(result->artifact_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        talk_test(a_guest_is_told_the_image_and_comes_up),
        talk_test(a_guest_that_dies_at_boot_is_explained_by_its_console_and_log),
        talk_test(an_error_has_no_more_than_the_end_of_the_console),
        talk_test(a_guest_that_hangs_at_boot_is_given_up),
        talk_test(a_guest_may_say_why_it_does_not_come_up),
        talk_test(a_run_gives_what_the_guest_sent),
        talk_test(the_guest_is_told_all_of_the_run),
        talk_test(code_of_any_size_and_bytes_arrives),
        talk_test(output_beyond_the_limit_is_counted_not_kept),
        talk_test(a_guest_may_say_that_memory_ended_the_run),
        talk_test(a_result_counts_though_the_vm_ends_right_after_it),
        talk_test(a_guest_that_dies_is_an_error_that_says_whether_the_snippet_had_begun),
        talk_test(a_guest_that_dies_in_the_snippet_is_explained_by_its_console),
        talk_test(what_the_console_said_at_boot_explains_a_run_too),
        talk_test(the_end_of_the_vms_process_is_enough),
        talk_test(a_guest_may_say_why_it_cannot_do_the_run),
        talk_test(a_guest_is_heard_though_it_did_not_listen),
        talk_test(a_snippet_that_does_not_begin_is_an_error),
        talk_test(a_guest_that_stops_answering_times_out_with_its_output_so_far),
        talk_test(an_artifact_that_came_only_in_part_is_none),
        talk_test(artifacts_may_take_long_but_not_for_ever),
    };

    return cmocka_run_group_tests_name("conversation", tests, NULL, NULL);
}
