/* SPDX-License-Identifier: MIT */
/* Files on their way to the guest: all of them, in order, as they were when the run was checked. */
#include "scripted_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "api/files_in.h"
#include "base/cleanup.h"

enum { MIB = 1 << 20 };

struct fixture {
    struct talk *talk;
    struct fvm_files_in files;
    char *path;  /* of a file on the host; DIRECTORY/file */
    char *other; /* beside it; nothing is there */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    talk_setup((void **)&fixture->talk);
    fixture->path = fvm_format("%s/file", fixture->talk->tmpdir);
    fixture->other = fvm_format("%s/other", fixture->talk->tmpdir);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    talk_teardown((void **)&fixture->talk);
    fvm_files_in_finish(&fixture->files);
    free(fixture->path);
    free(fixture->other);
    free(fixture);
    return 0;
}

#define sent_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Bytes that repeat only after 251, so that a chunk in the wrong place shows. */
static char *pattern(size_t size)
{
    char *bytes = malloc(size + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i % 251);
    return bytes;
}

static void write_pattern(const char *path, size_t size)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cleanup_free char *bytes = pattern(size);

    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, bytes, size), 0);
}

static void give(struct fixture *fixture, const struct flashvm_file_in *entries, size_t count)
{
    struct fvm_run_spec *spec = &fixture->talk->spec;

    assert_success(
        fvm_files_in_collect(entries, count, 1000, 1 << 30, &fixture->files, &fixture->talk->error),
        &fixture->talk->error);
    spec->files_in = fixture->files.files;
    spec->file_in_count = fixture->files.count;
    spec->files_in_bytes = fixture->files.bytes;
}

static void give_file(struct fixture *fixture, size_t size)
{
    const struct flashvm_file_in entry = {"guest", .host_path = fixture->path};

    write_pattern(fixture->path, size);
    give(fixture, &entry, 1);
}

static void run_well(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

/* ---- what arrives ---------------------------------------------------------------------------- */

static void files_of_any_size_arrive_whole(void **state)
{
    static const size_t sizes[] = {
        0, 1, FVM_FRAME_MAX_PAYLOAD - 1, 65536, 65536 + 1, 4 * 65536 - 1, 65536 * 4, MIB + 7};
    struct fixture *fixture = *state;
    const struct guest *guest = &fixture->talk->guest;
    cleanup_free char *bytes = pattern(2 * MIB);
    struct flashvm_file_in entries[LENGTH(sizes)];
    char names[LENGTH(sizes)][2][40];

    for (size_t i = 0; i < LENGTH(sizes); i++) {
        snprintf(names[i][0], sizeof names[i][0], "%zu", i);
        entries[i] = (struct flashvm_file_in){names[i][0], NULL, bytes, sizes[i]};
        if (i % 2 == 0)
            continue; /* in memory */
        snprintf(names[i][1], sizeof names[i][1], "%s.%zu", fixture->path, i);
        write_pattern(names[i][1], sizes[i]);
        entries[i] = (struct flashvm_file_in){names[i][0], .host_path = names[i][1]};
    }
    give(fixture, entries, LENGTH(sizes));
    talk_result(fixture->talk, run_well);
    assert_int_equal(guest->file_count, 1 + LENGTH(sizes));
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        const struct guest_file *file = &guest->files[1 + i];

        assert_int_equal(strncmp(file->path, "in/", 3), 0);
        assert_string_equal(file->path + 3, names[i][0]);
        assert_int_equal(file->size, sizes[i]);
        assert_int_equal(file->data.size, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(file->data.data, bytes, sizes[i]) == 0);
    }
}

static void files_come_before_the_run_and_main_first(void **state)
{
    struct fixture *fixture = *state;
    const struct guest *guest = &fixture->talk->guest;
    const struct flashvm_file_in entries[] = {{"b/c", NULL, "3", 1}, {"a\n\xff", NULL, "1", 1}};

    give(fixture, entries, 2);
    talk_result(fixture->talk, run_well);
    assert_string_equal(guest->files[0].path, "main.py");
    assert_string_equal(guest->files[1].path, "in/a\n\xff");
    assert_string_equal(guest->files[2].path, "in/b/c");
    assert_int_equal(guest->file_count, 3);
    assert_true(guest->run && guest->stdin_ended);
}

