/* SPDX-License-Identifier: MIT */
/* Copies and digests of files that are mostly holes: only what is not zero costs anything. */
#include "assertions.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "run/sparse_copy.h"

enum { BLOCK = 4096, MIB = 1 << 20 };

static const uint64_t GIB = 1 << 30;

/* ---- a file system with small blocks --------------------------------------------------------- */

/* Where data and holes begin is a multiple of so many bytes; 0: as the file system has it. */
static off_t small_block;

/* Return: the place where a run of small blocks with data (or of others) begins, from `offset` on. */
static off_t seek_small(int fd, off_t offset, bool data)
{
    char block[BLOCK];

    for (;; offset += small_block - offset % small_block) {
        size_t size = (size_t)(small_block - offset % small_block);
        ssize_t count = pread(fd, block, size, offset);
        bool empty = true;

        if (count <= 0) { /* at the end there is a hole, but no data */
            errno = ENXIO;
            return data ? -1 : offset;
        }
        for (ssize_t i = 0; i < count; i++)
            empty = empty && block[i] == 0;
        if (empty != data)
            return offset;
        if (count < (ssize_t)size) {
            errno = ENXIO;
            return data ? -1 : offset + count;
        }
    }
}

/* In the place of the C library's own, for the code under test. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
off_t lseek(int fd, off_t offset, int whence)
{
    if (small_block > 0 && (whence == SEEK_DATA || whence == SEEK_HOLE))
        return seek_small(fd, offset, whence == SEEK_DATA);
    return syscall(SYS_lseek, fd, offset, whence);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Of the kinds that a template's memory is in: a memfd, and a file of a cache. */
