/* SPDX-License-Identifier: MIT */
/* Programs of the host that work for us: what they say, how they end, and what they may know. */
#include "assertions.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/tool.h"

static const char *const no_environment[] = {NULL};

static struct fvm_tool_call shell(const char *const argv[4])
{
    return (struct fvm_tool_call){
        .argv = argv,
        .environment = no_environment,
        .timeout_ms = 20000,
        .lock_fd = -1,
    };
}
#define SHELL(script) shell((const char *const[4]){"/bin/sh", "-c", script, NULL})

static bool give_up(void *data)
{
    (void)data;
    return true;
}

static bool exists(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0;
}

static void its_output_is_the_answer(void **state)
{
    const struct fvm_tool_call call = SHELL("echo one; echo two >&2");
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    cleanup_free char *output = NULL;

    (void)state;
    assert_success(fvm_tool_run(&call, &nobody, &output, &error), &error);
    assert_string_equal(output, "one\n");
}

static void an_answer_of_nothing_is_an_empty_string(void **state)
{
    const struct fvm_tool_call call = SHELL(":");
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    cleanup_free char *output = NULL;

    (void)state;
    assert_success(fvm_tool_run(&call, &nobody, &output, &error), &error);
    assert_string_equal(output, "");
}

static void a_failure_has_its_last_words(void **state)
{
    const struct fvm_tool_call said = SHELL("echo noise; echo 'the reason' >&2; exit 3");
    const struct fvm_tool_call printed = SHELL("echo 'the reason, on stdout'; exit 255");
    const struct fvm_tool_call killed = SHELL("kill -9 $$");
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};

    (void)state;
    assert_failure(fvm_tool_run(&said, &nobody, NULL, &error), &error, FLASHVM_IO,
                   "/bin/sh failed with exit code 3: the reason");
    assert_failure(fvm_tool_run(&printed, &nobody, NULL, &error), &error, FLASHVM_IO,
                   "exit code 255: the reason, on stdout");
    assert_failure(fvm_tool_run(&killed, &nobody, NULL, &error), &error, FLASHVM_IO,
                   "/bin/sh failed with signal 9");
}

static void endless_output_is_cut_and_read_on(void **state)
{
    const struct fvm_tool_call call = SHELL("head -c 3000000 /dev/zero | tr '\\0' x");
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    cleanup_free char *output = NULL;

    (void)state;
    assert_success(fvm_tool_run(&call, &nobody, &output, &error), &error);
    assert_int_equal(strlen(output), 1 << 20);
}

static void one_that_does_not_end_is_ended_with_its_children(void **state)
{
    char *directory = make_own_tmpdir();
    cleanup_free char *script =
        fvm_format("(sleep 1; touch %s/late) & echo working; sleep 600", directory);
    cleanup_free char *late = fvm_format("%s/late", directory);
    struct fvm_tool_call call = SHELL(script);
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    uint64_t begin = fvm_now_us();

    (void)state;
    call.timeout_ms = 300;
    assert_failure(fvm_tool_run(&call, &nobody, NULL, &error), &error, FLASHVM_IO,
                   "did not end within 0 seconds");
    assert_true(fvm_now_us() - begin < 5000000);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
    assert_false(exists(late));
    remove_own_tmpdir(directory);
}

static void a_daemon_that_it_leaves_is_not_waited_for(void **state)
{
    const struct fvm_tool_call call = SHELL("sleep 10 & echo done");
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    cleanup_free char *output = NULL;
    uint64_t begin = fvm_now_us();

    (void)state;
    assert_success(fvm_tool_run(&call, &nobody, &output, &error), &error);
    assert_string_equal(output, "done\n");
    assert_true(fvm_now_us() - begin < 5000000);
}

static void a_caller_who_gives_up_ends_it(void **state)
{
    const struct fvm_tool_call call = SHELL("sleep 600");
    struct fvm_caller caller = {.interrupt_fd = -1, .interrupted = give_up};
    cleanup_error struct flashvm_error error = {0};
    uint64_t begin = fvm_now_us();

    (void)state;
    assert_failure(fvm_tool_run(&call, &caller, NULL, &error), &error, FLASHVM_CANCELLED,
                   "cancelled");
    assert_true(fvm_now_us() - begin < 5000000);
}

static void what_must_finish_does_so_before_the_caller_is_answered(void **state)
{
    char *directory = make_own_tmpdir();
    cleanup_free char *script = fvm_format("sleep 0.5; touch %s/whole", directory);
    cleanup_free char *whole = fvm_format("%s/whole", directory);
    struct fvm_tool_call call = SHELL(script);
    struct fvm_caller caller = {.interrupt_fd = -1, .interrupted = give_up};
    cleanup_error struct flashvm_error error = {0};

    (void)state;
    call.must_finish = true;
    assert_failure(fvm_tool_run(&call, &caller, NULL, &error), &error, FLASHVM_CANCELLED,
                   "cancelled");
    assert_true(exists(whole));
    remove_own_tmpdir(directory);
}

static void it_holds_the_lock_on_its_own(void **state)
{
    char *directory = make_own_tmpdir();
    cleanup_free char *path = fvm_format("%s/lock", directory);
    cleanup_close int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    /* Another open of the file is refused while the program lives, which holds ours. */
    cleanup_free char *script = fvm_format("flock -n %s true && exit 1; exit 0", path);
    struct fvm_tool_call call = SHELL(script);
    struct fvm_caller nobody = FVM_CALLER_NONE;
    cleanup_error struct flashvm_error error = {0};
    const char *const path_only[] = {"PATH=/usr/bin:/bin", NULL};

    (void)state;
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    call.lock_fd = lock;
    call.environment = path_only;
    assert_success(fvm_tool_run(&call, &nobody, NULL, &error), &error);
    remove_own_tmpdir(directory);
}

static bool contains(char **environment, const char *variable)
{
    for (; *environment; environment++)
        if (strcmp(*environment, variable) == 0)
            return true;
    return false;
}

static void it_learns_what_container_tools_need_and_no_secrets(void **state)
{
    const char *const overrides[] = {"XDG_CONFIG_HOME=/ours", "EXTRA=1", NULL};
    cleanup_free char **environment = NULL;

    (void)state;
    setenv("HOME", "/home/someone", 1);
    setenv("XDG_CONFIG_HOME", "/theirs", 1);
    setenv("STORAGE_DRIVER", "vfs", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    environment = fvm_tool_environment(overrides);
    assert_non_null(environment);
    assert_true(contains(environment, "HOME=/home/someone"));
    assert_true(contains(environment, "STORAGE_DRIVER=vfs"));
    assert_true(contains(environment, "XDG_CONFIG_HOME=/ours"));
    assert_true(contains(environment, "EXTRA=1"));
    assert_false(contains(environment, "XDG_CONFIG_HOME=/theirs"));
    assert_false(contains(environment, "AWS_SECRET_ACCESS_KEY=secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_output_is_the_answer),
        cmocka_unit_test(an_answer_of_nothing_is_an_empty_string),
        cmocka_unit_test(a_failure_has_its_last_words),
        cmocka_unit_test(endless_output_is_cut_and_read_on),
        cmocka_unit_test(one_that_does_not_end_is_ended_with_its_children),
        cmocka_unit_test(a_daemon_that_it_leaves_is_not_waited_for),
        cmocka_unit_test(a_caller_who_gives_up_ends_it),
        cmocka_unit_test(what_must_finish_does_so_before_the_caller_is_answered),
        cmocka_unit_test(it_holds_the_lock_on_its_own),
        cmocka_unit_test(it_learns_what_container_tools_need_and_no_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
