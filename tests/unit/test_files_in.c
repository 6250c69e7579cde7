/* SPDX-License-Identifier: MIT */
/* From a caller's files_in to the files that are sent: every kind of entry, and what is refused. */
#include "assertions.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/files_in.h"
#include "base/cleanup.h"

enum { NOBODY = 65534 };

struct fixture {
    char *tmpdir; /* the working directory as well: host paths are relative to it */
    struct fvm_files_in files;
    struct flashvm_error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    assert_int_equal(chdir(fixture->tmpdir), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    fvm_files_in_finish(&fixture->files);
    flashvm_error_finish(&fixture->error);
    assert_int_equal(chdir("/"), 0);
    remove_own_tmpdir(fixture->tmpdir);
    free(fixture);
    return 0;
}

#define files_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void write_file(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, text, strlen(text)), 0);
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
}

static int collect_limited(struct fixture *fixture, const struct flashvm_file_in *given,
                           size_t count, uint32_t max_files, uint64_t max_bytes)
{
    fvm_files_in_finish(&fixture->files);
    return fvm_files_in_collect(given, count, max_files, max_bytes, &fixture->files,
                                &fixture->error);
}

static int collect(struct fixture *fixture, const struct flashvm_file_in *given, size_t count)
{
    return collect_limited(fixture, given, count, 1000, 1 << 20);
}

/* Entries: {"a", .host_path = "b"}, … */
#define ENTRIES(...)                                                                               \
    (const struct flashvm_file_in[]){__VA_ARGS__},                                                 \
        LENGTH(((const struct flashvm_file_in[]){__VA_ARGS__}))

#define assert_taken(fixture, ...)                                                                 \
    assert_success(collect(fixture, ENTRIES(__VA_ARGS__)), &(fixture)->error)
#define assert_refused(fixture, says, ...)                                                         \
    assert_failure(collect(fixture, ENTRIES(__VA_ARGS__)), &(fixture)->error,                      \
                   FLASHVM_INVALID_ARGUMENT, says)

static void assert_guest_path(const struct fixture *fixture, size_t index, const char *path)
{
    assert_true(index < fixture->files.count);
    assert_string_equal(fixture->files.files[index].guest_path, path);
}

/* ---- what is taken --------------------------------------------------------------------------- */

static void nothing_is_a_list_too(void **state)
{
    struct fixture *fixture = *state;

    assert_success(collect(fixture, NULL, 0), &fixture->error);
    assert_int_equal(fixture->files.count, 0);
}

static void content_stays_the_callers(void **state)
{
    struct fixture *fixture = *state;
    static const char data[] = "with \0 and \xff";

    assert_taken(fixture, {"b", NULL, data, sizeof data}, {"a", NULL, NULL, 0});
    assert_int_equal(fixture->files.count, 2);
    assert_guest_path(fixture, 0, "in/a");
    assert_null(fixture->files.files[0].host_path);
    assert_int_equal(fixture->files.files[0].size, 0);
    assert_guest_path(fixture, 1, "in/b");
    assert_ptr_equal(fixture->files.files[1].data, data);
    assert_int_equal(fixture->files.files[1].size, sizeof data);
    assert_int_equal(fixture->files.bytes, sizeof data);
}

static void a_file_of_the_host_is_looked_at_not_read(void **state)
{
    struct fixture *fixture = *state;

    write_file("host", "hello");
    write_file("empty", "");
    assert_taken(fixture, {"guest", .host_path = "host"}, {"none", .host_path = "empty"});
    assert_guest_path(fixture, 0, "in/guest");
    assert_string_equal(fixture->files.files[0].host_path, "host");
    assert_null(fixture->files.files[0].data);
    assert_int_equal(fixture->files.files[0].size, 5);
    assert_int_equal(fixture->files.files[1].size, 0);
    assert_int_equal(fixture->files.bytes, 5);
}

static void a_directory_gives_the_files_in_it(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    make_directory("tree/sub");
    make_directory("tree/sub/empty");
    write_file("tree/z", "z");
    write_file("tree/.hidden", "");
    write_file("tree/sub/file", "file");
    write_file("tree/sub!", "beside");
    assert_taken(fixture, {"to/here/", .host_path = "tree/"});
    assert_int_equal(fixture->files.count, 4);
    assert_guest_path(fixture, 0, "in/to/here/.hidden");
    assert_guest_path(fixture, 1, "in/to/here/sub/file"); /* '/' is the lowest character */
    assert_guest_path(fixture, 2, "in/to/here/sub!");
    assert_guest_path(fixture, 3, "in/to/here/z");
    assert_string_equal(fixture->files.files[1].host_path, "tree//sub/file");
    assert_int_equal(fixture->files.bytes, 11);
}

