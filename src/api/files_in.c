/* SPDX-License-Identifier: MIT */
#include "api/files_in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/guest_path.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "protocol/frame.h"

#define DIRECTORY "in" /* below /work */

enum { DEPTH_MAX = 128 };

/* What one call of fvm_files_in_collect() works on. */
struct collection {
    struct fvm_files_in *files;
    uint32_t max_files;
    uint64_t max_bytes;
};

/* Takes over both paths, also when it fails. */
static int add(struct collection *collection, char *guest_path, char *host_path, const void *data,
               uint64_t size, struct flashvm_error *error)
{
    struct fvm_files_in *files = collection->files;
    cleanup_free char *own_guest_path = guest_path, *own_host_path = host_path;

    if (files->count >= collection->max_files)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has more than %u files; max_files_in raises the limit",
                        collection->max_files);
    if (size > collection->max_bytes - files->bytes)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has more than %ju bytes (with %s); max_files_in_bytes raises "
                        "the limit",
                        (uintmax_t)collection->max_bytes, guest_path);
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 16;
        struct fvm_file_in *grown = reallocarray(files->files, capacity, sizeof *grown);

        if (grown == NULL)
            return fvm_fail_no_memory(error);
        files->files = grown;
        files->capacity = capacity;
    }
    files->bytes += size;
    files->files[files->count++] = (struct fvm_file_in){
        .guest_path = steal_pointer(own_guest_path),
        .host_path = steal_pointer(own_host_path),
        .data = data,
        .size = size,
    };
    return 0;
}

/* ---- what is on the host --------------------------------------------------------------------- */

static int fail_open(const char *path, int err, struct flashvm_error *error)
{
    if (err == ENOENT || err == ENOTDIR)
        return fvm_fail(error, FLASHVM_NOT_FOUND, "files_in: there is no file %s", path);
    return fvm_fail_errno(error, err, "files_in: cannot read %s", path);
}

static int add_path(struct collection *collection, const char *guest_path, const char *host_path,
                    int depth, struct flashvm_error *error);

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int add_directory(struct collection *collection, const char *guest_path,
                         const char *host_path, int depth, struct flashvm_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(host_path, &entries, is_entry, compare_names), outcome = 0;

    if (count < 0)
        return fail_open(host_path, errno, error);
    if (depth >= DEPTH_MAX)
        outcome = fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                           "files_in: %s lies more than %d directories deep", host_path, DEPTH_MAX);
    for (int i = 0; i < count; i++) {
        cleanup_free struct dirent *entry = entries[i];
        cleanup_free char *guest_child = fvm_format("%s/%s", guest_path, entry->d_name);
        cleanup_free char *host_child = fvm_format("%s/%s", host_path, entry->d_name);

        if (outcome < 0)
            continue;
        if (guest_child == NULL || host_child == NULL)
            outcome = fvm_fail_no_memory(error);
        else
            outcome = add_path(collection, guest_child, host_child, depth + 1, error);
    }
    free(entries);
    return outcome;
}

/*
 * One path of the host, whatever it is. Only the path that the caller named may be a symlink: those
 * inside of a directory may lead anywhere.
 */
static int add_path(struct collection *collection, const char *guest_path, const char *host_path,
                    int depth, struct flashvm_error *error)
{
    int follow = depth > 0 ? O_NOFOLLOW : 0;
    cleanup_close int fd = open(host_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | follow);
    struct stat status;

    if (fd < 0 && errno == ELOOP && depth > 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: %s is a symbolic link; of a directory only files and "
                        "directories are taken, so name what it points to by itself",
                        host_path);
    if (fd < 0 && errno == ENXIO) /* a socket, or a device without a driver */
        status.st_mode = S_IFSOCK;
    else if (fd < 0 || fstat(fd, &status) < 0)
        return fail_open(host_path, errno, error);
    if (S_ISDIR(status.st_mode))
        return add_directory(collection, guest_path, host_path, depth, error);
    if (!S_ISREG(status.st_mode))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: %s is neither a regular file nor a directory", host_path);
    if (!fvm_file_path_is_safe(guest_path, strlen(guest_path)))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: the guest path %.300s… is too long", guest_path);
    return add(collection, strdup(guest_path), strdup(host_path), NULL, (uint64_t)status.st_size,
               error);
}

/* ---- the caller's entries -------------------------------------------------------------------- */

static int add_entry(struct collection *collection, const struct flashvm_file_in *entry,
                     struct flashvm_error *error)
{
    const char *given = entry->guest_path ? entry->guest_path : "";
    cleanup_free char *relative = NULL, *guest_path = NULL;
    int outcome = fvm_guest_path_below("/work/" DIRECTORY "/", given, &relative);

    if (outcome == 0 && (guest_path = fvm_format(DIRECTORY "/%s", relative)) == NULL)
        outcome = -1;
    if (outcome < 0)
        return fvm_fail_no_memory(error);
    if (outcome > 0 || !fvm_file_path_is_safe(guest_path, strlen(guest_path)))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has the guest path \"%.300s\"; it must be relative to "
                        "/work/" DIRECTORY ", not empty, without \"..\", of at most %d bytes and "
                        "255 in each name",
                        given, FVM_FILE_PATH_MAX - (int)strlen(DIRECTORY "/"));
    if (entry->host_path)
        return add_path(collection, guest_path, entry->host_path, 0, error);
    if (entry->data == NULL && entry->data_size > 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has neither host_path nor data for \"%s\"", given);
    return add(collection, steal_pointer(guest_path), NULL, entry->data, entry->data_size, error);
}

/* With '/' lowest, "a" comes right before the files below a directory "a". */
static int compare_paths(const void *a, const void *b)
{
    const char *left = ((const struct fvm_file_in *)a)->guest_path;
    const char *right = ((const struct fvm_file_in *)b)->guest_path;

    while (*left && *left == *right)
        left++, right++;
    if (*left && *right && (*left == '/' || *right == '/'))
        return *left == '/' ? -1 : 1;
    return (unsigned char)*left - (unsigned char)*right;
}

static int check_conflicts(const struct fvm_files_in *files, struct flashvm_error *error)
{
    for (size_t i = 1; i < files->count; i++) {
        const char *path = files->files[i - 1].guest_path, *next = files->files[i].guest_path;
        size_t length = strlen(path);

        if (strncmp(path, next, length) != 0)
            continue;
        if (next[length] == '\0')
            return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                            "files_in has more than one file for /work/%s", path);
        if (next[length] == '/')
            return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                            "files_in has a file for /work/%s, and one below it: /work/%s", path,
                            next);
    }
    return 0;
}

int fvm_files_in_collect(const struct flashvm_file_in *given, size_t given_count,
                         uint32_t max_files, uint64_t max_bytes, struct fvm_files_in *files,
                         struct flashvm_error *error)
{
    struct collection collection = {files, max_files, max_bytes};

    if (given == NULL && given_count > 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "files_in is NULL");
    for (size_t i = 0; i < given_count; i++)
        if (add_entry(&collection, &given[i], error) < 0)
            return -1;
    if (files->count > 0)
        qsort(files->files, files->count, sizeof *files->files, compare_paths);
    return check_conflicts(files, error);
}

void fvm_files_in_finish(struct fvm_files_in *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free((char *)files->files[i].guest_path);
        free((char *)files->files[i].host_path);
    }
    free(files->files);
    *files = (struct fvm_files_in){0};
}
