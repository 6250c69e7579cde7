/* SPDX-License-Identifier: MIT */
#include "run/result.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "protocol/frame.h"

/* A directory without a lock may just be about to get one. */
enum { STALE_AFTER_SECONDS = 60 };

struct fvm_result *fvm_result_new(void)
{
    struct fvm_result *result = calloc(1, sizeof *result);

    if (result)
        result->directory_fd = result->file_fd = -1;
    return result;
}

static const char *temporary_directory(void)
{
    const char *directory = secure_getenv("TMPDIR");

    return directory && directory[0] == '/' ? directory : "/tmp";
}

/* Is it a result directory of this user whose process is gone? */
static bool is_stale(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() &&
           time(NULL) - status.st_mtime > STALE_AFTER_SECONDS && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/*
 * A process that was killed while it held a result could not remove its directory. (One that is
 * killed during a run is cleaned up after by flashvm-jail.)
 */
static void remove_stale(const char *parent, const char *prefix)
{
    cleanup_dir DIR *directory = opendir(parent);
    struct dirent *entry;

    while (directory && (entry = readdir(directory)) != NULL) {
        cleanup_free char *path = NULL;

        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        path = fvm_format("%s/%s", parent, entry->d_name);
        if (path && is_stale(path))
            fvm_remove_tree(path);
    }
}

int fvm_result_make_directory(struct fvm_result *result, struct flashvm_error *error)
{
    const char *parent = temporary_directory();
    cleanup_free char *prefix = fvm_format("flashvm-%u-", geteuid());
    cleanup_free char *path = prefix ? fvm_format("%s/%sXXXXXX", parent, prefix) : NULL;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (strlen(path) + 1 + FVM_FILE_PATH_MAX >= PATH_MAX)
        return fvm_fail(error, FLASHVM_IO,
                        "the path of the directory for temporary files has %zu bytes, which is too "
                        "long; set TMPDIR to another",
                        strlen(parent));
    remove_stale(parent, prefix);
    if (mkdtemp(path) == NULL)
        return fvm_fail_errno(
            error, errno,
            "cannot make a directory for artifacts in %s (TMPDIR can name another place)", parent);
    result->directory = steal_pointer(path);
    result->directory_fd = open(result->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (result->directory_fd < 0 || flock(result->directory_fd, LOCK_EX | LOCK_NB) < 0)
        return fvm_fail_errno(error, errno, "cannot lock %s", result->directory);
    return 0;
}

/* The directory was empty: what is in the way came from the guest. */
static int fail_create(const struct fvm_result *result, const char *path,
                       struct flashvm_error *error)
{
    if (errno == EEXIST || errno == ENOTDIR || errno == EISDIR)
        return fvm_fail(error, FLASHVM_GUEST_FAILED,
                        "the guest sent two artifacts that cannot both be at %s", path);
    return fvm_fail_errno(error, errno, "cannot create %s/%s", result->directory, path);
}

/* Create the file and the directories above it, all inside our own directory. */
static int create_file(struct fvm_result *result, const char *guest_path,
                       struct flashvm_error *error)
{
    cleanup_free char *path = strdup(guest_path);

    if (path == NULL)
        return fvm_fail_no_memory(error);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(result->directory_fd, path, 0700) < 0 && errno != EEXIST)
            return fail_create(result, path, error);
        *slash = '/';
    }
    result->file_fd = openat(result->directory_fd, path,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (result->file_fd < 0)
        return fail_create(result, path, error);
    return 0;
}

int fvm_result_artifact_begin(struct fvm_result *result, const char *guest_path, uint64_t size,
                              struct flashvm_error *error)
{
    struct flashvm_artifact *artifact;

    if (result->directory == NULL || result->file_fd >= 0)
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "the guest sent an artifact out of turn");
    if (result->artifact_count == result->artifact_capacity) {
        size_t capacity = result->artifact_capacity ? 2 * result->artifact_capacity : 16;
        struct flashvm_artifact *grown =
            reallocarray(result->artifacts, capacity, sizeof *result->artifacts);

        if (grown == NULL)
            return fvm_fail_no_memory(error);
        result->artifacts = grown;
        result->artifact_capacity = capacity;
    }
    if (create_file(result, guest_path, error) < 0)
        return -1;
    artifact = &result->artifacts[result->artifact_count++];
    *artifact = (struct flashvm_artifact){
        .guest_path = strdup(guest_path),
        .host_path = fvm_format("%s/%s", result->directory, guest_path),
        .size_bytes = size,
    };
    result->file_left = size;
    sha256_init(&result->file_digest);
    if (artifact->guest_path == NULL || artifact->host_path == NULL)
        return fvm_fail_no_memory(error);
    return 0;
}