static int make_memory(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static int make_file(void)
{
    int fd = open(getenv("TMPDIR") ?: "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static void write_at(int fd, uint64_t offset, const char *data, size_t size)
{
    assert_int_equal(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
}

/* Some data at both ends and in between: across blocks, across a megabyte, within a block. */
static void fill(int fd, uint64_t size)
{
    cleanup_free char *long_run = malloc(3 * MIB);

    memset(long_run, 'x', 3 * MIB);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    write_at(fd, 0, "begin", 5);
    write_at(fd, 10 * BLOCK - 2, "over", 4);
    write_at(fd, 5 * MIB + 100, long_run, 3 * MIB);
    write_at(fd, size - 3, "end", 3);
}

static uint64_t bytes_on_disk(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static uint64_t size_of(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return (uint64_t)status.st_size;
}

static void assert_same(int a, int b, uint64_t offset, size_t size)
{
    cleanup_free char *left = malloc(size), *right = malloc(size);

    assert_int_equal(pread(a, left, size, (off_t)offset), (ssize_t)size);
    assert_int_equal(pread(b, right, size, (off_t)offset), (ssize_t)size);
    assert_memory_equal(left, right, size);
}

static void digest(int fd, char ret_hex[FVM_SHA256_HEX_SIZE])
{
    assert_int_equal(fvm_sparse_digest(fd, size_of(fd), ret_hex), 0);
}

static void assert_same_digest(int a, int b)
{
    char left[FVM_SHA256_HEX_SIZE], right[FVM_SHA256_HEX_SIZE];

    digest(a, left);
    digest(b, right);
    assert_string_equal(left, right);
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void assert_copied(int from, int to, uint64_t size)
{
    fill(from, size);
    assert_int_equal(fvm_sparse_copy(from, to, size), 0);
    assert_int_equal(size_of(to), size);
    assert_same(from, to, 0, 12 * MIB);
    assert_same(from, to, size - MIB, MIB);
    assert_in_range(bytes_on_disk(to), 3 * MIB, 4 * MIB);
    assert_same_digest(from, to);
}

static void what_is_written_is_copied_and_what_is_empty_stays_empty(void **state)
{
    static int (*const make[])(void) = {make_memory, make_file};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        cleanup_close int from = make[i / 2](), to = make[i % 2]();

        assert_copied(from, to, 2 * GIB + 5);
    }
}

static void a_copy_leaves_out_what_was_written_as_zeros(void **state)
{
    cleanup_close int from = make_memory(), to = make_memory();
    cleanup_free char *zeros = calloc(1, 4 * MIB);

    (void)state;
    write_at(from, 0, zeros, 4 * MIB);
    write_at(from, 2 * MIB, "x", 1);
    assert_true(bytes_on_disk(from) >= 4 * MIB);
    assert_int_equal(fvm_sparse_copy(from, to, 4 * MIB), 0);
    assert_in_range(bytes_on_disk(to), 1, 64 * 1024);
    assert_same(from, to, 0, 4 * MIB);
    assert_same_digest(from, to);
}

static void an_empty_file_and_one_hole_are_copied_too(void **state)
{
    static const uint64_t sizes[] = {0, 1, BLOCK, 1 << 30};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        cleanup_close int from = make_memory(), to = make_memory();

        assert_int_equal(ftruncate(from, (off_t)sizes[i]), 0);
        assert_int_equal(fvm_sparse_copy(from, to, sizes[i]), 0);
        assert_int_equal(size_of(to), sizes[i]);
        assert_int_equal(bytes_on_disk(to), 0);
        assert_same_digest(from, to);
    }
}

static void a_file_of_any_size_is_copied_to_its_last_byte(void **state)
{
    static const size_t sizes[] = {1, BLOCK - 1, BLOCK, BLOCK + 1, MIB - 1, MIB, MIB + 1};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        cleanup_close int from = make_memory(), to = make_memory();
        cleanup_free char *bytes = malloc(sizes[i]);

        for (size_t k = 0; k < sizes[i]; k++)
            bytes[k] = (char)(k % 251 + 1);
        write_at(from, 0, bytes, sizes[i]);
        assert_int_equal(fvm_sparse_copy(from, to, sizes[i]), 0);
        assert_int_equal(size_of(to), sizes[i]);
        assert_same(from, to, 0, sizes[i]);
        assert_same_digest(from, to);
    }
}

/* Its size was looked at before: what has come to it since is none of it. */
static void no_more_than_the_size_is_copied(void **state)
{
    static const size_t sizes[] = {1,           BLOCK,       3 * MIB /* in a hole */, 5 * MIB + 100,
                                   6 * MIB + 1, 12 * MIB - 1};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        cleanup_close int from = make_memory(), to = make_memory();
        char first[FVM_SHA256_HEX_SIZE], second[FVM_SHA256_HEX_SIZE];

        fill(from, 12 * MIB);
        assert_int_equal(fvm_sparse_copy(from, to, sizes[i]), 0);
        assert_int_equal(size_of(to), sizes[i]);
        assert_same(from, to, 0, sizes[i]);
        assert_int_equal(fvm_sparse_digest(from, sizes[i], first), 0);
        assert_int_equal(fvm_sparse_digest(to, sizes[i], second), 0);
        assert_string_equal(first, second);
    }
}

static void what_cannot_be_read_or_written_is_an_error(void **state)
{
    cleanup_close int from = make_memory(), to = make_memory();
    cleanup_close int pipe_end = -1, other_end = -1;
    char hex[FVM_SHA256_HEX_SIZE];
    int ends[2];

    (void)state;
    fill(from, 12 * MIB);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pipe_end = ends[0], other_end = ends[1];
    assert_int_equal(fvm_sparse_copy(pipe_end, to, 12 * MIB), -1);
    assert_int_equal(errno, ESPIPE);
    assert_int_equal(fvm_sparse_digest(pipe_end, 12 * MIB, hex), -1);
    assert_int_equal(fvm_sparse_copy(from, other_end, 12 * MIB), -1);
    assert_int_equal(errno, EINVAL);
}

/* A digest tells where each block lies, and a cache may lie on another file system than the memory
 * that was copied there. */
static void small_blocks_make_no_difference(void **state)
{
    static const struct {
        uint64_t offset;
        size_t size;
    } pieces[] = {
        {1024, 1024},                     /* within a block */
        {3 * BLOCK - 1024, 2048},         /* across two */
        {8 * BLOCK + 1, 1},               /* */
        {8 * BLOCK + 2048, 1024},         /* in the same block, after a hole */
        {2 * MIB - 1024, 2 * MIB + 2048}, /* more than is read at once */
        {6 * MIB - 3, 3},                 /* the end, which is a block's */
    };
    cleanup_close int from = make_memory();
    cleanup_free char *bytes = malloc(3 * MIB);
    char usual[FVM_SHA256_HEX_SIZE], hex[FVM_SHA256_HEX_SIZE];

    (void)state;
    memset(bytes, 'x', 3 * MIB);
    for (size_t i = 0; i < LENGTH(pieces); i++)
        write_at(from, pieces[i].offset, bytes, pieces[i].size);
    digest(from, usual);
    for (small_block = 512; small_block <= BLOCK; small_block *= 2) {
        cleanup_close int to = make_memory();

        assert_int_equal(fvm_sparse_copy(from, to, 6 * MIB), 0);
        assert_same(from, to, 0, 6 * MIB);
        digest(from, hex);
        assert_string_equal(hex, usual);
        digest(to, hex);
        assert_string_equal(hex, usual);
    }
    small_block = 0;
}

static void a_small_block_at_the_end_is_copied_to_its_last_byte(void **state)
{
    cleanup_close int from = make_memory(), to = make_memory();
    const uint64_t size = 5 * BLOCK + 1024 + 7;

    (void)state;
    write_at(from, BLOCK + 1, "begin", 5);
    write_at(from, size - 3, "end", 3);
    small_block = 1024;
    assert_int_equal(fvm_sparse_copy(from, to, size), 0);
    small_block = 0;
    assert_int_equal(size_of(to), size);
    assert_same(from, to, 0, size);
    assert_same_digest(from, to);
}

/* ---- digests --------------------------------------------------------------------------------- */

static void a_digest_tells_one_byte_in_any_place(void **state)
{
    static const uint64_t places[] = {0, BLOCK - 1, 100 * BLOCK, MIB, 2 * MIB + 5, 12 * MIB - 1};
    cleanup_close int fd = make_memory();
    char seen[LENGTH(places) + 1][FVM_SHA256_HEX_SIZE];

    (void)state;
    assert_int_equal(ftruncate(fd, 12 * MIB), 0);
    digest(fd, seen[0]);
    for (size_t i = 0; i < LENGTH(places); i++) {
        write_at(fd, places[i], "x", 1);
        digest(fd, seen[i + 1]);
        write_at(fd, places[i], "", 1);
        for (size_t k = 0; k <= i; k++)
            assert_string_not_equal(seen[i + 1], seen[k]);
    }
    digest(fd, seen[1]); /* zeros by now, where it was a hole */
    assert_string_equal(seen[1], seen[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_copied_and_what_is_empty_stays_empty),
        cmocka_unit_test(a_copy_leaves_out_what_was_written_as_zeros),
        cmocka_unit_test(an_empty_file_and_one_hole_are_copied_too),
        cmocka_unit_test(a_file_of_any_size_is_copied_to_its_last_byte),
        cmocka_unit_test(no_more_than_the_size_is_copied),
        cmocka_unit_test(what_cannot_be_read_or_written_is_an_error),
        cmocka_unit_test(small_blocks_make_no_difference),
        cmocka_unit_test(a_small_block_at_the_end_is_copied_to_its_last_byte),
        cmocka_unit_test(a_digest_tells_one_byte_in_any_place),
    };

    return cmocka_run_group_tests_name("sparse_copy", tests, NULL, NULL);
}
