/* SPDX-License-Identifier: MIT */
/* What the agent sends of a directory that a hostile snippet has left. */
#include "assertions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "artifacts.h"
#include "base/cleanup.h"
#include "base/clock.h"

struct fixture {
    char *tmpdir;
    int directory;
    struct request request;
    struct channel channel;
    struct fvm_buffer names; /* of the files that were sent, a line each, with size and content */
    size_t count;
    char *left_out;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    fixture->directory = open(fixture->tmpdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->channel.out_fd = memfd_create("channel", MFD_CLOEXEC);
    assert_true(fixture->directory >= 0 && fixture->channel.out_fd >= 0);
    fixture->request.max_artifacts = 1000;
    fixture->request.max_artifact_bytes = 1000000;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    close(fixture->directory);
    close(fixture->channel.out_fd);
    fvm_frame_decoder_finish(&fixture->channel.decoder);
    fvm_buffer_finish(&fixture->channel.outgoing);
    fvm_buffer_finish(&fixture->names);
    free(fixture->left_out);
    remove_own_tmpdir(fixture->tmpdir);
    free(fixture);
    return 0;
}

static void make_file(struct fixture *fixture, const char *path, const char *content)
{
    int fd = openat(fixture->directory, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, content, strlen(content)), 0);
    close(fd);
}

static void make_dir(struct fixture *fixture, const char *path)
{
    assert_int_equal(mkdirat(fixture->directory, path, 0700), 0);
}

/* Take the frames apart that a host would get. */
static void take_frames(struct fixture *fixture)
{
    struct fvm_frame frame;
    char chunk[4096];
    ssize_t size;
    int outcome = 0;

    channel_flush(&fixture->channel);
    assert_int_equal(lseek(fixture->channel.out_fd, 0, SEEK_SET), 0);
    while ((size = read(fixture->channel.out_fd, chunk, sizeof chunk)) > 0) {
        fvm_frame_decoder_feed(&fixture->channel.decoder, chunk, (size_t)size);
        while ((outcome = fvm_frame_decoder_next(&fixture->channel.decoder, &frame)) > 0) {
            char path[FVM_FILE_PATH_MAX + 1];
            uint64_t file_size;
            bool executable;

            if (frame.type == FVM_FRAME_FILE) {
                assert_int_equal(fvm_frame_parse_file(&frame, &file_size, &executable, path), 0);
                fvm_buffer_append(&fixture->names, path, strlen(path));
                fvm_buffer_append(&fixture->names, "=", 1);
            } else if (frame.type == FVM_FRAME_FILE_DATA) {
                fvm_buffer_append(&fixture->names, frame.payload, frame.size);
            } else {
                assert_int_equal(frame.type, FVM_FRAME_FILE_END);
                fvm_buffer_append(&fixture->names, "|", 1);
                fixture->count++;
            }
        }
        assert_int_equal(outcome, 0);
    }
}

static void collect(struct fixture *fixture, const char *glob, unsigned search_ms)
{
    const char *expect[] = {glob, NULL};

    fixture->request.expect = expect;
    artifacts_send(&fixture->channel, fixture->directory, &fixture->request, search_ms,
                   &fixture->left_out);
    take_frames(fixture);
}

static void assert_sent(const struct fixture *fixture, const char *names, const char *left_out)
{
    assert_string_equal(fixture->names.data ?: "", names);
    assert_string_equal(fixture->left_out ?: "", left_out);
}

static void files_come_in_the_order_of_their_paths(void **state)
{
    static const char *const paths[] = {"a/b", "a.b", "a-b", "a/a.c", "a/a/b", "a0", "b"};
    struct fixture *fixture = *state;

    make_dir(fixture, "a");
    make_dir(fixture, "a/a");
    for (size_t i = 0; i < LENGTH(paths); i++)
        make_file(fixture, paths[i], "");
    collect(fixture, "**", 10000);
    assert_sent(fixture, "a-b=|a.b=|a/a.c=|a/a/b=|a/b=|a0=|b=|", "");
}

static void any_name_is_sent_as_it_is(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture, "new\nline", "1");
    make_file(fixture, "\xff\xfe", "2");
    make_file(fixture, "-rf *; `x`", "3");
    collect(fixture, "*", 10000);
    assert_sent(fixture, "-rf *; `x`=3|new\nline=1|\xff\xfe=2|", "");
}