int fvm_result_artifact_data(struct fvm_result *result, const void *data, size_t size,
                             struct flashvm_error *error)
{
    if (result->file_fd < 0 || size > result->file_left)
        return fvm_fail(error, FLASHVM_GUEST_FAILED,
                        "the guest sent more of an artifact than it said");
    if (fvm_write_all(result->file_fd, data, size) < 0)
        return fvm_fail_errno(error, errno, "cannot write %s",
                              result->artifacts[result->artifact_count - 1].host_path);
    sha256_update(&result->file_digest, size, data);
    result->file_left -= size;
    return 0;
}

int fvm_result_artifact_end(struct fvm_result *result, struct flashvm_error *error)
{
    struct flashvm_artifact *artifact;

    if (result->file_fd < 0 || result->file_left > 0)
        return fvm_fail(error, FLASHVM_GUEST_FAILED,
                        "the guest sent less of an artifact than it said");
    artifact = &result->artifacts[result->artifact_count - 1];
    fvm_sha256_hex(&result->file_digest, artifact->sha256);
    result->artifact_bytes += artifact->size_bytes;
    close(result->file_fd);
    result->file_fd = -1;
    return 0;
}

static void artifact_finish(struct flashvm_artifact *artifact)
{
    free((char *)artifact->guest_path);
    free((char *)artifact->host_path);
}

void fvm_result_artifact_abandon(struct fvm_result *result)
{
    if (result->file_fd < 0)
        return;
    close(result->file_fd);
    result->file_fd = -1;
    artifact_finish(&result->artifacts[--result->artifact_count]);
}

/* A process of the snippet that was killed takes the snippet's own with it, by SIGKILL. */
static const char *limit_that_ended(const struct flashvm_result *result)
{
    if (result->timed_out)
        return "timeout";
    return result->oom_killed && result->term_signal == SIGKILL ? "memory" : NULL;
}

void fvm_result_complete(struct fvm_result *result)
{
    struct flashvm_result *public = &result->public;

    public->stdout_data = result->out.data ? result->out.data : "";
    public->stdout_size = result->out.size;
    public->stderr_data = result->err.data ? result->err.data : "";
    public->stderr_size = result->err.size;
    public->stdout_truncated = public->stdout_bytes > public->stdout_size;
    public->stderr_truncated = public->stderr_bytes > public->stderr_size;
    public->ended_by_limit = limit_that_ended(public);
    public->artifacts = result->artifacts;
    public->artifact_count = result->artifact_count;
}

void fvm_result_free(struct fvm_result *result)
{
    if (result == NULL)
        return;
    fvm_result_artifact_abandon(result);
    for (size_t i = 0; i < result->artifact_count; i++)
        artifact_finish(&result->artifacts[i]);
    free(result->artifacts);
    if (result->directory)
        fvm_remove_tree(result->directory);
    fvm_cleanup_close(&result->directory_fd);
    free(result->directory);
    fvm_buffer_finish(&result->out);
    fvm_buffer_finish(&result->err);
    free((char *)result->public.image_used);
    free((char *)result->public.artifacts_note);
    free(result);
}
