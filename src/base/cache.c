/* SPDX-License-Identifier: MIT */
#include "base/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"

enum { DIRECTORY_MODE = 0700, WRITABLE_BY_OTHERS = S_IWGRP | S_IWOTH };

/* ---- where it is ----------------------------------------------------------------------------- */

/* The user's home by the password database. To be freed; NULL when there is none. */
static char *home_of_user(void)
{
    enum { BUFFER_SIZE = 16 * 1024 };
    cleanup_free char *buffer = malloc(BUFFER_SIZE);
    struct passwd entry;
    struct passwd *found = NULL;

    if (buffer == NULL || getpwuid_r(geteuid(), &entry, buffer, BUFFER_SIZE, &found) != 0 ||
        found == NULL || found->pw_dir[0] != '/')
        return NULL;
    return strdup(found->pw_dir);
}

/* XDG: "If an implementation encounters a relative path [...] it should [...] ignore it." */
static char *default_path(struct flashvm_error *error)
{
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    cleanup_free char *passwd_home = NULL;
    char *path;

    if (xdg && xdg[0] == '/') {
        path = fvm_format("%s/flashvm", xdg);
    } else {
        if (home == NULL || home[0] != '/')
            home = passwd_home = home_of_user(); // NOLINT(*DeadStores): cleanup_free reads it
        if (home == NULL) {
            fvm_fail(error, FLASHVM_NOT_FOUND,
                     "no place for the cache: neither XDG_CACHE_HOME nor HOME is an absolute path, "
                     "and user id %u has no home directory; set XDG_CACHE_HOME or give a cache "
                     "directory",
                     (unsigned)geteuid());
            return NULL;
        }
        path = fvm_format("%s/.cache/flashvm", home);
    }
    if (path == NULL)
        fvm_fail_no_memory(error);
    return path;
}

static char *given_path(const char *path, struct flashvm_error *error)
{
    if (path[0] == '\0') {
        fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "the cache directory's name is empty");
        return NULL;
    }
    return fvm_absolute_path(path, error);
}

/* ---- whose it is ----------------------------------------------------------------------------- */

static int check_directory(const char *path, const struct stat *status, struct flashvm_error *error)
{
    if (status->st_uid != geteuid())
        return fvm_fail(
            error, FLASHVM_CACHE_UNSAFE,
            "the cache directory %s belongs to user id %u, but this process runs as user "
            "id %u; remove it, change its owner, or name another by FLASHVM_CACHE_DIR or "
            "XDG_CACHE_HOME",
            path, (unsigned)status->st_uid, (unsigned)geteuid());
    if (status->st_mode & WRITABLE_BY_OTHERS)
        return fvm_fail(
            error, FLASHVM_CACHE_UNSAFE,
            "the cache directory %s can be written by other users (its mode is %04o); if "
            "they are trusted not to have changed it, run: chmod go-w %s",
            path, status->st_mode & 07777, path);
    return 0;
}

