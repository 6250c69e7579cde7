/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "log.h"

#define WORK "/work"

static int make_owned(int directory_fd, const char *path, const struct account *account)
{
    if (mkdirat(directory_fd, path, 0755) < 0)
        return errno == EEXIST ? 0 : -1;
    return fchownat(directory_fd, path, account->uid, account->gid, AT_SYMLINK_NOFOLLOW);
}

int work_directory_make(const struct account *account)
{
    int fd = open(WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fchown(fd, account->uid, account->gid) < 0 || fchmod(fd, 0755) < 0 ||
        make_owned(fd, "out", account) < 0)
        agent_die_errno("cannot make " WORK "/out");
    return fd;
}

/* With the account's rights to files, which the agent then has for a moment. */
static int try_to_enter(const char *workdir, const struct account *account)
{
    int outcome, saved_errno;

    setfsgid(account->gid);
    setfsuid(account->uid);
    outcome = chdir(workdir);
    saved_errno = errno;
    setfsuid(0);
    setfsgid(0);
    if (chdir("/") < 0)
        agent_die_errno("cannot go back to /");
    errno = saved_errno;
    return outcome;
}

int workdir_prepare(const char *workdir, const struct account *account)
{
    cleanup_free char *partial = strdup(workdir);

    if (partial == NULL)
        return -1;
    for (char *slash = partial + 1; *slash; slash++) {
        if (*slash != '/')
            continue;
        *slash = '\0';
        if (make_owned(AT_FDCWD, partial, account) < 0)
            return -1;
        *slash = '/';
    }
    if (make_owned(AT_FDCWD, partial, account) < 0)
        return -1;
    return try_to_enter(workdir, account);
}

/* Nothing of the snippet runs yet, so the path's parents cannot be exchanged meanwhile. */
static int create_file(int work_fd, char *path, const struct account *account)
{
    int fd;

    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_owned(work_fd, path, account) < 0)
            return -1;
        *slash = '/';
    }
    fd = openat(work_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0 && fchown(fd, account->uid, account->gid) < 0)
        fvm_cleanup_close(&fd), fd = -1;
    return fd;
}

const char *receiver_take(struct receiver *receiver, const struct fvm_frame *frame,
                          const struct account *account)
{
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t size;

    errno = 0;
    switch (frame->type) {
    case FVM_FRAME_FILE:
        if (receiver->file_fd >= 0 || fvm_frame_parse_file(frame, &size, path) < 0)
            return "the host sent a bad FILE frame";
        receiver->file_fd = create_file(receiver->work_fd, path, account);
        return receiver->file_fd < 0 ? "cannot create a file in " WORK : NULL;
    case FVM_FRAME_FILE_DATA:
        if (receiver->file_fd < 0)
            return "the host sent data without a file";
        for (size_t done = 0; done < frame->size;) {
            ssize_t count = write(receiver->file_fd, frame->payload + done, frame->size - done);

            if (count < 0 && errno == ENOSPC)
                return "files_in do not fit: files live in the guest's memory, and may take half "
                       "of it (memory_mb)";
            if (count < 0)
                return "cannot write a file in " WORK;
            done += (size_t)count;
        }
        return NULL;
    default: /* FILE_END */
        fvm_cleanup_close(&receiver->file_fd);
        receiver->file_fd = -1;
        return NULL;
    }
}
