/* SPDX-License-Identifier: MIT */
/* A run in a guest that means well, whatever happens to it: results, endings, deadlines. */
#include "scripted_guest.h"

#include "base/cleanup.h"
#include "base/json.h"

/* ---- a run ----------------------------------------------------------------------------------- */

static void run_well(struct guest *guest)
{
    guest_start(guest);
    guest_send(guest, FVM_FRAME_STDOUT, "out \0\xff 1\n", 9);
    guest_say(guest, FVM_FRAME_STDERR, "err\n");
    guest_say(guest, FVM_FRAME_STDOUT, "out 2\n");
    guest_say(guest, FVM_FRAME_RESULT,
              "{\"exit_code\":137,\"term_signal\":9,\"started\":true,\"timed_out\":false,"
              "\"execute_us\":1234," RESULT_USAGE ",\"later\":1}");
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
    assert_int_equal(result->artifact_count, 0);
    assert_null(result->artifacts_note);
    assert_true(result->reseeded && result->clock_set);
}

static void run_silently(struct guest *guest)
{
    guest_start_and_end(guest);
}

static void run_without_files(struct guest *guest)
{
    guest_start_and_end(guest);
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
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

    talk->spec.python_args = (const char *const[]){"-O", "-u", NULL};
    talk->spec.env = (const char *const[]){"NAME=é", NULL};
    talk->spec.expect = (const char *const[]){"out/*", NULL};
    talk->spec.workdir = "/tmp/x";
    talk->spec.args = (const char *const[]){"first", NULL};
    talk->spec.max_disk_bytes = 5 << 20;
    assert_int_equal(talk_result(talk, run_without_files)->stdout_size, 0);
    json = json_loads(talk->guest.request.data, 0, NULL);
    assert_request_string(json, "python_args", "-O");
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
    assert_true(talk->guest.run && talk->guest.stdin_ended);
    assert_string_equal(talk->guest.files[0].path, "main.py");
    assert_string_equal(talk->guest.files[0].data.data, "pass");
}

/* Reading it takes an emulated guest long. */
static void what_is_as_usual_the_guest_is_not_told(void **state)
{
    static const char *const told[] = {"timeout_ms", "max_processes", "clock_ns"};
    struct talk *talk = *state;
    cleanup_json json_t *json = NULL;

    talk_result(talk, run_silently);
    json = json_loads(talk->guest.request.data, 0, NULL);
    for (size_t i = 0; i < LENGTH(told); i++)
        assert_int_equal(json_object_del(json, told[i]), 0);
    assert_int_equal(json_object_size(json), 0);
}

static void no_options_of_the_interpreter_are_not_as_usual(void **state)
{
    struct talk *talk = *state;
    cleanup_json json_t *json = NULL;

    talk->spec.python_args = (const char *const[]){NULL};
    talk_result(talk, run_silently);
    json = json_loads(talk->guest.request.data, 0, NULL);
    assert_true(json_is_array(json_object_get(json, "python_args")));
    assert_int_equal(json_array_size(json_object_get(json, "python_args")), 0);
}

static void look_what_comes_first(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RESEED);
    if (guest->request.size > 0 || guest->files[0].path[0])
        guest_die(guest);
    run_silently(guest);
}

static void a_guest_is_reseeded_before_its_run(void **state)
{
    struct talk *talk = *state;

    talk_result(talk, look_what_comes_first);
    assert_int_equal(talk->guest.reseeds, 1);
    assert_int_equal(talk->guest.reseed.size, 32);
}

static void a_guest_that_was_reseeded_is_not_again(void **state)
{
    struct talk *talk = *state;

    talk->was_reseeded = true;
    talk_result(talk, run_silently);
    assert_int_equal(talk->guest.reseeds, 0);
    assert_true(talk->guest.run);
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
              "\"oom_killed\":true,\"reseeded\":true,\"execute_us\":1,\"cpu_time_us\":2,"
              "\"peak_memory_bytes\":3}");
}

static void a_guest_may_say_that_memory_ended_the_run(void **state)
{
    const struct flashvm_result *result = talk_result(*state, run_out_of_memory);

    assert_true(result->oom_killed);
    assert_string_equal(result->ended_by_limit, "memory");
    assert_int_equal(result->exit_code, 137);
}

