/* SPDX-License-Identifier: MIT */
#include "base/cache_entries.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"

enum { JSON_BYTES_MAX = 8 << 20 };

void fvm_cache_entries_finish(struct fvm_cache_entries *entries)
{
    fvm_cleanup_close(&entries->fd);
    free(entries->path);
    *entries = (struct fvm_cache_entries){.fd = -1};
}

int fvm_cache_entries_open(const char *cache_path, const char *name, bool make,
                           const struct fvm_cache_entries *kind,
                           struct fvm_cache_entries *ret_entries, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/%s", cache_path, name);
    struct stat status;
    int fd;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (!make && lstat(path, &status) < 0 && errno == ENOENT)
        return 0;
    if (fvm_cache_open_directory(cache_path, name, make, &fd, error) < 0)
        return -1;
    *ret_entries = *kind;
    ret_entries->fd = fd;
    ret_entries->path = steal_pointer(path);
    return 1;
}

/* Return: the key that the file belongs to, to be freed; NULL for a file that is none of ours. */
static char *key_of(const struct fvm_cache_entries *entries, const char *file)
{
    size_t length = entries->key_length(file);

    for (const char *const *ending = entries->endings; length > 0 && *ending; ending++)
        if (strcmp(file + length, *ending) == 0)
            return strndup(file, length);
    return NULL;
}

int fvm_cache_entries_list(const struct fvm_cache_entries *entries, json_t **ret_keys,
                           struct flashvm_error *error)
{
    cleanup_json json_t *keys = json_object();
    cleanup_dir DIR *listing = opendir(entries->path);
    struct dirent *file;

    if (listing == NULL)
        return fvm_fail_errno(error, errno, "cannot list %s", entries->path);
    while ((file = readdir(listing)) != NULL) {
        cleanup_free char *key = key_of(entries, file->d_name);

        if (key && json_object_set_new(keys, key, json_null()) < 0)
            return fvm_fail_no_memory(error);
    }
    *ret_keys = steal_pointer(keys);
    return 0;
}

/* Remove a file, not what a symlink leads to. What is in its place and no file stays. */
static int remove_file(const struct fvm_cache_entries *entries, const char *name,
                       uint64_t *freed_bytes, struct flashvm_error *error)
{
    struct stat status;

    if (fstatat(entries->fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fvm_fail_errno(error, errno, "cannot look at %s", name);
    if (S_ISDIR(status.st_mode))
        return 0;
    if (unlinkat(entries->fd, name, 0) < 0 && errno != ENOENT)
        return fvm_fail_errno(error, errno, "cannot remove %s from %s", name, entries->path);
    if (S_ISREG(status.st_mode))
        *freed_bytes += (uint64_t)status.st_blocks * 512;
    return 0;
}

int fvm_cache_entry_clear(const struct fvm_cache_entries *entries, const char *key,
                          uint64_t *freed_bytes, struct flashvm_error *error)
{
    cleanup_close int lock_fd = -1;
    int locked = fvm_cache_try_lock(entries->fd, key, &lock_fd, error);

    if (locked <= 0) /* 0: its maker lives */
        return locked;
    /* The lock goes last: until then whoever wants to make the entry waits for us. */
    for (const char *const *ending = entries->endings; *ending; ending++) {
        cleanup_free char *name = fvm_format("%s%s", key, *ending);

        if (name == NULL)
            return fvm_fail_no_memory(error);
        if (remove_file(entries, name, freed_bytes, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_cache_json_write(int directory_fd, const char *name, const json_t *json,
                         struct flashvm_error *error)
{
    cleanup_free char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    cleanup_close int fd = -1;

    if (text == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_cache_begin_file(directory_fd, name, &fd, error) < 0)
        return -1;
    if (fvm_write_all(fd, text, strlen(text)) < 0) {
        fvm_fail_errno(error, errno, "cannot write %s in the cache", name);
    } else if (fvm_cache_publish_file(directory_fd, name, fd, 0444, error) == 0) {
        return 0;
    }
    fvm_cache_abandon_file(directory_fd, name);
    return -1;
}

json_t *fvm_cache_json_read(int directory_fd, const char *name, int64_t *ret_used_at)
{
    cleanup_close int fd = -1;
    cleanup_free char *data = NULL;
    struct stat status;
    size_t size;

    fd = fvm_cache_open_file(directory_fd, name, &status);
    if (fd < 0 || status.st_size <= 0 || status.st_size > JSON_BYTES_MAX)
        return NULL;
    size = (size_t)status.st_size;
    data = malloc(size);
    if (data == NULL || pread(fd, data, size, 0) != (ssize_t)size)
        return NULL;
    *ret_used_at = status.st_mtime;
    return json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
}
