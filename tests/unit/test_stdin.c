/* SPDX-License-Identifier: MIT */
/* The snippet's standard input on its way to the guest: whatever the caller's descriptor is. */
#include "scripted_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "base/cleanup.h"

enum { MIB = 1 << 20 };

/*
 * In the place of the C library's own, for the code under test. While `steals` is set the kernel is
 * an older one, which cannot promise to read without waiting, and another process is quicker than
 * we are: what poll() saw is gone.
 */
static volatile bool steals;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
ssize_t preadv2(int fd, const struct iovec *vectors, int count, off_t offset, int flags)
{
    char bytes[100];

    if (!steals)
        return syscall(SYS_preadv2, fd, vectors, count, offset, offset, flags);
    if (read(fd, bytes, sizeof bytes) > 0)
        steals = false;
    errno = EOPNOTSUPP;
    return -1;
}

/* ---- what arrives ---------------------------------------------------------------------------- */

static void run_well(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

/* Bytes that repeat only after 251, so that a chunk in the wrong place shows. */
static char *pattern(size_t size)
{
    char *bytes = malloc(size + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i % 251);
    return bytes;
}

static void assert_input(struct talk *talk, const char *bytes, size_t size)
{
    talk_result(talk, run_well);
    assert_true(talk->guest.stdin_ended);
    assert_int_equal(talk->guest.input.size, size);
    assert_true(size == 0 || memcmp(talk->guest.input.data, bytes, size) == 0);
}

/* A thread that writes to a descriptor as it is read from, then closes it. */
struct writer {
    pthread_t thread;
    int fd;
    char *bytes;
    size_t size;
};

static void *write_and_close(void *data)
{
    struct writer *writer = data;

    (void)!fvm_write_all(writer->fd, writer->bytes, writer->size);
    close(writer->fd);
    return NULL;
}

static void writer_start(struct writer *writer, int fd, size_t size)
{
    *writer = (struct writer){.fd = fd, .bytes = pattern(size), .size = size};
    assert_int_equal(pthread_create(&writer->thread, NULL, write_and_close, writer), 0);
}

static void writer_finish(struct writer *writer)
{
    assert_int_equal(pthread_join(writer->thread, NULL), 0);
    free(writer->bytes);
}

static void assert_stream_arrives(struct talk *talk, int reader, int writer_fd, size_t size)
{
    struct writer writer;

    writer_start(&writer, writer_fd, size);
    talk->spec.stdin_fd = reader;
    assert_input(talk, writer.bytes, size);
    writer_finish(&writer);
    assert_int_equal(close(reader), 0); /* it has stayed the caller's */
}

static void a_pipe_is_read_to_its_end(void **state)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_stream_arrives(*state, ends[0], ends[1], 3 * MIB + 5);
}

static void a_socket_is_read_to_its_end(void **state)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_stream_arrives(*state, ends[0], ends[1], 3 * MIB + 5);
}

static void a_pipe_that_nobody_writes_to_is_empty(void **state)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_stream_arrives(*state, ends[0], ends[1], 0);
}

/* Its last writer has gone before the run begins. */
static void a_named_fifo_is_read_to_its_end(void **state)
{
    struct talk *talk = *state;
    cleanup_free char *path = fvm_format("%s/fifo", talk->tmpdir);
    cleanup_close int reader = -1;
    int writer;

    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    writer = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(fvm_write_all(writer, "hello", 5), 0);
    close(writer);
    talk->spec.stdin_fd = reader;
    assert_input(talk, "hello", 5);
}

static void a_file_is_read_from_where_it_stands(void **state)
{
    struct talk *talk = *state;
    cleanup_close int fd = memfd_create("input", MFD_CLOEXEC);
    cleanup_free char *bytes = pattern(2 * MIB);

    assert_int_equal(fvm_write_all(fd, bytes, 2 * MIB), 0);
    assert_int_equal(lseek(fd, 1000, SEEK_SET), 1000);
    talk->spec.stdin_fd = fd;
    assert_input(talk, bytes + 1000, 2 * MIB - 1000);
}

static void dev_null_is_empty(void **state)
{
    struct talk *talk = *state;
    cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    talk->spec.stdin_fd = fd;
    assert_input(talk, "", 0);
}

static void what_is_typed_on_a_terminal_arrives(void **state)
{
    struct talk *talk = *state;
    int master, slave;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_int_equal(fvm_write_all(master, "typed\n\4", 7), 0);
    talk->spec.stdin_fd = slave;
    assert_input(talk, "typed\n", 6);
    close(master);
    close(slave);
}

/* ---- while the run lasts --------------------------------------------------------------------- */

static int pipe_ends[2];