/* A symlink to the cache directory itself is the user's choice; below it there are none. */
static int open_checked(int base_fd, const char *name, const char *path, int flags, int *ret_fd,
                        struct flashvm_error *error)
{
    cleanup_close int fd = openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    struct stat status;

    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return fvm_fail(error, FLASHVM_CACHE_UNSAFE,
                        "%s cannot be a cache directory: it is not a directory; move it away, or "
                        "name another place by FLASHVM_CACHE_DIR or XDG_CACHE_HOME",
                        path);
    if (fd < 0 || fstat(fd, &status) < 0)
        return fvm_fail_errno(error, errno, "cannot open the cache directory %s", path);
    if (check_directory(path, &status, error) < 0)
        return -1;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int check_parts(const char *path, int fd, struct flashvm_error *error)
{
    int listing_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *listing = listing_fd < 0 ? NULL : fdopendir(listing_fd);
    struct dirent *entry;

    if (listing == NULL) {
        int failure = errno;

        fvm_cleanup_close(&listing_fd);
        return fvm_fail_errno(error, failure, "cannot list the cache directory %s", path);
    }
    while ((entry = readdir(listing)) != NULL) {
        cleanup_free char *part = NULL;
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(status.st_mode))
            continue;
        part = fvm_format("%s/%s", path, entry->d_name);
        if (part == NULL)
            return fvm_fail_no_memory(error);
        if (check_directory(part, &status, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_cache_open(const char *cache_dir, char **ret_path, struct flashvm_error *error)
{
    cleanup_free char *path = cache_dir ? given_path(cache_dir, error) : default_path(error);
    cleanup_close int fd = -1;

    if (path == NULL)
        return -1;
    if (fvm_make_directories(path, DIRECTORY_MODE, error) < 0)
        return fvm_fail_context(
            error, "no place for the cache (FLASHVM_CACHE_DIR can name a directory for it)");
    if (open_checked(AT_FDCWD, path, path, 0, &fd, error) < 0 || check_parts(path, fd, error) < 0)
        return -1;
    *ret_path = steal_pointer(path);
    return 0;
}

int fvm_cache_open_directory(const char *cache_path, const char *name, bool make, int *ret_fd,
                             struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/%s", cache_path, name);
    cleanup_close int cache_fd = -1;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (open_checked(AT_FDCWD, cache_path, cache_path, 0, &cache_fd, error) < 0)
        return -1;
    if (make && mkdirat(cache_fd, name, DIRECTORY_MODE) < 0 && errno != EEXIST)
        return fvm_fail_errno(
            error, errno, "cannot make the cache directory %s (FLASHVM_CACHE_DIR can name another)",
            path);
    return open_checked(cache_fd, name, path, O_NOFOLLOW, ret_fd, error);
}

/* ---- entries --------------------------------------------------------------------------------- */

/* Whatever else is in the place of a file is replaced; a directory may hold something of value. */
static int fail_file(const char *what, const char *name, struct flashvm_error *error)
{
    if (errno == EISDIR)
        return fvm_fail(error, FLASHVM_CACHE_UNSAFE,
                        "%s is in the way of a file of the cache: it is a directory; remove it",
                        name);
    return fvm_fail_errno(error, errno, "cannot %s %s in the cache", what, name);
}

/* Whoever clears the cache removes locks too, while holding them: such a file locks nothing. */
static bool is_in_its_place(int directory_fd, const char *name, int fd)
{
    struct stat held, named;

    return fstat(fd, &held) == 0 && fstatat(directory_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/*
 * Open and lock a file, without waiting.
 * Return: 1 and *ret_fd, 0 when the lock is not free or the file is not in its place any more, -1.
 */
static int lock_file(int directory_fd, const char *name, int *ret_fd, struct flashvm_error *error)
{
    cleanup_close int fd =
        openat(directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return fail_file("open the lock", name, error);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? 0
                   : fvm_fail_errno(error, errno, "cannot lock %s in the cache", name);
    if (!is_in_its_place(directory_fd, name, fd))
        return 0;
    *ret_fd = steal_fd(&fd);
    return 1;
}

int fvm_cache_try_lock(int directory_fd, const char *key, int *ret_fd, struct flashvm_error *error)
{
    cleanup_free char *name = fvm_format("%s.lock", key);

    if (name == NULL)
        return fvm_fail_no_memory(error);
    return lock_file(directory_fd, name, ret_fd, error);
}

/* Nothing tells of a lock that is given back while one also waits for the caller: so it is tried
 * again and again. */
int fvm_cache_lock(int directory_fd, const char *key, struct fvm_caller *caller,
                   const char *waiting, int *ret_fd, struct flashvm_error *error)
{
    enum { FIRST_PAUSE_MS = 5, LAST_PAUSE_MS = 100 };
    cleanup_free char *name = fvm_format("%s.lock", key);
    int pause_ms = FIRST_PAUSE_MS, locked;

    if (name == NULL)
        return fvm_fail_no_memory(error);
    while ((locked = lock_file(directory_fd, name, ret_fd, error)) == 0) {
        if (pause_ms == FIRST_PAUSE_MS)
            fvm_caller_tell(caller, waiting);
        if (fvm_caller_pause(caller, pause_ms, error) < 0)
            return -1;
        pause_ms = 2 * pause_ms < LAST_PAUSE_MS ? 2 * pause_ms : LAST_PAUSE_MS;
    }
    return locked < 0 ? -1 : 0;
}

static char *temporary_name(const char *name)
{
    return fvm_format("%s.tmp", name);
}

int fvm_cache_begin_file(int directory_fd, const char *name, int *ret_fd,
                         struct flashvm_error *error)
{
    cleanup_free char *temporary = temporary_name(name);
    int fd;

    if (temporary == NULL)
        return fvm_fail_no_memory(error);
    if (unlinkat(directory_fd, temporary, 0) < 0 && errno != ENOENT)
        return fail_file("remove", temporary, error);
    fd = openat(directory_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_file("make", temporary, error);
    *ret_fd = fd;
    return 0;
}

int fvm_cache_publish_file(int directory_fd, const char *name, int fd, mode_t mode,
                           struct flashvm_error *error)
{
    cleanup_free char *temporary = temporary_name(name);

    if (temporary == NULL)
        return fvm_fail_no_memory(error);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        renameat(directory_fd, temporary, directory_fd, name) < 0 || fsync(directory_fd) < 0)
        return fail_file("complete", name, error);
    return 0;
}

void fvm_cache_abandon_file(int directory_fd, const char *name)
{
    cleanup_free char *temporary = temporary_name(name);

    if (temporary)
        unlinkat(directory_fd, temporary, 0);
}

int fvm_cache_open_file(int directory_fd, const char *name, struct stat *ret_status)
{
    cleanup_close int fd =
        openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
        status.st_uid != geteuid() || (status.st_mode & WRITABLE_BY_OTHERS))
        return -1;
    *ret_status = status;
    return steal_fd(&fd);
}
