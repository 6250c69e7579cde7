/* SPDX-License-Identifier: MIT */
/* QEMU's monitor: what it answers is counted, and whatever else it says harms nobody. */
#include "assertions.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/qmp.h"

#define GREETING                                                                                   \
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, "            \
    "\"capabilities\": [\"oob\"]}}\r\n"
#define EVENT  "{\"timestamp\": {\"seconds\": 1}, \"event\": \"MIGRATION\"}\r\n"
#define ANSWER "{\"return\": {}}\r\n"

struct fixture {
    struct fvm_vm vm;
    int monitor_fd, control_fd; /* QEMU's ends */
    struct fvm_caller caller;
    struct flashvm_error error;
    const char *text; /* for a thread to say */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    int monitor[2], control[2];

    assert_non_null(fixture);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    fixture->vm.monitor_fd = monitor[0];
    fixture->monitor_fd = monitor[1];
    fixture->vm.control_fd = control[0];
    fixture->control_fd = control[1];
    fixture->caller = (struct fvm_caller)FVM_CALLER_NONE;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    close(fixture->vm.monitor_fd);
    close(fixture->vm.control_fd);
    fvm_cleanup_close(&fixture->monitor_fd);
    fvm_cleanup_close(&fixture->control_fd);
    fvm_buffer_finish(&fixture->vm.monitor);
    flashvm_error_finish(&fixture->error);
    free(fixture);
    return 0;
}

#define qmp_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void say(const struct fixture *fixture, const char *text)
{
    assert_int_equal(fvm_write_all(fixture->monitor_fd, text, strlen(text)), 0);
}

static int take(struct fixture *fixture)
{
    int answers = fvm_qmp_take(&fixture->vm, &fixture->error);

    assert_success(answers, &fixture->error);
    return answers;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void answers_are_counted_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(take(fixture), 0);
    say(fixture, GREETING);
    assert_int_equal(take(fixture), 0);
    say(fixture, ANSWER EVENT "{\"return\": [1, 2], \"id\": 5}\n" EVENT ANSWER);
    assert_int_equal(take(fixture), 3);
    assert_int_equal(take(fixture), 0);
    assert_int_equal(fixture->vm.monitor.size, 0);
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    static const char text[] = GREETING ANSWER EVENT ANSWER;
    struct fixture *fixture = *state;
    int answers = 0;

    for (size_t i = 0; text[i]; i++) {
        assert_int_equal(write(fixture->monitor_fd, &text[i], 1), 1);
        answers += take(fixture);
    }
    assert_int_equal(answers, 2);
}

static void many_events_are_no_trouble(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 20000; i++) {
        say(fixture, EVENT EVENT EVENT);
        assert_int_equal(take(fixture), 0);
    }
    assert_in_range(fixture->vm.monitor.capacity, 1, 4096);
}

static void a_refusal_is_an_error_with_its_words(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"error\": {\"class\": \"GenericError\", \"desc\": \"State blocked\"}}\r\n",
         "QEMU's monitor refuses: State blocked"},
        {ANSWER "{\"error\": {\"desc\": \"no file\"}, \"return\": {}}\n",
         "QEMU's monitor refuses: no file"},
        {"{\"error\": {\"desc\": 5}}\n", "QEMU's monitor refuses: ?"},
        {"{\"error\": {}}\n", "QEMU's monitor refuses: ?"},
        {"{\"error\": null}\n", "QEMU's monitor refuses: ?"},
        {"{\"error\": \"text\"}\n", "QEMU's monitor refuses: ?"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct fixture *fixture = *state;

        say(fixture, cases[i].text);
        assert_failure(fvm_qmp_take(&fixture->vm, &fixture->error), &fixture->error,
                       FLASHVM_GUEST_FAILED, cases[i].says);
        teardown(state);
        setup(state);
    }
}