static void end_before_the_start(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_STDIN_END);
    guest_say(guest, FVM_FRAME_RESULT, RESULT_WITHOUT_START);
}

static void a_run_may_end_before_its_snippet_begins(void **state)
{
    const struct flashvm_result *result = talk_result(*state, end_before_the_start);

    assert_false(result->started);
    assert_true(result->timed_out);
    assert_string_equal(result->ended_by_limit, "timeout");
    assert_int_equal(result->exit_code, 124);
    assert_int_equal(result->stdout_size, 0);
}

static void end_before_the_start_with_files(struct guest *guest)
{
    end_before_the_start(guest);
    guest_send_file(guest, "given.txt", "given");
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
}

static void a_run_that_never_began_may_have_artifacts(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.expect = everything;
    result = talk_result(talk, end_before_the_start_with_files);
    assert_false(result->started);
    assert_int_equal(result->artifact_count, 1);
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

/* ---- what the caller is told to change ------------------------------------------------------- */

static void refuse_the_run(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_STDIN_END);
    guest_say(guest, FVM_FRAME_REFUSED, guest->text);
    guest_wait_for_the_end(guest);
}

static void assert_refused(void **state, bool workdir_is_images, const char *text,
                           enum flashvm_status status, const char *message)
{
    struct talk *talk = *state;

    talk->guest.text = text;
    talk->spec.workdir_is_images = workdir_is_images;
    assert_int_equal(talk_run(talk, refuse_the_run), -1);
    assert_string_equal(talk->error.message, message);
    assert_failure(-1, &talk->error, status, message);
    talk_teardown(state);
    talk_setup(state);
}

static void a_guest_may_say_what_the_caller_is_to_change(void **state)
{
    static const char workdir[] = "workdir is \"/main\", which the snippet's user cannot use";
    static const char files[] = "files_in leave too little memory for the snippet; raise memory_mb";

    assert_refused(state, false, workdir, FLASHVM_INVALID_ARGUMENT, workdir);
    assert_refused(state, false, files, FLASHVM_INVALID_ARGUMENT, files);
    assert_refused(state, true, files, FLASHVM_INVALID_ARGUMENT, files);
    assert_refused(state, true, workdir, FLASHVM_IMAGE_INVALID,
                   "the image's config is at fault, give a workdir of your own: "
                   "workdir is \"/main\", which the snippet's user cannot use");
    assert_refused(state, true, "", FLASHVM_GUEST_FAILED,
                   "the guest does not keep to the protocol: it refuses without a reason");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        talk_test(a_run_gives_what_the_guest_sent),
        talk_test(the_guest_is_told_all_of_the_run),
        talk_test(what_is_as_usual_the_guest_is_not_told),
        talk_test(no_options_of_the_interpreter_are_not_as_usual),
        talk_test(a_guest_is_reseeded_before_its_run),
        talk_test(a_guest_that_was_reseeded_is_not_again),
        talk_test(code_of_any_size_and_bytes_arrives),
        talk_test(output_beyond_the_limit_is_counted_not_kept),
        talk_test(a_guest_may_say_that_memory_ended_the_run),
        talk_test(a_run_may_end_before_its_snippet_begins),
        talk_test(a_run_that_never_began_may_have_artifacts),
        talk_test(a_result_counts_though_the_vm_ends_right_after_it),
        talk_test(a_guest_that_dies_is_an_error_that_says_whether_the_snippet_had_begun),
        talk_test(a_guest_that_dies_in_the_snippet_is_explained_by_its_console),
        talk_test(what_the_console_said_at_boot_explains_a_run_too),
        talk_test(the_end_of_the_vms_process_is_enough),
        talk_test(a_guest_may_say_why_it_cannot_do_the_run),
        talk_test(a_guest_is_heard_though_it_did_not_listen),
        talk_test(a_guest_may_say_what_the_caller_is_to_change),
        talk_test(a_snippet_that_does_not_begin_is_an_error),
        talk_test(a_guest_that_stops_answering_times_out_with_its_output_so_far),
    };

    return cmocka_run_group_tests_name("conversation", tests, NULL, NULL);
}
