/* SPDX-License-Identifier: MIT */
/* A result's artifacts: files in a directory of its own, which goes when the result goes. */
#include "assertions.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "protocol/frame.h"
#include "run/result.h"

struct fixture {
    char *tmpdir;
    struct fvm_result *result;
    struct flashvm_error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    fixture->result = fvm_result_new();
    assert_non_null(fixture->result);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    fvm_result_free(fixture->result);
    flashvm_error_finish(&fixture->error);
    remove_own_tmpdir(fixture->tmpdir);
    free(fixture);
    return 0;
}

#define result_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void make_directory(struct fixture *fixture)
{
    assert_success(fvm_result_make_directory(fixture->result, &fixture->error), &fixture->error);
}

static void receive(struct fixture *fixture, const char *path, const char *text)
{
    struct fvm_result *result = fixture->result;
    size_t half = strlen(text) / 2;

    assert_success(fvm_result_artifact_begin(result, path, strlen(text), &fixture->error),
                   &fixture->error);
    assert_success(fvm_result_artifact_data(result, text, half, &fixture->error), &fixture->error);
    assert_success(
        fvm_result_artifact_data(result, text + half, strlen(text) - half, &fixture->error),
        &fixture->error);
    assert_success(fvm_result_artifact_end(result, &fixture->error), &fixture->error);
}

static void assert_file(const char *path, const char *text)
{
    cleanup_free char *data = NULL;
    struct flashvm_error error = {0};

    assert_success(fvm_read_file(path, 1 << 20, &data, NULL, &error), &error);
    assert_string_equal(data, text);
}