static void what_is_no_json_is_an_error(void **state)
{
    static const char *const cases[] = {
        "\n",
        "\r\n",
        "hello\n",
        "{\n",
        "5\n",
        "\"return\"\n",
        "{\"return\": {}} {\"return\": {}}\n",
        "{\"return\": \"\xff\"}\n",
        "{\"return\": 1e999}\n",
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct fixture *fixture = *state;

        say(fixture, cases[i]);
        assert_failure(fvm_qmp_take(&fixture->vm, &fixture->error), &fixture->error,
                       FLASHVM_GUEST_FAILED, "QEMU's monitor speaks no JSON");
        teardown(state);
        setup(state);
    }
}

static void other_json_is_no_answer(void **state)
{
    struct fixture *fixture = *state;

    say(fixture, "[]\n{}\n[{\"return\": {}}]\n{\"RETURN\": {}}\n{\"event\": \"return\"}\n");
    assert_int_equal(take(fixture), 0);
}

static void deep_json_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *deep = malloc(100001);

    memset(deep, '[', 100000);
    deep[99999] = '\n';
    deep[100000] = '\0';
    say(fixture, deep);
    assert_failure(fvm_qmp_take(&fixture->vm, &fixture->error), &fixture->error,
                   FLASHVM_GUEST_FAILED, "QEMU's monitor speaks no JSON");
}

/* ---- somebody at the other end --------------------------------------------------------------- */

static void *say_for_ever(void *data)
{
    const struct fixture *fixture = data;

    while (send(fixture->monitor_fd, fixture->text, strlen(fixture->text), MSG_NOSIGNAL) > 0)
        ;
    return NULL;
}

