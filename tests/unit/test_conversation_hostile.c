/* SPDX-License-Identifier: MIT */
/* A conversation with a guest that lies, floods or says nothing: an error, never a wrong result. */
#include "scripted_guest.h"

#include <fcntl.h>

/* ---- what breaks the protocol ---------------------------------------------------------------- */

static void send_garbage(struct guest *guest)
{
    guest_send_bytes(guest, "GET / HTTP/1.1\r\n", 16);
}

static void send_too_long_a_frame(struct guest *guest)
{
    guest_send_bytes(guest, "\x0c\0\0\0\1\0\1\0", 8); /* STDOUT */
}

static void send_ready_again(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_READY, NULL, 0);
}

static void start_again(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
}

static void play_the_host(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_REQUEST, "{}");
}

static void climb_out(struct guest *guest)
{
    guest_begin_file(guest, "../../etc/passwd", 1);
}

static void name_an_absolute_path(struct guest *guest)
{
    guest_begin_file(guest, "/etc/passwd", 1);
}

static void send_a_file_frame_that_is_too_short(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_FILE, "short");
}

static void send_more_than_announced(struct guest *guest)
{
    guest_begin_file(guest, "a", 3);
    guest_say(guest, FVM_FRAME_FILE_DATA, "ab");
    guest_say(guest, FVM_FRAME_FILE_DATA, "cd");
}

static void send_less_than_announced(struct guest *guest)
{
    guest_begin_file(guest, "a", 3);
    guest_say(guest, FVM_FRAME_FILE_DATA, "ab");
    guest_send(guest, FVM_FRAME_FILE_END, NULL, 0);
}

static void send_data_without_a_file(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_FILE_DATA, "a");
}

static void end_a_file_that_never_began(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_FILE_END, NULL, 0);
}

static void begin_a_file_within_another(struct guest *guest)
{
    guest_begin_file(guest, "a", 3);
    guest_begin_file(guest, "b", 3);
}

static void send_too_many_files(struct guest *guest)
{
    guest_send_file(guest, "1", "");
    guest_send_file(guest, "2", "");
    guest_send_file(guest, "3", "");
    guest_send_file(guest, "4", "");
}

static void announce_too_large_a_file(struct guest *guest)
{
    guest_begin_file(guest, "a", (1 << 20) + 1);
}

static void announce_a_file_of_all_there_is(struct guest *guest)
{
    guest_begin_file(guest, "a", UINT64_MAX);
}

static void send_too_much_in_two_files(struct guest *guest)
{
    guest_send_file(guest, "a", "x");
    guest_begin_file(guest, "b", 1 << 20);
}

static void send_a_file_twice(struct guest *guest)
{
    guest_send_file(guest, "a", "one");
    guest_send_file(guest, "a", "two");
}

static void send_a_file_below_a_file(struct guest *guest)
{
    guest_send_file(guest, "a", "one");
    guest_send_file(guest, "a/b", "two");
}

static void send_a_file_in_place_of_a_directory(struct guest *guest)
{
    guest_send_file(guest, "a/b", "one");
    guest_send_file(guest, "a", "two");
}

static void give_a_result_within_a_file(struct guest *guest)
{
    guest_begin_file(guest, "a", 3);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void end_within_a_file(struct guest *guest)
{
    guest_begin_file(guest, "a", 3);
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
}

static void give_a_result(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void write_on(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_STDOUT, "and so on");
}

static void begin_a_file(struct guest *guest)
{
    guest_begin_file(guest, "a", 1);
}

static void end_without_a_result(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
}

static void end_and_go_on(struct guest *guest)
{
    static const uint8_t frames[2][FVM_FRAME_HEADER_SIZE] = {{FVM_FRAME_DONE}, {FVM_FRAME_STDOUT}};

    guest_send_bytes(guest, frames, sizeof frames);
}

static void give_two_results_at_once(struct guest *guest)
{
    cleanup_buffer struct fvm_buffer results = {0};
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(FVM_FRAME_RESULT, sizeof GOOD_RESULT - 1, header);
    for (int i = 0; i < 2; i++) {
        fvm_buffer_append(&results, header, sizeof header);
        fvm_buffer_append(&results, GOOD_RESULT, sizeof GOOD_RESULT - 1);
    }
    guest_send_bytes(guest, results.data, results.size);
}

static void rehearse_on(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_REHEARSE, NULL, 0);
}