static void a_program_of_the_host_stays_one(void **state)
{
    static const struct {
        mode_t mode;
        bool executable;
    } cases[] = {{0644, false}, {0755, true}, {0700, true}, {0455, false}, {04644, false}};
    struct fixture *fixture = *state;

    make_directory("tree");
    write_file("tree/a", "#!/bin/sh\n");
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(chmod("tree/a", cases[i].mode), 0);
        assert_taken(fixture, {"t", .host_path = "tree"}, {"b", .host_path = "tree/a"});
        assert_int_equal(fixture->files.files[0].executable, cases[i].executable);
        assert_int_equal(fixture->files.files[1].executable, cases[i].executable);
    }
    assert_taken(fixture, {"a", NULL, "#!/bin/sh\n", 10});
    assert_false(fixture->files.files[0].executable);
}

static void any_name_is_only_a_name(void **state)
{
    struct fixture *fixture = *state;
    char longest[256];
    const char *const names[] = {"new\nline", "\"quoted' name", "\xff\xfe", "-rf", "*", " ",
                                 "...",       longest};

    memset(longest, 'n', 255);
    longest[255] = '\0';
    make_directory("tree");
    for (size_t i = 0; i < LENGTH(names); i++) {
        cleanup_free char *path = fvm_format("tree/%s", names[i]);
        cleanup_free char *expected = fvm_format("in/%s", names[i]);

        write_file(path, "x");
        assert_taken(fixture, {names[i], NULL, "x", 1});
        assert_guest_path(fixture, 0, expected);
    }
    assert_taken(fixture, {"tree", .host_path = "tree"});
    assert_int_equal(fixture->files.count, LENGTH(names));
}

static void guest_paths_have_one_form(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"a", "in/a"},
        {"./a", "in/a"},
        {"a//b/./c/", "in/a/b/c"},
        {"in/a", "in/in/a"},
        {"/work/in/a", "in/a"},
        {"/work/in//a", "in/a"},
        {"work/in/a", "in/work/in/a"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_taken(fixture, {cases[i][0], NULL, NULL, 0});
        assert_guest_path(fixture, 0, cases[i][1]);
    }
}

static void a_link_that_the_caller_names_is_followed(void **state)
{
    struct fixture *fixture = *state;

    write_file("file", "hello");
    make_directory("tree");
    write_file("tree/a", "a");
    assert_int_equal(symlink("file", "to-file"), 0);
    assert_int_equal(symlink("tree", "to-tree"), 0);
    assert_taken(fixture, {"f", .host_path = "to-file"}, {"t", .host_path = "to-tree"});
    assert_guest_path(fixture, 0, "in/f");
    assert_int_equal(fixture->files.files[0].size, 5);
    assert_guest_path(fixture, 1, "in/t/a");
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void a_guest_path_that_leads_elsewhere_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const paths[] = {
        "",      ".",       "/",  "..",       "../a",      "a/..",         "a/../b", "/etc/passwd",
        "/work", "/work/a", "//", "/work/in", "/work/in/", "/work/in/../a"};

    for (size_t i = 0; i < LENGTH(paths); i++) {
        cleanup_free char *says = fvm_format(
            "files_in has the guest path \"%s\"; it must be relative to /work/in", paths[i]);

        assert_refused(fixture, says, {paths[i], NULL, "x", 1});
    }
    assert_refused(fixture, "files_in has the guest path \"\"", {NULL, NULL, "x", 1});
}

static void a_guest_path_has_a_longest_form(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *path = strdup("");

    for (size_t i = 0; i < 1534; i++) {
        char *longer = fvm_format("a/%s", path);

        free(path);
        path = longer;
    }
    path[3067] = 'b'; /* instead of the last slash */
    assert_int_equal(strlen(path), 3068);
    assert_taken(fixture, {path, NULL, NULL, 0});
    make_directory("tree");
    write_file("tree/xx", "");
    assert_refused(fixture, "is too long", {path, .host_path = "tree"});
    free(path);
    path = calloc(1, 257);
    memset(path, 'a', 256);
    assert_refused(fixture, "of at most 3069 bytes and 255 in each name", {path, NULL, NULL, 0});
}

