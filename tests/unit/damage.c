/* SPDX-License-Identifier: MIT */
#include "damage.h"

#include "assertions.h"

#include <fcntl.h>

#include "base/cleanup.h"

/* The files are read-only, for their owner too. */
static int open_read_only_file(const char *path)
{
    int fd;

    assert_int_equal(chmod(path, 0644), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0444), 0);
    return fd;
}

static void resize(const char *path, off_t change)
{
    cleanup_close int fd = open_read_only_file(path);
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(ftruncate(fd, status.st_size + change), 0);
}

void shorten(const char *path)
{
    resize(path, -10);
}

void lengthen(const char *path)
{
    resize(path, 4096);
}

void wipe_start(const char *path)
{
    cleanup_close int fd = open_read_only_file(path);

    assert_int_equal(pwrite(fd, "\0\0\0\0\0\0\0\0", 8, 0), 8);
}

void make_writable(const char *path)
{
    assert_int_equal(chmod(path, 0666), 0);
}

void give_away(const char *path)
{
    if (geteuid() == 0)
        assert_int_equal(chown(path, 65534, 65534), 0);
    else
        assert_int_equal(unlink(path), 0);
}

void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

void replace_by_symlink(const char *path)
{
    cleanup_free char *aside = fvm_format("%s-aside", path);

    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink(aside, path), 0);
}

void replace_text(const char *path, const char *text)
{
    cleanup_close int fd = -1;

    assert_int_equal(unlink(path), 0);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, text, strlen(text)), 0);
}

void replace_by_text(const char *path)
{
    replace_text(path, "not what was there");
}

void replace_by_fifo(const char *path)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
}

/* As a bad disk or a bad program would do it; times that can be set are as before. */
void change_one_byte(const char *path)
{
    cleanup_close int fd = open_read_only_file(path);
    struct stat before;
    char byte;

    assert_int_equal(fstat(fd, &before), 0);
    assert_int_equal(pread(fd, &byte, 1, before.st_size / 2), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, before.st_size / 2), 1);
    assert_int_equal(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}), 0);
}

void wipe_a_page(const char *path)
{
    cleanup_close int fd = open_read_only_file(path);
    char zeros[100] = {0};

    assert_int_equal(pwrite(fd, zeros, sizeof zeros, 96), sizeof zeros); /* after a super block */
}

/* An entry that an earlier version made, or another program. */
void replace_by_empty_object(const char *path)
{
    replace_text(path, "{}");
}

void copy_file(const char *path)
{
    cleanup_free char *aside = fvm_format("%s-aside", path);
    cleanup_free char *data = NULL;
    cleanup_close int fd = -1;
    size_t size;

    assert_int_equal(fvm_read_file(path, SIZE_MAX, &data, &size, NULL), 0);
    fd = open(aside, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, data, size), 0);
    assert_int_equal(rename(aside, path), 0);
}