static void assert_flood_ends(struct fixture *fixture, const char *text)
{
    pthread_t thread;
    int outcome = 0;

    fixture->text = text;
    assert_int_equal(pthread_create(&thread, NULL, say_for_ever, fixture), 0);
    while (outcome == 0)
        outcome = fvm_qmp_take(&fixture->vm, &fixture->error);
    shutdown(fixture->vm.monitor_fd, SHUT_RDWR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_failure(outcome, &fixture->error, FLASHVM_GUEST_FAILED,
                   "QEMU's monitor says more than makes sense");
    assert_in_range(fixture->vm.monitor.capacity, 1, 4 << 20);
}

static void a_line_without_end_is_an_error(void **state)
{
    assert_flood_ends(*state, "{\"event\": \"0123456789abcdef0123456789abcdef0123456789abcdef ");
}

static void *say_a_little_later(void *data)
{
    const struct fixture *fixture = data;

    for (const char *next = fixture->text; *next; next += strcspn(next, "\n") + 1) {
        usleep(20 * 1000);
        (void)!write(fixture->monitor_fd, next, strcspn(next, "\n") + 1);
    }
    return NULL;
}

static int await_while(struct fixture *fixture, void *(*other)(void *), int count)
{
    pthread_t thread;
    int outcome;

    assert_int_equal(pthread_create(&thread, NULL, other, fixture), 0);
    outcome = fvm_qmp_await(&fixture->vm, count, &fixture->caller, &fixture->error);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return outcome;
}

static void as_many_answers_as_wanted_are_awaited(void **state)
{
    struct fixture *fixture = *state;

    fixture->text = GREETING ANSWER EVENT ANSWER EVENT ANSWER;
    assert_success(await_while(fixture, say_a_little_later, 3), &fixture->error);
    assert_success(fvm_qmp_await(&fixture->vm, 0, &fixture->caller, &fixture->error),
                   &fixture->error);
}

static void a_refusal_ends_the_wait(void **state)
{
    struct fixture *fixture = *state;

    fixture->text = ANSWER "{\"error\": {\"desc\": \"no\"}}\n" ANSWER ANSWER;
    assert_failure(await_while(fixture, say_a_little_later, 4), &fixture->error,
                   FLASHVM_GUEST_FAILED, "QEMU's monitor refuses: no");
}

static void *end_the_process(void *data)
{
    struct fixture *fixture = data;

    usleep(20 * 1000);
    close(fixture->control_fd);
    fixture->control_fd = -1;
    return NULL;
}

static void *close_the_monitor(void *data)
{
    struct fixture *fixture = data;

    usleep(20 * 1000);
    close(fixture->monitor_fd);
    fixture->monitor_fd = -1;
    return NULL;
}

static void the_end_of_qemu_ends_the_wait(void **state)
{
    static void *(*const ends[])(void *) = {end_the_process, close_the_monitor};

    for (size_t i = 0; i < LENGTH(ends); i++) {
        struct fixture *fixture = *state;
        uint64_t begin = fvm_now_us();

        assert_failure(await_while(fixture, ends[i], 1), &fixture->error, FLASHVM_GUEST_FAILED,
                       "QEMU's monitor does not answer");
        assert_in_range(fvm_now_us() - begin, 0, 5 * 1000000);
        teardown(state);
        setup(state);
    }
}

static void last_words_count(void **state)
{
    struct fixture *fixture = *state;

    say(fixture, ANSWER ANSWER);
    close_the_monitor(fixture);
    assert_success(fvm_qmp_await(&fixture->vm, 2, &fixture->caller, &fixture->error),
                   &fixture->error);
}

static void a_caller_ends_the_wait(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int readable = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint64_t begin = fvm_now_us();

    fixture->caller.interrupt_fd = readable;
    assert_failure(fvm_qmp_await(&fixture->vm, 1, &fixture->caller, &fixture->error),
                   &fixture->error, FLASHVM_CANCELLED, "the call was cancelled");
    assert_in_range(fvm_now_us() - begin, 0, 5 * 1000000);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void a_command_takes_a_descriptor_along(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int memory = memfd_create("test", MFD_CLOEXEC);
    cleanup_close int received = -1;
    char text[100] = "", control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {.iov_base = text, .iov_len = sizeof text - 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};

    assert_int_equal(fvm_write_all(memory, "hello", 5), 0);
    assert_success(
        fvm_qmp_send(fixture->vm.monitor_fd, "{\"execute\":\"getfd\"}\n", memory, &fixture->error),
        &fixture->error);
    assert_true(recvmsg(fixture->monitor_fd, &message, MSG_CMSG_CLOEXEC) > 0);
    assert_string_equal(text, "{\"execute\":\"getfd\"}\n");
    assert_non_null(CMSG_FIRSTHDR(&message));
    memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
    assert_int_equal(pread(received, text, 5, 0), 5);
    assert_memory_equal(text, "hello", 5);
    assert_success(fvm_qmp_send(fixture->vm.monitor_fd, "{}\n", -1, &fixture->error),
                   &fixture->error);
    assert_int_equal(read(fixture->monitor_fd, text, sizeof text), 3);
}

static void a_command_to_nobody_is_an_error(void **state)
{
    struct fixture *fixture = *state;

    close_the_monitor(fixture);
    assert_failure(fvm_qmp_send(fixture->vm.monitor_fd, "{}\n", -1, &fixture->error),
                   &fixture->error, FLASHVM_IO, "cannot send to QEMU's monitor: Broken pipe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        qmp_test(answers_are_counted_and_nothing_else),
        qmp_test(an_answer_may_come_byte_by_byte),
        qmp_test(many_events_are_no_trouble),
        qmp_test(a_refusal_is_an_error_with_its_words),
        qmp_test(what_is_no_json_is_an_error),
        qmp_test(other_json_is_no_answer),
        qmp_test(deep_json_is_an_error),
        qmp_test(a_line_without_end_is_an_error),
        qmp_test(as_many_answers_as_wanted_are_awaited),
        qmp_test(a_refusal_ends_the_wait),
        qmp_test(the_end_of_qemu_ends_the_wait),
        qmp_test(last_words_count),
        qmp_test(a_caller_ends_the_wait),
        qmp_test(a_command_takes_a_descriptor_along),
        qmp_test(a_command_to_nobody_is_an_error),
    };

    return cmocka_run_group_tests_name("qmp", tests, NULL, NULL);
}