static size_t count_entries(const char *path)
{
    cleanup_dir DIR *directory = opendir(path);
    size_t count = 0;
    struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    return count;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void an_artifact_is_a_file_with_its_digest(void **state)
{
    struct fixture *fixture = *state;
    const struct flashvm_result *result = &fixture->result->public;
    struct stat status;

    make_directory(fixture);
    receive(fixture, "out/abc.txt", "abc");
    receive(fixture, "empty", "");
    fvm_result_complete(fixture->result);
    assert_int_equal(result->artifact_count, 2);
    assert_string_equal(result->artifacts[0].guest_path, "out/abc.txt");
    assert_int_equal(result->artifacts[0].size_bytes, 3);
    assert_string_equal(result->artifacts[0].sha256,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_file(result->artifacts[0].host_path, "abc");
    assert_string_equal(result->artifacts[1].sha256,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_file(result->artifacts[1].host_path, "");
    assert_int_equal(fixture->result->artifact_bytes, 3);
    assert_int_equal(stat(result->artifacts[0].host_path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void many_artifacts_keep_their_order(void **state)
{
    struct fixture *fixture = *state;
    const struct flashvm_result *result = &fixture->result->public;

    make_directory(fixture);
    for (int i = 0; i < 100; i++) {
        cleanup_free char *name = fvm_format("many/%02d", i);

        receive(fixture, name, name);
    }
    fvm_result_complete(fixture->result);
    assert_int_equal(result->artifact_count, 100);
    assert_string_equal(result->artifacts[0].guest_path, "many/00");
    assert_file(result->artifacts[99].host_path, "many/99");
}

static void the_directory_is_for_its_owner_only(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *prefix = fvm_format("%s/flashvm-%u-", fixture->tmpdir, geteuid());
    struct stat status;

    make_directory(fixture);
    assert_int_equal(strncmp(fixture->result->directory, prefix, strlen(prefix)), 0);
    assert_int_equal(stat(fixture->result->directory, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
}

static void odd_names_stay_inside_the_directory(void **state)
{
    static const char *const names[] = {"...", "..a/..b/c", "a\nb",           "\xff\xfe",
                                        "-rf", "~/x",       "a b/$HOME/`id`", "%s%n"};
    struct fixture *fixture = *state;

    make_directory(fixture);
    for (size_t i = 0; i < LENGTH(names); i++) {
        cleanup_free char *expected = fvm_format("%s/%s", fixture->result->directory, names[i]);

        receive(fixture, names[i], "x");
        assert_string_equal(fixture->result->artifacts[i].host_path, expected);
        assert_file(expected, "x");
    }
    assert_int_equal(count_entries(fixture->tmpdir), 1);
}

static void two_artifacts_cannot_be_at_one_place(void **state)
{
    static const char *const names[] = {"a", "a/b", "d", "d/e/f", "d/e"};
    struct fixture *fixture = *state;

    make_directory(fixture);
    receive(fixture, "a", "kept");
    receive(fixture, "d/e/f", "kept too");
    for (size_t i = 0; i < LENGTH(names); i++)
        assert_failure(fvm_result_artifact_begin(fixture->result, names[i], 1, &fixture->error),
                       &fixture->error, FLASHVM_GUEST_FAILED, "two artifacts that cannot both be");
    assert_int_equal(fixture->result->artifact_count, 2);
    assert_file(fixture->result->artifacts[0].host_path, "kept");
}

static void sizes_must_be_kept(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_result *result = fixture->result;
    struct flashvm_error *error = &fixture->error;

    make_directory(fixture);
    assert_failure(fvm_result_artifact_data(result, "x", 1, error), error, FLASHVM_GUEST_FAILED,
                   "sent more of an artifact than it said");
    assert_failure(fvm_result_artifact_end(result, error), error, FLASHVM_GUEST_FAILED,
                   "sent less of an artifact than it said");
    assert_success(fvm_result_artifact_begin(result, "a", 2, error), error);
    assert_failure(fvm_result_artifact_data(result, "abc", 3, error), error, FLASHVM_GUEST_FAILED,
                   "sent more of an artifact than it said");
    assert_success(fvm_result_artifact_data(result, "a", 1, error), error);
    assert_failure(fvm_result_artifact_end(result, error), error, FLASHVM_GUEST_FAILED,
                   "sent less of an artifact than it said");
    assert_failure(fvm_result_artifact_begin(result, "b", 2, error), error, FLASHVM_GUEST_FAILED,
                   "sent an artifact out of turn");
}

static void without_a_directory_no_artifact_is_taken(void **state)
{
    struct fixture *fixture = *state;

    assert_failure(fvm_result_artifact_begin(fixture->result, "a", 0, &fixture->error),
                   &fixture->error, FLASHVM_GUEST_FAILED, "sent an artifact out of turn");
}

static void an_abandoned_artifact_is_none(void **state)
{
    struct fixture *fixture = *state;

    make_directory(fixture);
    fvm_result_artifact_abandon(fixture->result); /* there is none */
    receive(fixture, "whole", "x");
    fvm_result_artifact_abandon(fixture->result); /* nor now */
    assert_success(fvm_result_artifact_begin(fixture->result, "half", 2, &fixture->error),
                   &fixture->error);
    fvm_result_artifact_abandon(fixture->result);
    fvm_result_complete(fixture->result);
    assert_int_equal(fixture->result->public.artifact_count, 1);
    assert_string_equal(fixture->result->public.artifacts[0].guest_path, "whole");
}

/* ---- the end of a result --------------------------------------------------------------------- */

static void free_result(struct fixture *fixture)
{
    fvm_result_free(fixture->result);
    fixture->result = NULL;
}

static void freeing_a_result_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;

    make_directory(fixture);
    receive(fixture, "a/b/c", "x");
    receive(fixture, "a/d", "x");
    assert_success(fvm_result_artifact_begin(fixture->result, "half", 2, &fixture->error),
                   &fixture->error);
    free_result(fixture);
    assert_int_equal(count_entries(fixture->tmpdir), 0);
}

static void the_longest_and_deepest_path_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    char longest[FVM_FILE_PATH_MAX + 1], deepest[FVM_FILE_PATH_MAX + 1];

    for (size_t i = 0; i < FVM_FILE_PATH_MAX; i++) {
        longest[i] = i % 256 == 255 ? '/' : 'p';
        deepest[i] = i % 2 ? '/' : 'd';
    }
    longest[FVM_FILE_PATH_MAX - 1] = '\0';
    deepest[FVM_FILE_PATH_MAX - 1] = '\0';
    make_directory(fixture);
    receive(fixture, longest, "x");
    receive(fixture, deepest, "y");
    assert_file(fixture->result->artifacts[0].host_path, "x");
    assert_file(fixture->result->artifacts[1].host_path, "y");
    free_result(fixture);
    assert_int_equal(count_entries(fixture->tmpdir), 0);
}

static void an_empty_result_can_be_freed(void **state)
{
    struct fixture *fixture = *state;

    fvm_result_complete(fixture->result);
    assert_string_equal(fixture->result->public.stdout_data, "");
    assert_string_equal(fixture->result->public.stderr_data, "");
    free_result(fixture);
    fvm_result_free(NULL);
}

/* ---- what dead processes left ---------------------------------------------------------------- */

/* A directory as another process of `user` made it, `age` seconds ago. To be freed. */
static char *make_old(struct fixture *fixture, const char *name, time_t age)
{
    char *path = fvm_format("%s/flashvm-%u-%s", fixture->tmpdir, geteuid(), name);
    cleanup_free char *file = fvm_format("%s/out", path);
    const struct timespec times[] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    return path;
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

static void the_directory_of_a_dead_process_is_removed(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *stale = make_old(fixture, "stale1", 3600);
    cleanup_free char *fresh = make_old(fixture, "fresh1", 5);

    make_directory(fixture);
    assert_false(exists(stale));
    assert_true(exists(fresh)); /* its process may be about to lock it */
}

/* A process that holds a result, and says when it does. Return: its id. */
static pid_t hold_a_result(struct fixture *fixture, char *ret_path, size_t size)
{
    int answer[2];
    pid_t child;

    assert_int_equal(pipe(answer), 0);
    child = fork();
    if (child == 0) {
        alarm(60); /* whatever becomes of the test */
        if (fvm_result_make_directory(fixture->result, NULL) == 0)
            fvm_write_all(answer[1], fixture->result->directory,
                          strlen(fixture->result->directory));
        close(answer[1]);
        for (;;)
            pause();
    }
    close(answer[1]);
    ret_path[read(answer[0], ret_path, size - 1)] = '\0';
    close(answer[0]);
    return child;
}

static void the_directory_of_a_live_process_stays(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_result *second;
    char path[1024] = "";
    pid_t child = hold_a_result(fixture, path, sizeof path);
    const struct timespec long_ago[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    assert_true(exists(path));
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    make_directory(fixture);
    assert_true(exists(path));

    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(exists(path));
    second = fvm_result_new();
    assert_success(fvm_result_make_directory(second, &fixture->error), &fixture->error);
    assert_false(exists(path));
    fvm_result_free(second);
}

static void what_is_not_ours_stays(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *link_path = fvm_format("%s/flashvm-%u-link", fixture->tmpdir, geteuid());
    cleanup_free char *other = fvm_format("%s/other-1", fixture->tmpdir);
    cleanup_free char *foreign = make_old(fixture, "foreign", 3600);
    const struct timespec long_ago[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, other, long_ago, 0), 0);
    assert_int_equal(symlink(other, link_path), 0);
    assert_int_equal(utimensat(AT_FDCWD, link_path, long_ago, AT_SYMLINK_NOFOLLOW), 0);
    if (is_root())
        assert_int_equal(chown(foreign, 65534, 65534), 0);
    make_directory(fixture);
    assert_true(exists(link_path) && exists(other));
    assert_int_equal(exists(foreign), geteuid() == 0); /* an ordinary user's own is just stale */
}

/* ---- where ----------------------------------------------------------------------------------- */

static void a_directory_that_cannot_be_made_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *missing = fvm_format("%s/missing", fixture->tmpdir);

    setenv("TMPDIR", missing, 1);
    assert_failure(fvm_result_make_directory(fixture->result, &fixture->error), &fixture->error,
                   FLASHVM_NOT_FOUND, "cannot make a directory for artifacts in");
}

static void a_temporary_directory_with_too_long_a_name_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    char name[1100];

    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    setenv("TMPDIR", name, 1);
    assert_failure(fvm_result_make_directory(fixture->result, &fixture->error), &fixture->error,
                   FLASHVM_IO, "which is too long; set TMPDIR to another");
}

static void a_relative_temporary_directory_is_not_used(void **state)
{
    struct fixture *fixture = *state;

    setenv("TMPDIR", "relative", 1);
    make_directory(fixture);
    assert_int_equal(strncmp(fixture->result->directory, "/tmp/flashvm-", 13), 0);
}

/* ---- what ended a run ------------------------------------------------------------------------ */

static void the_limit_that_ended_a_run_is_named(void **state)
{
    static const struct {
        bool timed_out, oom_killed;
        int term_signal;
        const char *limit;
    } cases[] = {
        {false, false, 0, NULL},
        {false, false, SIGKILL, NULL}, /* by its own hand */
        {true, false, SIGKILL, "timeout"},
        {true, false, 0, "timeout"},
        {false, true, SIGKILL, "memory"},
        {true, true, SIGKILL, "timeout"},
        {false, true, 0, NULL}, /* a process was killed, and the snippet lived on */
        {false, true, SIGTERM, NULL},
    };
    struct fixture *fixture = *state;
    struct flashvm_result *result = &fixture->result->public;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        result->timed_out = cases[i].timed_out;
        result->oom_killed = cases[i].oom_killed;
        result->term_signal = cases[i].term_signal;
        fvm_result_complete(fixture->result);
        if (cases[i].limit)
            assert_string_equal(result->ended_by_limit, cases[i].limit);
        else
            assert_null(result->ended_by_limit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        result_test(an_artifact_is_a_file_with_its_digest),
        result_test(many_artifacts_keep_their_order),
        result_test(the_directory_is_for_its_owner_only),
        result_test(odd_names_stay_inside_the_directory),
        result_test(two_artifacts_cannot_be_at_one_place),
        result_test(sizes_must_be_kept),
        result_test(without_a_directory_no_artifact_is_taken),
        result_test(an_abandoned_artifact_is_none),
        result_test(freeing_a_result_leaves_nothing),
        result_test(the_longest_and_deepest_path_leaves_nothing),
        result_test(an_empty_result_can_be_freed),
        result_test(the_directory_of_a_dead_process_is_removed),
        result_test(the_directory_of_a_live_process_stays),
        result_test(what_is_not_ours_stays),
        result_test(a_directory_that_cannot_be_made_is_an_error),
        result_test(a_temporary_directory_with_too_long_a_name_is_an_error),
        result_test(a_relative_temporary_directory_is_not_used),
        result_test(the_limit_that_ended_a_run_is_named),
    };

    return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
