/* SPDX-License-Identifier: MIT */
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int fvm_read_file(const char *path, size_t limit, char **ret_data, size_t *ret_size,
                  struct flashvm_error *error)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    cleanup_free char *data = NULL;
    struct stat status;
    size_t size = 0;

    if (fd < 0 || fstat(fd, &status) < 0)
        return fvm_fail_errno(error, errno, "cannot read %s", path);
    if (!S_ISREG(status.st_mode))
        return fvm_fail(error, FLASHVM_IO, "cannot read %s: it is not a regular file", path);
    if ((uint64_t)status.st_size > limit)
        return fvm_fail(error, FLASHVM_IO, "cannot read %s: it has %jd bytes, the limit is %zu",
                        path, (intmax_t)status.st_size, limit);
    data = malloc((size_t)status.st_size + 1);
    if (data == NULL)
        return fvm_fail_no_memory(error);
    while (size < (size_t)status.st_size) {
        ssize_t count = read(fd, data + size, (size_t)status.st_size - size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fvm_fail_errno(error, errno, "cannot read %s", path);
        if (count == 0)
            break; /* it shrank meanwhile */
        size += (size_t)count;
    }
    data[size] = '\0';
    *ret_data = steal_pointer(data);
    if (ret_size)
        *ret_size = size;
    return 0;
}

int fvm_write_all(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t count = write(fd, next, size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        next += count;
        size -= (size_t)count;
    }
    return 0;
}

int fvm_replace_file(const char *path, const char *text)
{
    cleanup_free char *temporary = fvm_format("%s.%d", path, gettid());
    cleanup_close int fd = -1;
    int saved_errno;

    if (temporary == NULL)
        return -1;
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (fvm_write_all(fd, text, strlen(text)) == 0 && rename(temporary, path) == 0)
        return 0;
    saved_errno = errno;
    unlink(temporary);
    errno = saved_errno;
    return -1;
}

int fvm_make_directories(const char *path, mode_t mode, struct flashvm_error *error)
{
    cleanup_free char *partial = strdup(path);

    if (partial == NULL)
        return fvm_fail_no_memory(error);
    for (char *slash = partial + 1;; slash++) {
        char kept = *slash;

        if (kept != '/' && kept != '\0')
            continue;
        *slash = '\0';
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return fvm_fail_errno(error, errno, "cannot make the directory %s", partial);
        if (kept == '\0')
            return 0;
        *slash = kept;
    }
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)ftw;
    if (type == FTW_DP || type == FTW_DNR || type == FTW_D)
        rmdir(path);
    else
        unlink(path);
    return 0;
}

void fvm_remove_tree(const char *path)
{
    nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}

void fvm_file_identity(const struct stat *status, char ret_text[FVM_FILE_IDENTITY_SIZE])
{
    snprintf(ret_text, FVM_FILE_IDENTITY_SIZE, "inode %ju size %jd mtime %jd.%09ld ctime %jd.%09ld",
             (uintmax_t)status->st_ino, (intmax_t)status->st_size, (intmax_t)status->st_mtim.tv_sec,
             status->st_mtim.tv_nsec, (intmax_t)status->st_ctim.tv_sec, status->st_ctim.tv_nsec);
}

char *fvm_absolute_path(const char *path, struct flashvm_error *error)
{
    cleanup_free char *current = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *absolute;

    if (path[0] != '/' && current == NULL) {
        fvm_fail_errno(error, errno, "cannot find the current directory");
        return NULL;
    }
    absolute = fvm_format("%s%s%s", current ? current : "", current ? "/" : "", path);
    if (absolute == NULL)
        fvm_fail_no_memory(error);
    return absolute;
}

char *fvm_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return text;
}

int fvm_is_program(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static int is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static char *search_path(const char *name, int (*fits)(const char *path))
{
    const char *search = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin";

    while (*search) {
        size_t length = strcspn(search, ":");
        cleanup_free char *path = fvm_format("%.*s/%s", (int)length, search, name);

        if (path && length > 0 && fits(path))
            return steal_pointer(path);
        search += length + (search[length] == ':');
    }
    return NULL;
}

char *fvm_find_program(const char *name)
{
    return search_path(name, fvm_is_program);
}

char *fvm_find_on_path(const char *name)
{
    return search_path(name, is_there);
}