static void what_is_not_there_is_named(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(symlink("nowhere", "dangling"), 0);
    write_file("file", "");
    assert_int_equal(collect(fixture, ENTRIES({"a", .host_path = "missing"})), -1);
    assert_int_equal(fixture->error.os_errno, ENOENT);
    assert_failure(-1, &fixture->error, FLASHVM_NOT_FOUND,
                   "files_in: cannot read missing: No such file");
    assert_failure(collect(fixture, ENTRIES({"a", .host_path = "dangling"})), &fixture->error,
                   FLASHVM_NOT_FOUND, "files_in: cannot read dangling: No such file");
    assert_failure(collect(fixture, ENTRIES({"a", .host_path = "file/x"})), &fixture->error,
                   FLASHVM_IO, "files_in: cannot read file/x: Not a directory");
    assert_refused(fixture, "files_in has neither host_path nor data for \"a\"",
                   {"a", NULL, NULL, 1});
    assert_failure(collect(fixture, NULL, 1), &fixture->error, FLASHVM_INVALID_ARGUMENT,
                   "files_in is NULL");
}

static void an_entry_says_one_place_where_its_content_is(void **state)
{
    struct fixture *fixture = *state;

    write_file("file", "hello");
    assert_refused(fixture, "files_in has both host_path and data for \"a\"",
                   {"a", .host_path = "file", .data = "x", .data_size = 1});
    assert_refused(fixture, "files_in has both host_path and data for \"a\"",
                   {"a", .host_path = "file", .data = "", .data_size = 0});
    assert_refused(fixture, "files_in has an empty host_path for \"a\"", {"a", .host_path = ""});
}

static void what_may_not_be_read_is_named(void **state)
{
    struct fixture *fixture = *state;
    bool root = geteuid() == 0;
    int file, directory, inside;

    make_directory("closed");
    make_directory("open");
    write_file("file", "secret");
    write_file("open/inside", "secret");
    assert_int_equal(chmod("file", 0), 0);
    assert_int_equal(chmod("open/inside", 0), 0);
    assert_int_equal(chmod("closed", 0), 0);
    assert_int_equal(chmod(fixture->tmpdir, 0755), 0);
    assert_true(!root || seteuid(NOBODY) == 0);
    file = collect(fixture, ENTRIES({"a", .host_path = "file"}));
    assert_int_equal(fixture->error.os_errno, EACCES);
    assert_failure(file, &fixture->error, FLASHVM_IO, "files_in: cannot read file: Permission");
    directory = collect(fixture, ENTRIES({"a", .host_path = "closed"}));
    assert_failure(directory, &fixture->error, FLASHVM_IO, "cannot read closed: Permission");
    inside = collect(fixture, ENTRIES({"a", .host_path = "open"}));
    assert_failure(inside, &fixture->error, FLASHVM_IO, "cannot read open/inside: Permission");
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(chmod("closed", 0700), 0);
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
}

static void only_files_and_directories_are_taken(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    assert_int_equal(mkfifo("tree/fifo", 0644), 0);
    make_socket("socket");
    assert_int_equal(symlink("tree/fifo", "to-fifo"), 0);
    assert_refused(fixture, "tree/fifo is neither a regular file nor a directory",
                   {"a", .host_path = "tree/fifo"});
    assert_refused(fixture, "tree/fifo is neither", {"a", .host_path = "tree"});
    assert_refused(fixture, "to-fifo is neither", {"a", .host_path = "to-fifo"});
    assert_refused(fixture, "socket is neither", {"a", .host_path = "socket"});
    assert_refused(fixture, "/dev/null is neither", {"a", .host_path = "/dev/null"});
}

static void a_link_inside_of_a_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    make_directory("tree/sub");
    assert_int_equal(symlink("/etc/passwd", "tree/sub/link"), 0);
    assert_refused(fixture, "tree/sub/link is a symbolic link; of a directory only files",
                   {"a", .host_path = "tree"});
    assert_int_equal(unlink("tree/sub/link"), 0);
    assert_int_equal(symlink("..", "tree/sub/link"), 0); /* round and round */
    assert_refused(fixture, "tree/sub/link is a symbolic link", {"a", .host_path = "tree"});
}

static void directories_have_a_greatest_depth(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    assert_int_equal(chdir("tree"), 0);
    for (int depth = 1; depth < 128; depth++) {
        make_directory("d");
        assert_int_equal(chdir("d"), 0);
    }
    write_file("file", "deep");
    assert_int_equal(chdir(fixture->tmpdir), 0);
    assert_taken(fixture, {"a", .host_path = "tree"});
    assert_int_equal(fixture->files.count, 1);
    assert_int_equal(rename("tree", "d"), 0);
    make_directory("tree");
    assert_int_equal(rename("d", "tree/d"), 0);
    assert_refused(fixture, "lies more than 128 directories deep", {"a", .host_path = "tree"});
}

/* ---- conflicts ------------------------------------------------------------------------------- */

