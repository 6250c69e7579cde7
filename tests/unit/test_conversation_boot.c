/* SPDX-License-Identifier: MIT */
/* A guest until its interpreter waits: it boots, and it rehearses. */
#include "scripted_guest.h"

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
                                                "\"python\":\"/bin/python3\",\"warm\":false}");
}

static void a_guest_is_told_that_it_becomes_a_template(void **state)
{
    struct talk *talk = *state;

    talk->warm = true;
    assert_success(talk_boot(talk, come_up), &talk->error);
    assert_non_null(strstr(talk->guest.setup.data, "\"warm\":true"));
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

static void print_like_a_terminal_and_die(struct guest *guest)
{
    guest_print(guest->console_fd, "one\r\ntwo\r\r\nthr\ree\r\n\r\n");
    guest_die(guest);
}

static void carriage_returns_of_a_console_are_left_out(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(talk_boot(talk, print_like_a_terminal_and_die), -1);
    assert_non_null(strstr(talk->error.message, "console ---\none\ntwo\nthree"));
    assert_null(strchr(talk->error.message, '\r'));
    assert_string_equal(strrchr(talk->error.message, '\n'), "\nthree");
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

static void refuse_at_boot(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_REFUSED, "no");
    guest_wait_for_the_end(guest);
}

static void no_caller_is_at_fault_for_a_boot(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_boot(talk, refuse_at_boot), &talk->error, FLASHVM_IMAGE_INVALID,
                   "the image test:image cannot run Python: no");
}

static void come_up_and_go_on(struct guest *guest)
{
    static const uint8_t frames[2][FVM_FRAME_HEADER_SIZE] = {{FVM_FRAME_READY},
                                                             {FVM_FRAME_STARTED}};

    guest_receive(guest, FVM_FRAME_SETUP);
    guest_send_bytes(guest, frames, sizeof frames);
    guest_wait_for_the_end(guest);
}

static void a_guest_that_is_up_has_nothing_to_say(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_boot(talk, come_up_and_go_on), &talk->error, FLASHVM_GUEST_FAILED,
                   "the guest does not keep to the protocol: a frame out of turn");
}

/* ---- what the engine says -------------------------------------------------------------------- */

static void be_lost(struct guest *guest)
{
    guest_print(guest->console_fd, "the last words\n");
    guest_print(guest->monitor_fd, "QEMU cannot load it");
    guest_wait_for_the_end(guest);
}

static void bad_news_of_the_engine_end_a_boot(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(talk_boot(talk, be_lost), -1);
    assert_non_null(strstr(talk->error.message, "the last words"));
    assert_failure(-1, &talk->error, FLASHVM_GUEST_FAILED, "QEMU cannot load it");
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
}

static void come_up_without_news(struct guest *guest)
{
    close(guest->monitor_fd);
    guest->monitor_fd = -1;
    guest_wait_ms(20);
    come_up(guest);
}

static void an_engine_may_say_nothing_more(void **state)
{
    struct talk *talk = *state;

    assert_success(talk_boot(talk, come_up_without_news), &talk->error);
}

/* ---- rehearsals ------------------------------------------------------------------------------ */

static void rehearse_well(struct guest *guest)
{
    if (guest_receive(guest, FVM_FRAME_REHEARSE))
        guest_send(guest, FVM_FRAME_READY, NULL, 0);
}

static void a_template_rehearses_with_another_interpreter_for_the_next_time(void **state)
{
    struct talk *talk = *state;

    assert_success(talk_rehearse(talk, FVM_REHEARSAL_OF_A_TEMPLATE, rehearse_well), &talk->error);
    assert_int_equal(talk->guest.rehearsals, 1);
    assert_int_equal(talk->guest.rehearsal.size, 1);
    assert_int_equal(talk->guest.reseeds, 0); /* its copies are */
}

static void a_copy_is_reseeded_before_it_rehearses(void **state)
{
    struct talk *talk = *state;
    char first[32];

    assert_success(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, rehearse_well), &talk->error);
    assert_int_equal(talk->guest.rehearsals, 1);
    assert_int_equal(talk->guest.rehearsal.size, 0);
    assert_int_equal(talk->guest.reseeds, 1);
    assert_int_equal(talk->guest.reseed.size, sizeof first);
    memcpy(first, talk->guest.reseed.data, sizeof first);
    talk_teardown(state);
    talk_setup(state);
    talk = *state;
    assert_success(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, rehearse_well), &talk->error);
    assert_memory_not_equal(talk->guest.reseed.data, first, sizeof first);
}

static void hang_in_a_rehearsal(struct guest *guest)
{
    guest_print(guest->console_fd, "swapping\n");
    guest_wait_for_the_end(guest);
}

static void a_guest_that_hangs_in_a_rehearsal_is_given_up(void **state)
{
    struct talk *talk = *state;

    talk->spec.boot_timeout_ms = 150;
    assert_int_equal(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, hang_in_a_rehearsal), -1);
    assert_in_range(talk->elapsed_us, 150 * 1000, 10 * 1000000);
    assert_non_null(strstr(talk->error.message, "swapping"));
    assert_failure(-1, &talk->error, FLASHVM_BOOT_FAILED, "not ready after 0.15 seconds");
}

static void a_guest_that_dies_in_a_rehearsal_was_not_up(void **state)
{
    struct talk *talk = *state;

    assert_failure(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, guest_die), &talk->error,
                   FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
}

static void fail_in_a_rehearsal(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_REHEARSE);
    guest_say(guest, FVM_FRAME_FAILED, "the waiting interpreter is gone");
    guest_wait_for_the_end(guest);
}

static void refuse_a_rehearsal(struct guest *guest)
{
    guest_say(guest, FVM_FRAME_REFUSED, "the waiting interpreter is gone");
    guest_wait_for_the_end(guest);
}

static void a_guest_may_say_why_it_cannot_rehearse(void **state)
{
    static void (*const scripts[])(struct guest *) = {fail_in_a_rehearsal, refuse_a_rehearsal};

    for (size_t i = 0; i < LENGTH(scripts); i++) {
        struct talk *talk = *state;

        assert_failure(talk_rehearse(talk, FVM_REHEARSAL_OF_A_COPY, scripts[i]), &talk->error,
                       FLASHVM_GUEST_FAILED,
                       "the guest cannot do the run: the waiting interpreter is gone");
        talk_teardown(state);
        talk_setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        talk_test(a_guest_is_told_the_image_and_comes_up),
        talk_test(a_guest_is_told_that_it_becomes_a_template),
        talk_test(a_guest_that_dies_at_boot_is_explained_by_its_console_and_log),
        talk_test(carriage_returns_of_a_console_are_left_out),
        talk_test(an_error_has_no_more_than_the_end_of_the_console),
        talk_test(a_guest_that_hangs_at_boot_is_given_up),
        talk_test(a_guest_may_say_why_it_does_not_come_up),
        talk_test(no_caller_is_at_fault_for_a_boot),
        talk_test(a_guest_that_is_up_has_nothing_to_say),
        talk_test(bad_news_of_the_engine_end_a_boot),
        talk_test(an_engine_may_say_nothing_more),
        talk_test(a_template_rehearses_with_another_interpreter_for_the_next_time),
        talk_test(a_copy_is_reseeded_before_it_rehearses),
        talk_test(a_guest_that_hangs_in_a_rehearsal_is_given_up),
        talk_test(a_guest_that_dies_in_a_rehearsal_was_not_up),
        talk_test(a_guest_may_say_why_it_cannot_rehearse),
    };

    return cmocka_run_group_tests_name("conversation_boot", tests, NULL, NULL);
}
