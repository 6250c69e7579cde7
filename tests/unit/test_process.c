/* SPDX-License-Identifier: MIT */
/* A child process has an argv, the descriptors it is given, PATH, and nothing else of its parent.
 */
#include "assertions.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/process.h"

/* Every descriptor that this process may have left open without O_CLOEXEC, as careless callers do.
 */
static int inherited_fd(void)
{
    int fd = open("/dev/zero", O_RDONLY);

    assert_true(fd >= 0);
    return fd;
}

static void read_all(int fd, struct fvm_buffer *text)
{
    char chunk[1024];
    ssize_t count;

    while ((count = read(fd, chunk, sizeof chunk)) > 0)
        assert_int_equal(fvm_buffer_append(text, chunk, (size_t)count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(fvm_buffer_append(text, "", 0), 0);
}

/* A file with this text, to be told apart from others. */
static int file_with(const char *text)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Run a program; `fds` but for number 1, which is taken. Return: what it printed, to be freed. */
static char *output_of(const char *const *argv, int *fds, size_t fd_count)
{
    struct flashvm_error error = {0};
    struct fvm_buffer text = {0};
    int output[2];
    pid_t pid;

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    fds[1] = output[1];
    assert_success(fvm_process_start(argv, fds, fd_count, &pid, &error), &error);
    close(output[1]);
    read_all(output[0], &text);
    close(output[0]);
    assert_int_equal(fvm_process_wait(pid), 0);
    return text.data;
}

static char *shell(const char *command, int *fds, size_t fd_count)
{
    return output_of((const char *const[]){"/bin/sh", "-c", command, NULL}, fds, fd_count);
}

/* ---- what a child has ------------------------------------------------------------------------ */

static void a_child_has_its_arguments(void **state)
{
    int fds[] = {-1, -1, -1};
    cleanup_free char *text = output_of(
        (const char *const[]){"/usr/bin/printf", "%s|", "a b", "", "$HOME", "*", NULL}, fds, 3);

    (void)state;
    assert_string_equal(text, "a b||$HOME|*|");
}

static void a_childs_environment_is_path_only(void **state)
{
    int fds[] = {-1, -1, -1};
    cleanup_free char *text = NULL;

    (void)state;
    setenv("LD_PRELOAD_NOT", "x", 1);
    text = output_of((const char *const[]){"/usr/bin/env", NULL}, fds, 3);
    assert_string_equal(text,
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
}

static void a_child_has_only_the_descriptors_it_is_given(void **state)
{
    int low = inherited_fd(), high = fcntl(low, F_DUPFD, 200);
    int fds[] = {-1, -1, -1, low};
    cleanup_free char *text = NULL;

    (void)state;
    assert_in_range(low, 3, 50);
    /* The shell's own: it opens the directory as the next free one. */
    text = shell("cd /proc/$$/fd && echo *", fds, 4);
    if (strcmp(text, "0 1 2 3\n") != 0 && strcmp(text, "0 1 2 3 4\n") != 0)
        fail_msg("the child has the descriptors %s", text);
    close(low);
    close(high);
}

static void a_descriptor_that_is_not_given_is_dev_null(void **state)
{
    int fds[] = {-1, -1, -1, -1};
    cleanup_free char *text =
        shell("readlink /proc/$$/fd/0 /proc/$$/fd/2 /proc/$$/fd/3; echo x >&3 && cat <&3", fds, 4);

    (void)state;
    assert_string_equal(text, "/dev/null\n/dev/null\n/dev/null\n");
}

/* Sources whose own numbers are each other's targets: 3 and 4 exchanged, and one given twice. */
static void descriptors_arrive_at_their_numbers_whatever_their_own(void **state)
{
    int three = file_with("three"), four = file_with("four"), kept3 = dup(3), kept4 = dup(4);
    int source3 = fcntl(three, F_DUPFD, 30), source4 = fcntl(four, F_DUPFD, 30);
    int fds[6] = {-1, -1, -1, 4, 3, 3};
    cleanup_free char *text = NULL;

    (void)state;
    assert_int_equal(dup2(source3, 3), 3); /* the test's own numbers 3 and 4 */
    assert_int_equal(dup2(source4, 4), 4);
    text =
        shell("cat /proc/self/fd/3; echo; cat /proc/self/fd/4; echo; cat /proc/self/fd/5", fds, 6);
    assert_string_equal(text, "four\nthree\nthree");
    if (kept3 >= 0)
        dup2(kept3, 3);
    if (kept4 >= 0)
        dup2(kept4, 4);
    for (size_t i = 0; i < 6; i++)
        close((int[]){three, four, kept3, kept4, source3, source4}[i]);
}

/* The copy that is made on the way to number 9 must not lie at 3 to 8, which are opened before. */
static void a_descriptor_survives_the_ones_before_it(void **state)
{
    int low = file_with("nine"), source = fcntl(low, F_DUPFD_CLOEXEC, 30);
    int fds[] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, source};
    cleanup_free char *text = NULL;

    (void)state;
    close(low);
    text = shell("cat /proc/self/fd/9", fds, 10);
    assert_string_equal(text, "nine");
    close(source);
}

static void sixteen_descriptors_can_be_given_and_no_more(void **state)
{
    struct flashvm_error error = {0};
    int fds[17];
    cleanup_free char *text = NULL;
    pid_t pid;

    (void)state;
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = -1;
    text = shell("readlink /proc/$$/fd/15", fds, 16);
    assert_string_equal(text, "/dev/null\n");
    assert_failure(
        fvm_process_start((const char *const[]){"/bin/true", NULL}, fds, 17, &pid, &error), &error,
        FLASHVM_INTERNAL, "too many descriptors for /bin/true");
}

static void a_closed_descriptor_is_an_error_and_leaks_none(void **state)
{
    struct flashvm_error error = {0};
    int before = inherited_fd(), after;
    int fds[] = {before, before, 1000};
    pid_t pid;

    (void)state;
    assert_failure(
        fvm_process_start((const char *const[]){"/bin/true", NULL}, fds, 3, &pid, &error), &error,
        FLASHVM_IO, "cannot hand descriptors to /bin/true: Bad file descriptor");
    after = fcntl(before, F_DUPFD, 16);
    assert_int_equal(after, 16);
    close(after);
    close(before);
}

/* Return: the value of a mask in the child's /proc/PID/status. */
static unsigned long long mask(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    assert_non_null(line);
    return strtoull(line + strlen(name), NULL, 16);
}

static void a_childs_signals_are_at_their_defaults(void **state)
{
    int fds[] = {-1, -1, -1};
    cleanup_free char *text = NULL;
    sigset_t some, before;

    (void)state;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGINT);
    assert_int_equal(sigprocmask(SIG_BLOCK, &some, &before), 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    text = output_of((const char *const[]){"/bin/cat", "/proc/self/status", NULL}, fds, 3);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    assert_true(mask(text, "SigBlk:") == 0);
    /* But 32 and 33, which are the C library's own: whoever started this test had them ignored. */
    assert_true((mask(text, "SigIgn:") & ~0x180000000) == 0);
}

static void a_child_is_in_a_process_group_of_its_own(void **state)
{
    struct flashvm_error error = {0};
    pid_t pid;

    (void)state;
    assert_success(fvm_process_start((const char *const[]){"/bin/sleep", "60", NULL},
                                     (const int[]){-1, -1, -1}, 3, &pid, &error),
                   &error);
    assert_int_equal(getpgid(pid), pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(WTERMSIG(fvm_process_wait(pid)), SIGKILL);
}

static void on_interrupt(int signal_number)
{
    (void)signal_number;
}

/* A caller in a process group of its own. Return: how many of its children did not end well. */
static int start_many(void)
{
    struct flashvm_error error = {0};
    int failures = 0;

    signal(SIGINT, on_interrupt);
    setpgid(0, 0);
    for (int i = 0; i < 100; i++) {
        pid_t pid = -1;

        if (fvm_process_start((const char *const[]){"/bin/true", NULL}, (const int[]){-1, -1, -1},
                              3, &pid, &error) < 0 ||
            fvm_process_wait(pid) != 0)
            failures++;
    }
    return failures;
}

static void ctrl_c_while_a_child_begins_does_not_end_it(void **state)
{
    pid_t caller = fork();
    int status;

    (void)state;
    assert_true(caller >= 0);
    if (caller == 0)
        _exit(start_many());
    while (waitpid(caller, &status, WNOHANG) == 0)
        kill(-caller, SIGINT);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static void a_missing_program_is_an_error(void **state)
{
    struct flashvm_error error = {0};
    pid_t pid = 12345;

    (void)state;
    assert_failure(fvm_process_start((const char *const[]){"/nonexistent/program", NULL},
                                     (const int[]){-1}, 1, &pid, &error),
                   &error, FLASHVM_NOT_FOUND, "cannot start /nonexistent/program: No such file");
    assert_failure(fvm_process_start((const char *const[]){"/etc/passwd", NULL}, (const int[]){-1},
                                     1, &pid, &error),
                   &error, FLASHVM_IO, "cannot start /etc/passwd: Permission denied");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static pid_t start_exit_7(void)
{
    struct flashvm_error error = {0};
    pid_t pid;

    assert_success(fvm_process_start((const char *const[]){"/bin/sh", "-c", "exit 7", NULL},
                                     (const int[]){-1, -1, -1}, 3, &pid, &error),
                   &error);
    return pid;
}

static void the_wait_status_is_known(void **state)
{
    int status = fvm_process_wait(start_exit_7());

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void a_caller_may_ignore_sigchld(void **state)
{
    pid_t pid;

    (void)state;
    signal(SIGCHLD, SIG_IGN);
    pid = start_exit_7();
    assert_int_equal(fvm_process_wait(pid), -1); /* unknown, but it has ended */
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++)
        usleep(1000); /* the kernel wakes us a moment before its number is free */
    assert_int_equal(kill(pid, 0), -1);
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_has_its_arguments),
        cmocka_unit_test(a_childs_environment_is_path_only),
        cmocka_unit_test(a_child_has_only_the_descriptors_it_is_given),
        cmocka_unit_test(a_descriptor_that_is_not_given_is_dev_null),
        cmocka_unit_test(descriptors_arrive_at_their_numbers_whatever_their_own),
        cmocka_unit_test(a_descriptor_survives_the_ones_before_it),
        cmocka_unit_test(sixteen_descriptors_can_be_given_and_no_more),
        cmocka_unit_test(a_closed_descriptor_is_an_error_and_leaks_none),
        cmocka_unit_test(a_childs_signals_are_at_their_defaults),
        cmocka_unit_test(a_child_is_in_a_process_group_of_its_own),
        cmocka_unit_test(ctrl_c_while_a_child_begins_does_not_end_it),
        cmocka_unit_test(a_missing_program_is_an_error),
        cmocka_unit_test(the_wait_status_is_known),
        cmocka_unit_test(a_caller_may_ignore_sigchld),
    };

    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