static void send_deep_json(struct guest *guest)
{
    static char deep[FVM_FRAME_MAX_PAYLOAD];

    memset(deep, '[', sizeof deep);
    guest_send(guest, FVM_FRAME_RESULT, deep, sizeof deep);
}

static void attack_in_the_run(struct guest *guest)
{
    guest_start(guest);
    guest->attack(guest);
    guest_wait_for_the_end(guest);
}

static void attack_after_the_result(struct guest *guest)
{
    guest_start_and_end(guest);
    guest->attack(guest);
    guest_wait_for_the_end(guest);
}

/* The run fails with this, at once. The next attack gets a guest of its own. */
static void assert_ended(void **state, void (*script)(struct guest *guest), const char *says)
{
    struct talk *talk = *state;

    assert_failure(talk_run(talk, script), &talk->error, FLASHVM_GUEST_FAILED, says);
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
    talk_teardown(state);
    talk_setup(state);
}

static void a_guest_that_breaks_the_protocol_is_ended(void **state)
{
    static const struct {
        void (*attack)(struct guest *guest);
        const char *says;
    } cases[] = {
        {send_garbage, "bytes that are no frame"},
        {send_too_long_a_frame, "bytes that are no frame"},
        {send_ready_again, "a frame out of turn"},
        {start_again, "a frame out of turn"},
        {play_the_host, "a frame out of turn"},
        {rehearse_on, "a frame out of turn"},
        {begin_a_file, "a frame out of turn"},
        {send_data_without_a_file, "a frame out of turn"},
        {end_a_file_that_never_began, "a frame out of turn"},
        {end_without_a_result, "a frame out of turn"},
        {give_two_results_at_once, "a frame out of turn"},
        {send_deep_json, "its result is no valid JSON"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        ((struct talk *)*state)->guest.attack = cases[i].attack;
        assert_ended(state, attack_in_the_run, cases[i].says);
    }
}

static void a_guest_that_breaks_the_protocol_after_its_result_is_ended(void **state)
{
    static const struct {
        void (*attack)(struct guest *guest);
        const char *says;
    } cases[] = {
        {send_garbage, "bytes that are no frame"},
        {send_ready_again, "a frame out of turn"},
        {start_again, "a frame out of turn"},
        {play_the_host, "a frame out of turn"},
        {write_on, "a frame out of turn"},
        {give_a_result, "a frame out of turn"},
        {give_a_result_within_a_file, "a frame out of turn"},
        {end_within_a_file, "it ends within an artifact"},
        {end_and_go_on, "a frame out of turn"},
        {climb_out, "an artifact has an unsafe name"},
        {name_an_absolute_path, "an artifact has an unsafe name"},
        {send_a_file_frame_that_is_too_short, "an artifact has an unsafe name"},
        {send_more_than_announced, "sent more of an artifact than it said"},
        {send_less_than_announced, "sent less of an artifact than it said"},
        {send_data_without_a_file, "sent more of an artifact than it said"},
        {end_a_file_that_never_began, "sent less of an artifact than it said"},
        {begin_a_file_within_another, "sent an artifact out of turn"},
        {send_too_many_files, "it sends more artifacts than it was told to"},
        {announce_too_large_a_file, "it sends more artifacts than it was told to"},
        {announce_a_file_of_all_there_is, "it sends more artifacts than it was told to"},
        {send_too_much_in_two_files, "it sends more artifacts than it was told to"},
        {send_a_file_twice, "sent two artifacts that cannot both be at a"},
        {send_a_file_below_a_file, "sent two artifacts that cannot both be at a"},
        {send_a_file_in_place_of_a_directory, "sent two artifacts that cannot both be at a"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct talk *talk = *state;

        talk->spec.expect = everything;
        talk->guest.attack = cases[i].attack;
        assert_ended(state, attack_after_the_result, cases[i].says);
    }
}

/* ---- out of turn ----------------------------------------------------------------------------- */

static void write_before_the_start(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_STDOUT, "too early");
    guest_wait_for_the_end(guest);
}

static void give_a_result_before_the_start(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
    guest_wait_for_the_end(guest);
}

static void send_a_file_before_the_start(struct guest *guest)
{
    guest_begin_file(guest, "a", 1);
    guest_wait_for_the_end(guest);
}

static void end_before_the_start(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_DONE, NULL, 0);
    guest_wait_for_the_end(guest);
}