static void what_is_no_file_is_counted(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_file(fixture, "file", "x");
    assert_int_equal(symlinkat("/etc/passwd", fixture->directory, "link"), 0);
    assert_int_equal(symlinkat("/etc", fixture->directory, "tree"), 0);
    assert_int_equal(mkfifoat(fixture->directory, "pipe", 0600), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", fixture->tmpdir);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    collect(fixture, "**", 10000);
    assert_sent(fixture, "file=x|", "4 not regular files (symlinks, devices, pipes, sockets)");
}

static void nothing_is_looked_for_below_a_link(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(symlinkat("/etc", fixture->directory, "tree"), 0);
    collect(fixture, "tree/passwd", 10000);
    assert_sent(fixture, "", "");
}

static void limits_leave_out_and_count(void **state)
{
    struct fixture *fixture = *state;

    fixture->request.max_artifacts = 2;
    fixture->request.max_artifact_bytes = 5;
    make_file(fixture, "1", "abc");
    make_file(fixture, "2", "too long");
    make_file(fixture, "3", "de");
    make_file(fixture, "4", "");
    make_file(fixture, "5", "");
    collect(fixture, "*", 10000);
    assert_sent(fixture, "1=abc|3=de|",
                "2 over the limit of artifacts; 1 over the limit of artifact bytes");
}

/* By hand, step by step: no call takes a path of that length. */
static void make_deep_tree(const char *name, int depth)
{
    cleanup_close int fd = open(getenv("TMPDIR"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < depth; i++) {
        int child;

        assert_int_equal(mkdirat(fd, name, 0700), 0);
        child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(child >= 0);
        close(fd);
        fd = child;
    }
    close(openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void a_deep_tree_has_an_end(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture, "z", "");
    make_deep_tree("d", 1000);
    collect(fixture, "**", 10000);
    assert_sent(fixture, "z=|", "1 nested too deeply");
}

static void a_path_that_is_too_long_is_left_out(void **state)
{
    struct fixture *fixture = *state;
    char name[256];

    memset(name, 'n', 255);
    name[255] = '\0';
    make_deep_tree(name, 17);
    collect(fixture, "**", 10000);
    assert_sent(fixture, "", "1 nested too deeply");
}

static void many_files_are_counted(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 5000; i++) {
        char name[16];

        snprintf(name, sizeof name, "%d", i);
        make_file(fixture, name, "");
    }
    collect(fixture, "*", 60000);
    assert_int_equal(fixture->count, 1000);
    assert_string_equal(fixture->left_out, "4000 over the limit of artifacts");
    assert_int_equal(strncmp(fixture->names.data, "0=|1=|10=|100=|1000=|", 21), 0);
}

static void a_search_without_end_is_broken_off(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture, "file", "");
    collect(fixture, "*", 0);
    assert_sent(fixture, "", "and there may be more: the search took too long");
}

static void time_for_sending_is_no_time_for_searching(void **state)
{
    static const char *const any[] = {"*", NULL};
    struct fixture *fixture = *state;
    const unsigned search_ms = 20;
    uint64_t begin;

    make_file(fixture, "1", "");
    make_file(fixture, "2", "x");
    {
        cleanup_close int fd = openat(fixture->directory, "1", O_WRONLY | O_CLOEXEC);

        assert_int_equal(ftruncate(fd, 200 << 20), 0);
    }
    fixture->request.max_artifact_bytes = 1U << 30;
    fixture->request.expect = (const char **)any;
    begin = fvm_now_us();
    artifacts_send(&fixture->channel, fixture->directory, &fixture->request, search_ms,
                   &fixture->left_out);
    assert_true(fvm_now_us() - begin > search_ms * 1000);
    assert_null(fixture->left_out);
}

#define artifacts_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        artifacts_test(files_come_in_the_order_of_their_paths),
        artifacts_test(any_name_is_sent_as_it_is),
        artifacts_test(what_is_no_file_is_counted),
        artifacts_test(nothing_is_looked_for_below_a_link),
        artifacts_test(limits_leave_out_and_count),
        artifacts_test(a_deep_tree_has_an_end),
        artifacts_test(a_path_that_is_too_long_is_left_out),
        artifacts_test(many_files_are_counted),
        artifacts_test(a_search_without_end_is_broken_off),
        artifacts_test(time_for_sending_is_no_time_for_searching),
    };

    return cmocka_run_group_tests_name("artifacts", tests, NULL, NULL);
}
