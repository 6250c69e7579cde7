/* SPDX-License-Identifier: MIT */
#include "api/files_in.h"

#include <dirent.h>
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

/* Return: where the next file goes, with room made for it; NULL when memory is exhausted. */
static struct fvm_file_in *next_file(struct fvm_files_in *files)
{
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 16;
        struct fvm_file_in *grown = reallocarray(files->files, capacity, sizeof *grown);

        if (grown == NULL)
            return NULL;
        files->files = grown;
        files->capacity = capacity;
    }
    return &files->files[files->count];
}

/* Copies the paths of `file`. */
static int add(struct collection *collection, const struct fvm_file_in *file,
               struct flashvm_error *error)
{
    struct fvm_files_in *files = collection->files;
    cleanup_free char *guest_path = strdup(file->guest_path);
    cleanup_free char *host_path = file->host_path ? strdup(file->host_path) : NULL;
    struct fvm_file_in *added;

    if (files->count >= collection->max_files)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has more than %u files; max_files_in raises the limit",
                        collection->max_files);
    if (file->size > collection->max_bytes - files->bytes)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has more than %ju bytes (with %s); max_files_in_bytes raises "
                        "the limit",
                        (uintmax_t)collection->max_bytes, file->guest_path);
    added = next_file(files);
    if (added == NULL || guest_path == NULL || (file->host_path && host_path == NULL))
        return fvm_fail_no_memory(error);
    *added = *file;
    added->guest_path = steal_pointer(guest_path);
    added->host_path = steal_pointer(host_path);
    files->count++;
    files->bytes += file->size;
    return 0;
}

/* ---- what is on the host --------------------------------------------------------------------- */

/* Something on the host, while its directory is walked. */
struct place {
    int parent_fd;
    const char *name; /* in there */
    const char *path; /* as the caller would write it */
    int depth;        /* 0: the caller named it */
};

static int add_place(struct collection *collection, const char *guest_path,
                     const struct place *place, struct flashvm_error *error);

static int fail_read(const char *path, struct flashvm_error *error)
{
    return fvm_fail_errno(error, errno, "files_in: cannot read %s", path);
}

/* Takes over the descriptor. */
static int add_directory(struct collection *collection, const char *guest_path,
                         const struct place *place, int fd, struct flashvm_error *error)
{
    cleanup_dir DIR *directory = fdopendir(fd);
    struct dirent *entry;

    if (directory == NULL) {
        fvm_cleanup_close(&fd);
        return fail_read(place->path, error);
    }
    if (place->depth >= DEPTH_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: %.300s… lies more than %d directories deep", place->path,
                        DEPTH_MAX);
    while ((errno = 0, entry = readdir(directory)) != NULL) {
        cleanup_free char *guest_child = fvm_format("%s/%s", guest_path, entry->d_name);
        cleanup_free char *path = fvm_format("%s/%s", place->path, entry->d_name);
        const struct place child = {dirfd(directory), entry->d_name, path, place->depth + 1};

        if (guest_child == NULL || path == NULL)
            return fvm_fail_no_memory(error);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            add_place(collection, guest_child, &child, error) < 0)
            return -1;
    }
    return errno ? fail_read(place->path, error) : 0;
}

/*
 * Only what the caller named may be a symlink: those inside of a directory may lead anywhere. What
 * is no file is not even opened, since that alone can have effects.
 */
static int add_place(struct collection *collection, const char *guest_path,
                     const struct place *place, struct flashvm_error *error)
{
    bool follow = place->depth == 0;
    cleanup_close int fd = -1;
    struct stat status;

    if (fstatat(place->parent_fd, place->name, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return fail_read(place->path, error);
    if (S_ISLNK(status.st_mode))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: %s is a symbolic link; of a directory only files and "
                        "directories are taken, so name what it points to by itself",
                        place->path);
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: %s is neither a regular file nor a directory", place->path);
    fd = openat(place->parent_fd, place->name,
                O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0 || fstat(fd, &status) < 0)
        return fail_read(place->path, error);
    if (S_ISDIR(status.st_mode))
        return add_directory(collection, guest_path, place, steal_fd(&fd), error);
    if (!fvm_file_path_is_safe(guest_path, strlen(guest_path)))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in: the guest path %.300s… is too long", guest_path);
    return add(collection,
               &(struct fvm_file_in){
                   .guest_path = guest_path,
                   .host_path = place->path,
                   .size = (uint64_t)status.st_size,
                   .executable = (status.st_mode & S_IXUSR) != 0,
                   .device = status.st_dev,
                   .inode = status.st_ino,
                   .modified = status.st_mtim,
               },
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
    if (entry->host_path && entry->data)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has both host_path and data for \"%s\"", given);
    if (entry->host_path && *entry->host_path == '\0')
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has an empty host_path for "
                        "\"%s\"",
                        given);
    if (entry->host_path)
        return add_place(collection, guest_path,
                         &(struct place){AT_FDCWD, entry->host_path, entry->host_path, 0}, error);
    if (entry->data == NULL && entry->data_size > 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has neither host_path nor data for \"%s\"", given);
    return add(collection,
               &(struct fvm_file_in){
                   .guest_path = guest_path,
                   .data = entry->data,
                   .size = entry->data_size,
               },
               error);
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