static void answer_each_line(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RUN);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    for (int i = 0; i < 3; i++) {
        guest_print(pipe_ends[1], "line\n");
        guest_receive(guest, FVM_FRAME_STDIN);
        guest_send(guest, FVM_FRAME_STDOUT, guest->input.data, guest->input.size);
    }
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void input_is_passed_on_as_it_comes(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    talk->spec.stdin_fd = pipe_ends[0];
    assert_string_equal(talk_result(talk, answer_each_line)->stdout_data,
                        "line\nline\nline\nline\nline\nline\n");
    assert_false(talk->guest.stdin_ended);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void end_without_input(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RUN);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    for (int i = 0; steals && i < 1000; i++)
        guest_wait_ms(5);
    guest_wait_ms(20);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void a_run_ends_though_its_input_does_not(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    talk->spec.stdin_fd = pipe_ends[0];
    talk_result(talk, end_without_input);
    assert_in_range(talk->elapsed_us, 0, 10 * 1000000);
    assert_int_equal(fcntl(pipe_ends[0], F_GETFL) & O_NONBLOCK, 0); /* others may share it */
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

/* A read that waits would keep the host from the result, and from every deadline. */
static void assert_not_held_up(struct talk *talk, int reader, int writer)
{
    assert_int_equal(fvm_write_all(writer, "gone\n", 5), 0);
    steals = true;
    talk->spec.stdin_fd = reader;
    talk_result(talk, end_without_input);
    assert_false(steals);
    assert_int_equal(talk->guest.input.size, 0);
    assert_int_equal(fcntl(reader, F_GETFL) & O_NONBLOCK, 0);
    close(reader);
    close(writer);
}

static void another_reader_of_a_pipe_does_not_hold_us_up(void **state)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_not_held_up(*state, ends[0], ends[1]);
}

static void another_reader_of_a_terminal_does_not_hold_us_up(void **state)
{
    int master, slave;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_not_held_up(*state, slave, master);
}

static void close_the_input(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RUN);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    guest_wait_ms(50);
    close(pipe_ends[0]);
    guest_say(guest, FVM_FRAME_STDOUT, "wake up");
    guest_wait_for_the_end(guest);
}

static void a_descriptor_that_is_closed_meanwhile_is_an_error(void **state)
{
    struct talk *talk = *state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipe_ends), 0);
    talk->spec.stdin_fd = pipe_ends[0];
    assert_int_equal(talk_run(talk, close_the_input), -1);
    assert_int_equal(talk->error.os_errno, EBADF);
    assert_failure(-1, &talk->error, FLASHVM_IO,
                   "cannot read the snippet's standard input: Bad file descriptor");
    close(pipe_ends[1]);
}

/* ---- a guest that does not read -------------------------------------------------------------- */

static size_t resident_bytes(void)
{
    size_t total = 0, resident = 0;
    cleanup_file FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    return resident * 4096;
}

static uint64_t cpu_time_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void do_not_read(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RUN);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    guest_wait_ms(1500);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

static void assert_costs_nothing(struct talk *talk, int fd)
{
    uint64_t cpu_before = cpu_time_us();
    size_t memory_before = resident_bytes();

    talk->spec.stdin_fd = fd;
    talk_result(talk, do_not_read);
    assert_in_range(talk->elapsed_us, 1500000, 15 * 1000000);
    assert_in_range(cpu_time_us() - cpu_before, 0, 300000);
    assert_in_range(resident_bytes(), 0, memory_before + 8 * MIB);
}

static void a_gigabyte_that_nobody_reads_costs_nothing(void **state)
{
    cleanup_close int fd = memfd_create("input", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, 1 << 30), 0);
    assert_costs_nothing(*state, fd);
    assert_in_range(lseek(fd, 0, SEEK_CUR), 1, 2 * MIB); /* and is not read ahead */
}

static void an_endless_input_that_nobody_reads_costs_nothing(void **state)
{
    cleanup_close int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    assert_costs_nothing(*state, fd);
}

static void a_pipe_without_a_writer_costs_nothing(void **state)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    assert_costs_nothing(*state, ends[0]);
    close(ends[0]);
}

static void stop_reading(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_RUN);
    guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
    guest_wait_ms(3000);
}

static void a_timeout_ends_a_run_whose_input_goes_nowhere(void **state)
{
    struct talk *talk = *state;
    cleanup_close int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    talk->spec.stdin_fd = fd;
    talk->spec.timeout_ms = talk->spec.grace_ms = 50;
    assert_true(talk_result(talk, stop_reading)->timed_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        talk_test(a_pipe_is_read_to_its_end),
        talk_test(a_socket_is_read_to_its_end),
        talk_test(a_pipe_that_nobody_writes_to_is_empty),
        talk_test(a_named_fifo_is_read_to_its_end),
        talk_test(a_file_is_read_from_where_it_stands),
        talk_test(dev_null_is_empty),
        talk_test(what_is_typed_on_a_terminal_arrives),
        talk_test(input_is_passed_on_as_it_comes),
        talk_test(a_run_ends_though_its_input_does_not),
        talk_test(another_reader_of_a_pipe_does_not_hold_us_up),
        talk_test(another_reader_of_a_terminal_does_not_hold_us_up),
        talk_test(a_descriptor_that_is_closed_meanwhile_is_an_error),
        talk_test(a_gigabyte_that_nobody_reads_costs_nothing),
        talk_test(an_endless_input_that_nobody_reads_costs_nothing),
        talk_test(a_pipe_without_a_writer_costs_nothing),
        talk_test(a_timeout_ends_a_run_whose_input_goes_nowhere),
    };

    return cmocka_run_group_tests_name("stdin", tests, NULL, NULL);
}
