/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "log.h"

#define WORK "/work"
#define MAIN "main.py"

enum { PAGE_SIZE = 4096 };

static int make_owned(int directory_fd, const char *path, const struct account *account)
{
    if (mkdirat(directory_fd, path, 0755) < 0)
        return errno == EEXIST ? 0 : -1;
    return fchownat(directory_fd, path, account->uid, account->gid, AT_SYMLINK_NOFOLLOW);
}

/* The image may have it, and then it is another user's. */
static void make_directory(int work, const char *name, const struct account *account)
{
    if (make_owned(work, name, account) < 0 ||
        fchownat(work, name, account->uid, account->gid, AT_SYMLINK_NOFOLLOW) < 0)
        agent_die_errno("cannot make " WORK "/%s", name);
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
    cleanup_free char *partial = NULL;

    if (strcmp(workdir, WORK) == 0)
        return 0; /* made long ago */
    partial = strdup(workdir);
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
static int create_file(int work, char *path, mode_t mode, const struct account *account)
{
    int fd;

    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_owned(work, path, account) < 0)
            return -1;
        *slash = '/';
    }
    if (unlinkat(work, path, 0) < 0 && errno != ENOENT) /* the image may have one */
        return -1;
    fd = openat(work, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0 && (fchown(fd, account->uid, account->gid) < 0 || fchmod(fd, mode) < 0))
        fvm_cleanup_close(&fd), fd = -1;
    return fd;
}

void work_make(const struct account *account, struct work *ret_work)
{
    int fd = open(WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char main_name[] = MAIN;

    if (fd < 0 || fchown(fd, account->uid, account->gid) < 0 || fchmod(fd, 0755) < 0)
        agent_die_errno("cannot make " WORK);
    make_directory(fd, "in", account);
    make_directory(fd, "out", account);
    *ret_work = (struct work){fd, create_file(fd, main_name, 0644, account)};
    if (ret_work->main_fd < 0)
        agent_die_errno("cannot make " WORK "/" MAIN);
}

void work_clear(const struct work *work)
{
    if (ftruncate(work->main_fd, 0) < 0 || lseek(work->main_fd, 0, SEEK_SET) < 0)
        agent_die_errno("cannot empty " MAIN);
}

static const char *begin_file(struct receiver *receiver, const struct fvm_frame *frame,
                              const struct account *account)
{
    char path[FVM_FILE_PATH_MAX + 1];
    bool executable;
    uint64_t size;

    if (receiver->file_fd >= 0 || fvm_frame_parse_file(frame, &size, &executable, path) < 0)
        return "the host sent a bad FILE frame";
    if (strcmp(path, MAIN) == 0) {
        receiver->file_fd = receiver->work->main_fd;
        return NULL;
    }
    receiver->file_fd =
        create_file(receiver->work->directory, path, executable ? 0755 : 0644, account);
    receiver->bytes += (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    return receiver->file_fd < 0 ? "cannot create a file in " WORK : NULL;
}

static const char *write_file(struct receiver *receiver, const char *data, size_t size)
{
    if (receiver->file_fd < 0)
        return "the host sent data without a file";
    while (size > 0) {
        ssize_t count = write(receiver->file_fd, data, size);

        if (count < 0 && errno == ENOSPC)
            return "files_in do not fit: files live in the guest's memory, and may take half of it "
                   "(memory_mb)";
        if (count < 0)
            return "cannot write a file in " WORK;
        data += count;
        size -= (size_t)count;
    }
    return NULL;
}

const char *receiver_take(struct receiver *receiver, const struct fvm_frame *frame,
                          const struct account *account)
{
    errno = 0;
    if (frame->type == FVM_FRAME_FILE)
        return begin_file(receiver, frame, account);
    if (frame->type == FVM_FRAME_FILE_DATA)
        return write_file(receiver, frame->payload, frame->size);
    if (receiver->file_fd != receiver->work->main_fd)
        fvm_cleanup_close(&receiver->file_fd);
    receiver->file_fd = -1;
    return NULL;
}
