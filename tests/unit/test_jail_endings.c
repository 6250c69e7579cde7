/* SPDX-License-Identifier: MIT */
/* A program in flashvm-jail ends with its jail and with its caller, however those end. */
#include "inmate.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"

#define FOR_EVER "echo up; exec sleep 60"

static void wait_until_up(const struct inmate *inmate)
{
    char line[3];

    assert_true(happens(inmate->vm.console_fd));
    assert_int_equal(read(inmate->vm.console_fd, line, 3), 3);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A directory with something in it. To be freed. */
static char *make_directory(void)
{
    char *path = fvm_format("%s/flashvm-unit-guarded-XXXXXX", getenv("TMPDIR") ?: "/tmp");
    cleanup_free char *inner = NULL;

    assert_non_null(mkdtemp(path));
    inner = fvm_format("%s/out", path);
    assert_int_equal(mkdir(inner, 0700), 0);
    return path;
}

/* Wait for the jail. It ended as it should. */
static void assert_jail_ends_well(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void destroying_ends_the_program_and_keeps_the_guarded_directory(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct inmate inmate;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, guarded);
    wait_until_up(&inmate);
    fvm_vm_destroy(&inmate.vm);
    assert_int_equal(inmate.vm.control_fd, -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it was waited for */
    inmate_assert_ended(&inmate);
    assert_true(exists(guarded));
    fvm_remove_tree(guarded);
    fvm_vm_destroy(&inmate.vm); /* once more is nothing */
}

static void a_q_ends_the_program(void **state)
{
    struct inmate inmate;
    pid_t jail;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, NULL);
    wait_until_up(&inmate);
    jail = inmate.vm.jail_pid;
    assert_int_equal(send(inmate.vm.control_fd, "q", 1, 0), 1);
    inmate_assert_ended(&inmate);
    assert_jail_ends_well(jail);
    fvm_vm_forget(&inmate.vm);
}

static void an_end_need_not_be_waited_for(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct inmate inmate;
    pid_t jail;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, guarded);
    wait_until_up(&inmate);
    jail = inmate.vm.jail_pid;
    assert_int_equal(fvm_vm_end(&inmate.vm), jail);
    assert_int_equal(inmate.vm.control_fd, -1);
    inmate_assert_ended(&inmate);
    assert_jail_ends_well(jail);
    assert_true(exists(guarded));
    fvm_remove_tree(guarded);
    assert_int_equal(fvm_vm_end(&inmate.vm), 0); /* there is none any more */
}

static void the_end_of_the_control_socket_ends_the_program_and_its_guarded_directory(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct inmate inmate;
    pid_t jail;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, guarded);
    wait_until_up(&inmate);
    jail = inmate.vm.jail_pid;
    fvm_vm_forget(&inmate.vm);
    assert_int_equal(inmate.vm.control_fd, -1);
    inmate_assert_ended(&inmate);
    assert_jail_ends_well(jail);
    assert_false(exists(guarded));
}

/* As of a VM that waited in a pool before it got a run. */
static void a_directory_may_be_guarded_later(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct flashvm_error error = {0};
    struct inmate inmate;
    pid_t jail;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, NULL);
    wait_until_up(&inmate);
    jail = inmate.vm.jail_pid;
    assert_success(fvm_vm_guard(&inmate.vm, guarded, &error), &error);
    fvm_vm_forget(&inmate.vm); /* right after it */
    inmate_assert_ended(&inmate);
    assert_jail_ends_well(jail);
    assert_false(exists(guarded));
}

static void nothing_is_guarded_by_a_jail_that_has_ended(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct flashvm_error error = {0};
    struct inmate inmate;
    char byte;

    (void)state;
    inmate_start_shell(&inmate, "exit 3", NULL);
    assert_true(happens(inmate.vm.control_fd));
    assert_int_equal(recv(inmate.vm.control_fd, &byte, 1, 0), 0);
    assert_success(fvm_vm_guard(&inmate.vm, guarded, &error), &error);
    assert_true(exists(guarded));
    inmate_finish(&inmate);
    fvm_remove_tree(guarded);
}