static void deny_the_start(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, RESULT_WITHOUT_START);
    guest_wait_for_the_end(guest);
}

static void start_after_the_result(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_RESULT, RESULT_WITHOUT_START);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    guest_wait_for_the_end(guest);
}

static void a_snippet_has_begun_or_it_has_not(void **state)
{
    assert_ended(state, deny_the_start, "its result and its frames differ on the start");
    ((struct talk *)*state)->spec.expect = everything; /* or the run is over by then */
    assert_ended(state, start_after_the_result, "a frame out of turn");
}

static void nothing_is_taken_before_the_snippet_begins(void **state)
{
    assert_ended(state, write_before_the_start, "a frame out of turn");
    assert_ended(state, give_a_result_before_the_start,
                 "its result and its frames differ on the start");
    assert_ended(state, send_a_file_before_the_start, "a frame out of turn");
    assert_ended(state, end_before_the_start, "a frame out of turn");
}

static void start_without_being_ready(struct guest *guest)
{
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    guest_wait_for_the_end(guest);
}

static void nothing_but_ready_is_taken_at_boot(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_boot(talk, start_without_being_ready), &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest does not keep to the protocol: a frame out of turn");
}

static void nothing_but_ready_is_taken_in_a_rehearsal(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, start_without_being_ready),
                   &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest does not keep to the protocol: a frame out of turn");
}

/* ---- results --------------------------------------------------------------------------------- */

static void give_the_result_of_the_test(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, guest->text);
    guest_wait_for_the_end(guest);
}

static void a_result_must_be_whole_and_possible(void **state)
{
#define RESULT(code, signal, started, timed_out, execute_us)                                       \
    "{\"exit_code\":" code ",\"term_signal\":" signal ",\"started\":" started                      \
    ",\"timed_out\":" timed_out "," RESULT_USAGE ",\"execute_us\":" execute_us "}"
#define RESULT_WITH(fields)                                                                        \
    "{\"exit_code\":0,\"term_signal\":0,\"started\":true,\"timed_out\":false,"                     \
    "\"cpu_time_us\":1,\"peak_memory_bytes\":1,\"execute_us\":1," fields "}"
    static const char no_json[] = "its result is no valid JSON";
    static const char out_of_range[] = "its result has values out of range";
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", no_json},
        {"null", no_json},
        {"[]", no_json},
        {"{}", no_json},
        {"{\"exit_code\":0", no_json},
        {"{\"exit_code\":0,\"exit_code\":0}", no_json},
        {RESULT("\"0\"", "0", "true", "false", "0"), no_json},
        {RESULT("0.5", "0", "true", "false", "0"), no_json},
        {RESULT("0", "null", "true", "false", "0"), no_json},
        {RESULT("0", "0", "1", "false", "0"), no_json},
        {RESULT("0", "0", "true", "\"\"", "0"), no_json},
        {RESULT("0", "0", "true", "false", "[]"), no_json},
        {RESULT("0", "0", "true", "false", "99999999999999999999"), no_json},
        {RESULT("0", "0", "true", "false", "0,\"reseeded\":true"), no_json}, /* twice */
        {RESULT_WITH("\"oom_killed\":false"), no_json},                      /* not at all */
        {RESULT_WITH("\"oom_killed\":false,\"reseeded\":1"), no_json},
        {RESULT_WITH("\"oom_killed\":null,\"reseeded\":true"), no_json},
        {RESULT_WITH("\"oom_killed\":false,\"reseeded\":false"),
         "it ran the snippet without new randomness"},
        {RESULT("300", "0", "true", "false", "0"), out_of_range},
        {RESULT("256", "0", "true", "false", "0"), out_of_range},
        {RESULT("-1", "0", "true", "false", "0"), out_of_range},
        {RESULT("4294967296", "0", "true", "false", "0"), out_of_range}, /* 0 as an int */
        {RESULT("0", "65", "true", "false", "0"), out_of_range},
        {RESULT("0", "-1", "true", "false", "0"), out_of_range},
        {RESULT("0", "4294967296", "true", "false", "0"), out_of_range},
        {RESULT("0", "0", "true", "false", "-1"), out_of_range},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        ((struct talk *)*state)->guest.text = cases[i].text;
        assert_ended(state, give_the_result_of_the_test, cases[i].says);
    }
    ((struct talk *)*state)->guest.text = RESULT("255", "64", "true", "true", "0");
    assert_int_equal(talk_result(*state, give_the_result_of_the_test)->exit_code, 255);
}

