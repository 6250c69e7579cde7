/* SPDX-License-Identifier: MIT */
/* What the agent tells the host of a run, in which order, whatever the snippet does. */
#include "agent_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define RESULT_OF(exit_code, term_signal, timed_out)                                               \
    "RESULT {\"exit_code\":" exit_code ",\"term_signal\":" term_signal                             \
    ",\"started\":true,\"timed_out\":" timed_out                                                   \
    ",\"oom_killed\":false,\"reseeded\":true,\"execute_us\":"

static const char *const everything[] = {"**", NULL};

/* The text is all that was said, but that "…" stands for anything up to the end of its line. */
static void assert_said(const struct agent *agent, const char *text)
{
    const char *said = agent->said.data ?: "";

    while (*text || *said) {
        if (strncmp(text, "…", 3) == 0) {
            said += strcspn(said, "\n");
            text += 3;
        } else if (*text++ != *said++) {
            fail_msg("the agent said: %s", agent->said.data);
        }
    }
}

static void await_well(struct agent *agent)
{
    assert_null(interpreter_await(&agent->service.snippet.zygote));
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* As a module that an image's sitecustomize imports. */
static void write_early(int control_fd)
{
    stand_in_say(1, "out 1\n");
    stand_in_say(2, "err 1\n");
    stand_in_wait(control_fd);
    stand_in_take_run(control_fd);
    stand_in_say(1, "out 2\n");
    stand_in_say(2, "err 2\n");
    stand_in_start(control_fd);
}

static void output_of_an_interpreter_that_starts_comes_after_the_start(void **state)
{
    struct agent *agent = *state;

    agent_start(agent, write_early);
    await_well(agent);
    assert_string_equal(agent->service.snippet.zygote.early_out.data, "out 1\n");
    assert_string_equal(agent->service.snippet.zygote.early_err.data, "err 1\n");
    agent_run(agent, NULL);
    assert_said(agent, "STARTED \n"
                       "STDOUT out 1\n\n"
                       "STDERR err 1\n\n"
                       "STDOUT out 2\n\n"
                       "STDERR err 2\n\n" RESULT_OF("0", "0", "false") "…\n");
}

static void write_without_end(int control_fd)
{
    (void)control_fd;
    for (;;)
        stand_in_say(2, "and so on, and so on, and so on\n");
}

static void write_much(int control_fd)
{
    for (int i = 0; i < 1 << 15; i++)
        stand_in_say(1, "0123456789abcde\n");
    stand_in_wait(control_fd);
    pause();
}

static void output_of_an_interpreter_that_starts_has_a_limit(void **state)
{
    struct agent *agent = *state;

    agent_start(agent, write_without_end);
    assert_string_equal(interpreter_await(&agent->service.snippet.zygote),
                        "writes without end while it starts");
    agent_teardown(state);
    agent_setup(state);
    agent = *state;
    agent_start(agent, write_much);
    await_well(agent);
    assert_int_equal(agent->service.snippet.zygote.early_out.size, 16 << 15);
}

static void end_early(int control_fd)
{
    (void)control_fd;
    stand_in_say(2, "No module named 'encodings'\n");
}

static void say_that_it_cannot_start(int control_fd)
{
    stand_in_say(2, "cannot start /bin/python3\n");
    stand_in_say(control_fd, "X");
    pause();
}

static void close_output_and_wait(int control_fd)
{
    close(1);
    close(2);
    usleep(50 * 1000);
    stand_in_wait(control_fd);
    pause();
}

static void an_interpreter_is_awaited_whatever_it_does(void **state)
{
    struct agent *agent = *state;
    struct interpreter *zygote = &agent->service.snippet.zygote;

    agent_start(agent, end_early);
    assert_string_equal(interpreter_await(zygote), "ended before it was ready");
    assert_string_equal(zygote->early_err.data, "No module named 'encodings'\n");
    interpreter_close(zygote);
    agent_start(agent, say_that_it_cannot_start);
    assert_string_equal(interpreter_await(zygote), "cannot be started");
    assert_string_equal(zygote->early_err.data, "cannot start /bin/python3\n");
    kill(zygote->pid, SIGKILL);
    interpreter_close(zygote);
    agent_start(agent, close_output_and_wait);
    await_well(agent);
}

/* ---- while it lasts -------------------------------------------------------------------------- */

static void echo_input(int control_fd)
{
    char text[100];
    size_t size = 0;
    ssize_t count;

    stand_in_begin(control_fd);
    while ((count = read(0, text + size, sizeof text - size)) > 0)
        size += (size_t)count;
    fvm_write_all(1, text, size);
}

static void input_that_came_with_the_run_arrives(void **state)
{
    static const char *const input[] = {"one, ", "", "two", NULL};
    struct agent *agent = *state;

    agent_start(agent, echo_input);
    await_well(agent);
    agent_run(agent, input);
    assert_said(agent, "STARTED \nSTDOUT one, two\n" RESULT_OF("0", "0", "false") "…\n");
}

/* ---- endings --------------------------------------------------------------------------------- */

static void exit_with_7(int control_fd)
{
    stand_in_begin(control_fd);
    stand_in_say(2, "bye");
    _exit(7);
}

static void die_by_a_signal(int control_fd)
{
    stand_in_begin(control_fd);
    kill(getpid(), SIGTERM);
}

static void hang(int control_fd)
{
    stand_in_begin(control_fd);
    stand_in_say(1, "so far");
    pause();
}

static void the_end_is_told(void **state)
{
    static const struct {
        script *stand_in;
        uint64_t timeout_ms;
        const char *said;
    } cases[] = {
        {exit_with_7, 20000, "STARTED \nSTDERR bye\n" RESULT_OF("7", "0", "false") "…\n"},
        {die_by_a_signal, 20000, "STARTED \n" RESULT_OF("143", "15", "false") "…\n"},
        {hang, 100, "STARTED \nSTDOUT so far\n" RESULT_OF("124", "9", "true") "…\n"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct agent *agent = *state;

        agent->request.timeout_ms = cases[i].timeout_ms;
        agent_start(agent, cases[i].stand_in);
        await_well(agent);
        agent_run(agent, NULL);
        assert_said(agent, cases[i].said);
        assert_non_null(strstr(agent->said.data, "\"cpu_time_us\":1000,")); /* of the run alone */
        agent_teardown(state);
        agent_setup(state);
    }
}

static void a_run_without_new_randomness_is_told_as_such(void **state)
{
    struct agent *agent = *state;

    agent->service.reseeded = false;
    agent_start(agent, exit_with_7);
    await_well(agent);
    agent_run(agent, NULL);
    assert_non_null(strstr(agent->said.data, "\"reseeded\":false"));
}

static unsigned leaving_ms;

/* As leave.py says it: nothing is left but the end of the interpreter itself. */
static void leave_slowly(int control_fd)
{
    struct rlimit sign;

    stand_in_begin(control_fd);
    stand_in_say(1, "done");
    (void)getrlimit(RLIMIT_MSGQUEUE, &sign);
    sign.rlim_cur = 12345;
    (void)setrlimit(RLIMIT_MSGQUEUE, &sign);
    close(1);
    close(2);
    usleep(leaving_ms * 1000);
}

static void an_interpreter_that_leaves_is_not_waited_for(void **state)
{
    struct agent *agent = *state;
    uint64_t begin = fvm_now_us();

    leaving_ms = 20000;
    agent_start(agent, leave_slowly);
    await_well(agent);
    agent->service.snippet.zygote.leaving_sign = 12345;
    agent_run(agent, NULL);
    assert_said(agent, "STARTED \nSTDOUT done\n" RESULT_OF("0", "0", "false") "…\n");
    assert_in_range(fvm_now_us() - begin, 0, 15 * 1000000);
}

/* Without the sign it may still do anything. */
static void one_that_only_closes_its_output_is_waited_for(void **state)
{
    struct agent *agent = *state;
    uint64_t begin = fvm_now_us();

    leaving_ms = 300;
    agent_start(agent, leave_slowly);
    await_well(agent);
    agent->service.snippet.zygote.leaving_sign = 54321;
    agent_run(agent, NULL);
    assert_said(agent, "STARTED \nSTDOUT done\n" RESULT_OF("0", "0", "false") "…\n");
    assert_in_range(fvm_now_us() - begin, 300 * 1000, 20 * 1000000);
}

/* ---- artifacts ------------------------------------------------------------------------------- */

static void make_file(const struct agent *agent, const char *name, const char *text)
{
    cleanup_close int fd =
        openat(agent->service.work.directory, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

    assert_int_equal(fvm_write_all(fd, text, strlen(text)), 0);
}

static void files_come_after_the_result_and_then_the_end(void **state)
{
    struct agent *agent = *state;

    agent->request.expect = everything;
    make_file(agent, "a", "hello");
    agent_start(agent, exit_with_7);
    await_well(agent);
    agent_run(agent, NULL);
    assert_said(agent, "STARTED \nSTDERR bye\n" RESULT_OF(
                           "7", "0", "false") "…\n"
                                              "FILE a\nFILE_DATA hello\nFILE_END \nDONE \n");
}

static void the_end_says_what_was_left_out(void **state)
{
    struct agent *agent = *state;

    agent->request.expect = everything;
    make_file(agent, "a", "");
    make_file(agent, "b", "");
    make_file(agent, "c", "");
    agent_start(agent, exit_with_7);
    await_well(agent);
    agent_run(agent, NULL);
    assert_said(agent, "STARTED \nSTDERR bye\n" RESULT_OF(
                           "7", "0", "false") "…\n"
                                              "FILE a\nFILE_END \nFILE b\nFILE_END \n"
                                              "DONE 1 over the limit of artifacts\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        agent_test(output_of_an_interpreter_that_starts_comes_after_the_start),
        agent_test(output_of_an_interpreter_that_starts_has_a_limit),
        agent_test(an_interpreter_is_awaited_whatever_it_does),
        agent_test(input_that_came_with_the_run_arrives),
        agent_test(the_end_is_told),
        agent_test(a_run_without_new_randomness_is_told_as_such),
        agent_test(an_interpreter_that_leaves_is_not_waited_for),
        agent_test(one_that_only_closes_its_output_is_waited_for),
        agent_test(files_come_after_the_result_and_then_the_end),
        agent_test(the_end_says_what_was_left_out),
    };

    return cmocka_run_group_tests_name("agent_run", tests, NULL, NULL);
}