/* As in a child of Python's os.fork(). */
static void a_vm_that_is_forgotten_by_a_fork_lives_on(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct inmate inmate;
    pid_t child;

    (void)state;
    inmate_start_shell(&inmate, "echo up; read line <&4; echo $line", guarded);
    wait_until_up(&inmate);
    child = fork();
    if (child == 0) {
        fvm_vm_forget(&inmate.vm);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(send(inmate.vm.channel_fd, "alive\n", 6, 0), 6);
    {
        cleanup_free char *text = inmate_read_all(inmate.vm.console_fd);

        assert_string_equal(text, "alive\n");
    }
    assert_true(exists(guarded));
    inmate_finish(&inmate);
    fvm_remove_tree(guarded);
}

static void the_end_of_the_program_is_the_end_of_the_control_socket(void **state)
{
    cleanup_free char *guarded = make_directory();
    struct inmate inmate;
    char byte;

    (void)state;
    inmate_start_shell(&inmate, "exit 3", guarded);
    assert_true(happens(inmate.vm.control_fd));
    assert_int_equal(recv(inmate.vm.control_fd, &byte, 1, 0), 0);
    assert_true(exists(guarded));
    inmate_finish(&inmate);
    fvm_remove_tree(guarded);
}

static void without_its_jail_the_program_ends(void **state)
{
    struct inmate inmate;

    (void)state;
    inmate_start_shell(&inmate, FOR_EVER, NULL);
    wait_until_up(&inmate);
    assert_int_equal(kill(inmate.vm.jail_pid, SIGKILL), 0);
    inmate_finish(&inmate);
}

/*
 * The caller in a process of its own, of which a copy lives on with all its descriptors, as after
 * Python's os.fork(): the socket does not end with the caller.
 */
static pid_t start_caller(const char *guarded, bool leave_copy, pid_t *ret_jail, int *ret_copy)
{
    int up[2], copy[2];
    pid_t caller;
    char byte;

    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(copy, O_CLOEXEC), 0);
    caller = fork();
    if (caller == 0) {
        struct inmate own;

        alarm(60); /* whatever becomes of the test */
        inmate_start_shell(&own, FOR_EVER, guarded);
        wait_until_up(&own);
        if (leave_copy && fork() == 0) {
            close(copy[1]);
            _exit(read(copy[0], &byte, 1) != 0); /* until the test ends it */
        }
        fvm_write_all(up[1], &own.vm.jail_pid, sizeof own.vm.jail_pid);
        for (;;)
            pause();
    }
    close(up[1]);
    close(copy[0]);
    assert_int_equal(read(up[0], ret_jail, sizeof *ret_jail), sizeof *ret_jail);
    close(up[0]);
    *ret_copy = copy[1];
    return caller;
}

static void kill_caller(bool leave_copy)
{
    cleanup_free char *guarded = make_directory();
    pid_t caller, jail;
    int copy;

    /* Whoever loses its parent becomes ours, so that we can wait for it. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    caller = start_caller(guarded, leave_copy, &jail, &copy);
    assert_true(exists(guarded));
    assert_int_equal(kill(caller, SIGKILL), 0);
    assert_int_equal(waitpid(caller, NULL, 0), caller);
    assert_jail_ends_well(jail);
    assert_false(exists(guarded));
    close(copy);
    if (leave_copy)
        assert_true(waitpid(-1, NULL, 0) > 0);
    assert_int_equal(waitpid(-1, NULL, 0), -1); /* the program is gone as well */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void a_killed_caller_leaves_no_process_and_no_file(void **state)
{
    (void)state;
    kill_caller(false);
}

static void nor_does_it_when_a_copy_of_it_lives_on(void **state)
{
    (void)state;
    kill_caller(true);
}

/* As krunvm, and buildah's helpers: in a session of their own, and deaf to all that can be ignored. */
static void all_that_it_has_started_ends_with_it(void **state)
{
    struct fvm_vm_program program = {
        .argv = (const char *const[]){"/bin/sh", "-c",
                                      "setsid sh -c 'trap \"\" TERM HUP INT; echo up; sleep 600' &"
                                      " sleep 600",
                                      NULL},
        .keeps_rights = true,
        .environment = (const char *const[]){"PATH=/usr/bin:/bin", NULL},
    };
    struct inmate inmate;
    char byte;

    (void)state;
    if (!is_root())
        return; /* it needs namespaces */
    inmate_start(&inmate, program);
    assert_true(happens(inmate.vm.channel_fd));
    assert_int_equal(read(inmate.vm.channel_fd, &byte, 1), 1);
    close(inmate.alive_fd);
    inmate.alive_fd = fcntl(inmate.vm.channel_fd, F_DUPFD_CLOEXEC, 0);
    fvm_vm_destroy(&inmate.vm);
    while (read(inmate.alive_fd, &byte, 1) == 1) /* "p\n" */
        ;
    inmate_assert_ended(&inmate); /* no process holds the other end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(destroying_ends_the_program_and_keeps_the_guarded_directory),
        cmocka_unit_test(a_q_ends_the_program),
        cmocka_unit_test(an_end_need_not_be_waited_for),
        cmocka_unit_test(the_end_of_the_control_socket_ends_the_program_and_its_guarded_directory),
        cmocka_unit_test(a_directory_may_be_guarded_later),
        cmocka_unit_test(nothing_is_guarded_by_a_jail_that_has_ended),
        cmocka_unit_test(a_vm_that_is_forgotten_by_a_fork_lives_on),
        cmocka_unit_test(the_end_of_the_program_is_the_end_of_the_control_socket),
        cmocka_unit_test(without_its_jail_the_program_ends),
        cmocka_unit_test(a_killed_caller_leaves_no_process_and_no_file),
        cmocka_unit_test(nor_does_it_when_a_copy_of_it_lives_on),
        cmocka_unit_test(all_that_it_has_started_ends_with_it),
    };

    return cmocka_run_group_tests_name("jail_endings", tests, NULL, NULL);
}