static void a_program_arrives_as_one(void **state)
{
    struct fixture *fixture = *state;
    const struct guest *guest = &fixture->talk->guest;
    const struct flashvm_file_in entries[] = {{"a", NULL, "1", 1},
                                              {"b", .host_path = fixture->path}};

    write_pattern(fixture->path, 5);
    assert_int_equal(chmod(fixture->path, 0755), 0);
    give(fixture, entries, 2);
    talk_result(fixture->talk, run_well);
    assert_false(guest->files[0].executable); /* main.py */
    assert_false(guest->files[1].executable);
    assert_true(guest->files[2].executable);
}

/* ---- files that change ----------------------------------------------------------------------- */

/* No assertion: it may be the guest's thread that changes a file. */
static void must(bool done)
{
    if (!done)
        abort();
}

static void shrink(struct fixture *fixture)
{
    must(truncate(fixture->path, 10) == 0);
}

static void grow(struct fixture *fixture)
{
    must(truncate(fixture->path, 100 * MIB) == 0);
}

static void touch(struct fixture *fixture)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};

    must(utimensat(AT_FDCWD, fixture->path, times, 0) == 0);
}

static void replace(struct fixture *fixture)
{
    struct timespec times[2];
    struct stat status;

    must(stat(fixture->path, &status) == 0);
    write_pattern(fixture->other, (size_t)status.st_size);
    times[0] = times[1] = status.st_mtim;
    must(utimensat(AT_FDCWD, fixture->other, times, 0) == 0);
    must(rename(fixture->other, fixture->path) == 0);
}

static void put_a_link(struct fixture *fixture)
{
    replace(fixture);
    must(rename(fixture->path, fixture->other) == 0);
    must(symlink(fixture->other, fixture->path) == 0);
}

static void put_a_fifo(struct fixture *fixture)
{
    must(unlink(fixture->path) == 0);
    must(mkfifo(fixture->path, 0644) == 0);
}

static void put_a_directory(struct fixture *fixture)
{
    must(unlink(fixture->path) == 0);
    must(mkdir(fixture->path, 0755) == 0);
}

static void assert_changed(struct fixture *fixture, void (*script)(struct guest *guest))
{
    cleanup_free char *says =
        fvm_format("files_in: %s changed while the run was made ready", fixture->path);

    assert_failure(talk_run(fixture->talk, script), &fixture->talk->error, FLASHVM_IO, says);
    assert_in_range(fixture->talk->elapsed_us, 0, 10 * 1000000);
}

/* Between the check and the guest lies the boot of the VM. */
#define CHANGED_BEFORE(change)                                                                     \
    static void change##_before_it_is_sent(void **state)                                           \
    {                                                                                              \
        struct fixture *fixture = *state;                                                          \
                                                                                                   \
        give_file(fixture, 4 * MIB);                                                               \
        change(fixture);                                                                           \
        assert_changed(fixture, guest_wait_for_the_end);                                           \
    }
CHANGED_BEFORE(shrink)
CHANGED_BEFORE(grow)
CHANGED_BEFORE(touch)
CHANGED_BEFORE(replace)
CHANGED_BEFORE(put_a_link)
CHANGED_BEFORE(put_a_fifo)
CHANGED_BEFORE(put_a_directory)

static void a_file_that_vanished_is_named(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *says = fvm_format("files_in: cannot read %s: No such file", fixture->path);

    give_file(fixture, 5);
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(talk_run(fixture->talk, guest_wait_for_the_end), -1);
    assert_int_equal(fixture->talk->error.os_errno, ENOENT);
    assert_failure(-1, &fixture->talk->error, FLASHVM_NOT_FOUND, says);
}

/* The first is main.py. Return: false when the host is gone. */
static bool guest_receive_second_file(struct guest *guest)
{
    for (int i = 0; i < 2; i++)
        if (!guest_receive(guest, FVM_FRAME_FILE))
            return false;
    return true;
}

/* The guest's thread changes it when it has got its beginning; most of it is not read by then. */
static struct fixture *changing;
static void (*change_it)(struct fixture *fixture);

static void change_in_the_middle(struct guest *guest)
{
    if (guest_receive_second_file(guest) && guest_receive(guest, FVM_FRAME_FILE_DATA))
        change_it(changing);
    run_well(guest);
}