/* ---- floods ---------------------------------------------------------------------------------- */

static void write_for_ever(struct guest *guest)
{
    static const char zeros[FVM_FRAME_MAX_PAYLOAD];

    guest_start(guest);
    while (guest_send(guest, FVM_FRAME_STDOUT, zeros, sizeof zeros))
        ;
}

static void output_without_end_meets_the_deadline_and_the_limit(void **state)
{
    struct talk *talk = *state;
    const struct flashvm_result *result;

    talk->spec.timeout_ms = talk->spec.grace_ms = 100;
    talk->spec.max_stdout_bytes = 100;
    result = talk_result(talk, write_for_ever);
    assert_in_range(talk->elapsed_us, 200 * 1000, 10 * 1000000);
    assert_true(result->timed_out);
    assert_int_equal(result->stdout_size, 100);
    assert_true(result->stdout_bytes > FVM_FRAME_MAX_PAYLOAD);
    assert_in_range(talk->result->out.capacity, 100, 1000);
}

static void send_empty_frames_for_ever(struct guest *guest)
{
    guest_start(guest);
    while (guest_send(guest, FVM_FRAME_STDERR, NULL, 0))
        ;
}

static void empty_frames_without_end_meet_the_deadline(void **state)
{
    struct talk *talk = *state;

    talk->spec.timeout_ms = talk->spec.grace_ms = 100;
    assert_true(talk_result(talk, send_empty_frames_for_ever)->timed_out);
    assert_in_range(talk->elapsed_us, 200 * 1000, 10 * 1000000);
}

static void begin_and_hang(struct guest *guest)
{
    guest_start(guest);
    guest_wait_for_the_end(guest);
}

/* /dev/zero stands for a console that is always fuller than we can read. */
static void a_console_without_end_meets_the_deadline(void **state)
{
    struct talk *talk = *state;

    close(talk->vm.console_fd);
    talk->vm.console_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(talk->vm.console_fd >= 0);
    talk->spec.timeout_ms = talk->spec.grace_ms = 100;
    assert_true(talk_result(talk, begin_and_hang)->timed_out);
    assert_in_range(talk->elapsed_us, 200 * 1000, 10 * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        talk_test(a_guest_that_breaks_the_protocol_is_ended),
        talk_test(a_guest_that_breaks_the_protocol_after_its_result_is_ended),
        talk_test(nothing_is_taken_before_the_snippet_begins),
        talk_test(a_snippet_has_begun_or_it_has_not),
        talk_test(nothing_but_ready_is_taken_at_boot),
        talk_test(nothing_but_ready_is_taken_in_a_rehearsal),
        talk_test(a_result_must_be_whole_and_possible),
        talk_test(output_without_end_meets_the_deadline_and_the_limit),
        talk_test(empty_frames_without_end_meet_the_deadline),
        talk_test(a_console_without_end_meets_the_deadline),
    };

    return cmocka_run_group_tests_name("conversation_hostile", tests, NULL, NULL);
}
