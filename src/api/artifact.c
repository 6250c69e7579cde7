/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/files.h"
#include "protocol/frame.h"

enum { COPY_CHUNK = 65536 };

/*
 * Open the directory that is to hold the file, one component at a time and never through a symlink,
 * so that not even somebody who changes the tree meanwhile can lead the way out of it.
 * @path: is taken apart; @ret_name: the last component.
 * Return: a descriptor, or -1 with errno set.
 */
static int open_parent(const char *directory, char *path, const char **ret_name)
{
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *slash;

    for (; fd >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        int child;

        *slash = '\0';
        if (mkdirat(fd, path, 0777) < 0 && errno != EEXIST)
            return -1;
        child = openat(fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0)
            return -1;
        close(fd);
        fd = child;
    }
    *ret_name = path;
    return steal_fd(&fd);
}

static int copy_bytes(int source, int target)
{
    char chunk[COPY_CHUNK];

    for (;;) {
        ssize_t count = read(source, chunk, sizeof chunk);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return (int)count;
        if (fvm_write_all(target, chunk, (size_t)count) < 0)
            return -1;
    }
}

/* Copy `host_path` to a new file that takes its name when it is complete. Return: 0, or -1 with
 * errno. */
static int copy_and_rename(const char *host_path, int parent, const char *name)
{
    cleanup_close int source = open(host_path, O_RDONLY | O_CLOEXEC);
    char temporary[32];
    uint64_t random;
    int target, status;

    if (source < 0 || getrandom(&random, sizeof random, 0) != sizeof random)
        return -1;
    snprintf(temporary, sizeof temporary, ".flashvm-%016jx", (uintmax_t)random);
    target = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (target < 0)
        return -1;
    status = copy_bytes(source, target);
    if (close(target) < 0) /* where some file systems tell that there was no room */
        status = -1;
    if (status == 0)
        status = renameat(parent, temporary, parent, name);
    if (status < 0) {
        int saved_errno = errno;

        unlinkat(parent, temporary, 0);
        errno = saved_errno;
    }
    return status;
}

static int save(const struct flashvm_artifact *artifact, const char *directory, char **ret_path,
                struct flashvm_error *error)
{
    cleanup_free char *taken_apart = strdup(artifact->guest_path);
    cleanup_free char *path = fvm_format("%s/%s", directory, artifact->guest_path);
    cleanup_close int parent = -1;
    const char *name;

    if (taken_apart == NULL || path == NULL)
        return fvm_fail_no_memory(error);
    if (!fvm_file_path_is_safe(artifact->guest_path, strlen(artifact->guest_path)))
        return fvm_fail(error, FLASHVM_GUEST_FAILED,
                        "cannot save the artifact '%s': that is not a plain relative path",
                        artifact->guest_path);
    if (fvm_make_directories(directory, 0777, error) < 0)
        return -1;
    parent = open_parent(directory, taken_apart, &name);
    if (parent < 0 || copy_and_rename(artifact->host_path, parent, name) < 0)
        return fvm_fail_errno(error, errno, "cannot save the artifact '%s' in %s",
                              artifact->guest_path, directory);
    *ret_path = steal_pointer(path);
    return 0;
}

int flashvm_artifact_save(const struct flashvm_artifact *artifact, const char *directory,
                          char **ret_path, struct flashvm_error *error)
{
    struct flashvm_error own = {0};
    char *path = NULL;

    if (save(artifact, directory, &path, &own) < 0)
        return fvm_error_return(&own, error);
    if (ret_path)
        *ret_path = path;
    else
        free(path);
    return FLASHVM_OK;
}