static void two_files_cannot_have_one_place(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    write_file("tree/a", "");
    assert_refused(fixture, "files_in has more than one file for /work/in/a", {"a", NULL, "1", 1},
                   {"b", NULL, "2", 1}, {"a", NULL, "1", 1});
    assert_refused(fixture, "more than one file for /work/in/a", {"a", NULL, "1", 1},
                   {"./a/", NULL, "2", 1});
    assert_refused(fixture, "more than one file for /work/in/t/a", {"t", .host_path = "tree"},
                   {"t/a", NULL, "2", 1});
    assert_refused(fixture, "a file for /work/in/a, and one below it: /work/in/a/b/c",
                   {"a!", NULL, "1", 1}, {"a/b/c", NULL, "2", 1}, {"a", NULL, "3", 1});
    assert_refused(fixture, "a file for /work/in/t/a, and one below it: /work/in/t/a/x",
                   {"t", .host_path = "tree"}, {"t/a/x", NULL, "2", 1});
}

static void names_that_only_begin_alike_are_no_conflict(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    write_file("tree/a", "");
    assert_taken(fixture, {"a", NULL, "", 0}, {"ab", NULL, "", 0}, {"a.b/c", NULL, "", 0},
                 {"a!", NULL, "", 0}, {"a\xff", NULL, "", 0}, {"t", .host_path = "tree"},
                 {"t/b", NULL, "", 0}, {"t/a.b", NULL, "", 0});
    assert_int_equal(fixture->files.count, 8);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void the_number_of_files_has_a_limit(void **state)
{
    struct fixture *fixture = *state;

    make_directory("tree");
    write_file("tree/a", "");
    write_file("tree/b", "");
    assert_success(
        collect_limited(fixture, ENTRIES({"t", .host_path = "tree"}, {"c", NULL, "", 0}), 3, 0),
        &fixture->error);
    assert_failure(
        collect_limited(fixture, ENTRIES({"t", .host_path = "tree"}, {"c", NULL, "", 0}), 2, 0),
        &fixture->error, FLASHVM_INVALID_ARGUMENT,
        "files_in has more than 2 files; max_files_in raises the limit");
    assert_failure(collect_limited(fixture, ENTRIES({"t", .host_path = "tree"}), 1, 0),
                   &fixture->error, FLASHVM_INVALID_ARGUMENT, "files_in has more than 1 files");
}

static void their_bytes_have_a_limit(void **state)
{
    struct fixture *fixture = *state;

    write_file("five", "hello");
    write_file("sparse", "");
    assert_int_equal(truncate("sparse", 1LL << 40), 0);
    assert_success(
        collect_limited(fixture, ENTRIES({"a", NULL, "abc", 3}, {"b", .host_path = "five"}), 9, 8),
        &fixture->error);
    assert_int_equal(fixture->files.bytes, 8);
    assert_failure(
        collect_limited(fixture, ENTRIES({"a", NULL, "abc", 3}, {"b", .host_path = "five"}), 9, 7),
        &fixture->error, FLASHVM_INVALID_ARGUMENT,
        "files_in has more than 7 bytes (with in/b); max_files_in_bytes raises the limit");
    assert_refused(fixture, "files_in has more than 1048576 bytes (with in/b)",
                   {"b", .host_path = "sparse"});
    /* No sum overflows. */
    assert_refused(fixture, "files_in has more than 1048576 bytes (with in/b)",
                   {"a", NULL, "abc", 3}, {"b", NULL, "", SIZE_MAX - 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        files_test(nothing_is_a_list_too),
        files_test(content_stays_the_callers),
        files_test(a_file_of_the_host_is_looked_at_not_read),
        files_test(a_directory_gives_the_files_in_it),
        files_test(a_program_of_the_host_stays_one),
        files_test(any_name_is_only_a_name),
        files_test(guest_paths_have_one_form),
        files_test(a_link_that_the_caller_names_is_followed),
        files_test(a_guest_path_that_leads_elsewhere_is_refused),
        files_test(a_guest_path_has_a_longest_form),
        files_test(what_is_not_there_is_named),
        files_test(an_entry_says_one_place_where_its_content_is),
        files_test(what_may_not_be_read_is_named),
        files_test(only_files_and_directories_are_taken),
        files_test(a_link_inside_of_a_directory_is_refused),
        files_test(directories_have_a_greatest_depth),
        files_test(two_files_cannot_have_one_place),
        files_test(names_that_only_begin_alike_are_no_conflict),
        files_test(the_number_of_files_has_a_limit),
        files_test(their_bytes_have_a_limit),
    };

    return cmocka_run_group_tests_name("files_in", tests, NULL, NULL);
}