static void give_file_that_changes(struct fixture *fixture, void (*change)(struct fixture *fixture))
{
    give_file(fixture, 8 * MIB);
    changing = fixture;
    change_it = change;
}

#define CHANGED_WHILE(change)                                                                      \
    static void change##_while_it_is_sent(void **state)                                            \
    {                                                                                              \
        give_file_that_changes(*state, change);                                                    \
        assert_changed(*state, change_in_the_middle);                                              \
    }
CHANGED_WHILE(shrink)
CHANGED_WHILE(grow)
CHANGED_WHILE(touch)

/* It is open: what takes its name is another file. */
static void a_file_whose_name_goes_while_it_is_sent_arrives_whole(void **state)
{
    struct fixture *fixture = *state;

    give_file_that_changes(fixture, put_a_fifo);
    talk_result(fixture->talk, change_in_the_middle);
    assert_int_equal(fixture->talk->guest.file_count, 2);
    assert_int_equal(fixture->talk->guest.files[1].data.size, 8 * MIB);
}

/* ---- guests that take nothing ---------------------------------------------------------------- */

static size_t resident_bytes(void)
{
    size_t total = 0, resident = 0;
    cleanup_file FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    return resident * 4096;
}

static void take_nothing(struct guest *guest)
{
    char byte;

    (void)!read(guest->control_fd, &byte, 1); /* until the host closes its end */
}

static void a_guest_that_takes_no_files_costs_no_memory(void **state)
{
    struct fixture *fixture = *state;
    const struct flashvm_file_in entry = {"guest", .host_path = fixture->path};
    size_t before;

    write_pattern(fixture->path, 0);
    assert_int_equal(truncate(fixture->path, 1 << 30), 0);
    give(fixture, &entry, 1);
    fixture->talk->spec.files_in_bytes = 0; /* or it had a second for each megabyte */
    fixture->talk->spec.start_timeout_ms = 300;
    before = resident_bytes();
    assert_failure(talk_run(fixture->talk, take_nothing), &fixture->talk->error,
                   FLASHVM_GUEST_FAILED, "did not begin the snippet within 0.3 seconds");
    assert_in_range(resident_bytes(), 0, before + 8 * MIB);
}

static void many_megabytes_get_the_time_they_need(void **state)
{
    struct fixture *fixture = *state;

    fixture->talk->spec.start_timeout_ms = 10;
    fixture->talk->spec.files_in_bytes = 2 * MIB + 1;
    assert_failure(talk_run(fixture->talk, take_nothing), &fixture->talk->error,
                   FLASHVM_GUEST_FAILED, "did not begin the snippet within 2.01 seconds");
}

static void fail_for_want_of_room(struct guest *guest)
{
    if (guest_receive_second_file(guest))
        guest_say(guest, FVM_FRAME_REFUSED, "files_in do not fit");
    guest_die(guest);
}

static void a_guest_that_has_no_room_is_heard(void **state)
{
    struct fixture *fixture = *state;

    give_file(fixture, 8 * MIB);
    assert_failure(talk_run(fixture->talk, fail_for_want_of_room), &fixture->talk->error,
                   FLASHVM_INVALID_ARGUMENT, "files_in do not fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sent_test(files_of_any_size_arrive_whole),
        sent_test(files_come_before_the_run_and_main_first),
        sent_test(a_program_arrives_as_one),
        sent_test(shrink_before_it_is_sent),
        sent_test(grow_before_it_is_sent),
        sent_test(touch_before_it_is_sent),
        sent_test(replace_before_it_is_sent),
        sent_test(put_a_link_before_it_is_sent),
        sent_test(put_a_fifo_before_it_is_sent),
        sent_test(put_a_directory_before_it_is_sent),
        sent_test(a_file_that_vanished_is_named),
        sent_test(shrink_while_it_is_sent),
        sent_test(grow_while_it_is_sent),
        sent_test(touch_while_it_is_sent),
        sent_test(a_file_whose_name_goes_while_it_is_sent_arrives_whole),
        sent_test(a_guest_that_takes_no_files_costs_no_memory),
        sent_test(many_megabytes_get_the_time_they_need),
        sent_test(a_guest_that_has_no_room_is_heard),
    };

    return cmocka_run_group_tests_name("files_sent", tests, NULL, NULL);
}
