/* SPDX-License-Identifier: MIT */
#include "run/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "run/request.h"

enum { PENDING_LOW = 256 * 1024 }; /* below that more is read */

int fvm_sender_begin_run(struct fvm_sender *sender, const struct fvm_run_spec *spec,
                         struct flashvm_error *error)
{
    sender->spec = spec;
    sender->stage = FVM_SENDER_FILES;
    return fvm_request_append_run(&sender->pending, spec, error);
}

/* ---- files ---- */

static int fail_changed(const char *path, struct flashvm_error *error)
{
    return fvm_fail(error, FLASHVM_IO,
                    "files_in: %s changed while the run was made ready; pass a copy that nobody "
                    "writes to",
                    path);
}

static int fail_read(const char *path, struct flashvm_error *error)
{
    return fvm_fail_errno(error, errno, "files_in: cannot read %s", path);
}

/*
 * Is the file still the one that was looked at when the run was prepared? Without this a symlink or
 * a half-written file could take its place.
 */
static bool is_as_before(const struct fvm_sender *sender, const struct fvm_file_in *file)
{
    struct stat status;

    return fstat(sender->file_fd, &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_dev == file->device && status.st_ino == file->inode &&
           (uint64_t)status.st_size == file->size &&
           status.st_mtim.tv_sec == file->modified.tv_sec &&
           status.st_mtim.tv_nsec == file->modified.tv_nsec;
}

/* O_NONBLOCK: a fifo that took the file's place must not hold us up. */
static int open_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                     struct flashvm_error *error)
{
    sender->file_fd = open(file->host_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (sender->file_fd < 0)
        return fail_read(file->host_path, error);
    return is_as_before(sender, file) ? 0 : fail_changed(file->host_path, error);
}

static int begin_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                      struct flashvm_error *error)
{
    sender->in_file = true;
    sender->file_left = file->size;
    if (file->host_path && open_file(sender, file, error) < 0)
        return -1;
    return fvm_request_append_file(&sender->pending, file->guest_path, file->size, file->executable,
                                   error);
}

static int end_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                    struct flashvm_error *error)
{
    if (file->host_path && !is_as_before(sender, file))
        return fail_changed(file->host_path, error);
    sender->in_file = false;
    sender->file++;
    fvm_cleanup_close(&sender->file_fd);
    sender->file_fd = -1;
    return fvm_request_append_frame(&sender->pending, FVM_FRAME_FILE_END, NULL, 0, error);
}

static int continue_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                         struct flashvm_error *error)
{
    char chunk[FVM_FRAME_MAX_PAYLOAD];
    size_t wanted = sender->file_left < sizeof chunk ? sender->file_left : sizeof chunk;
    const char *bytes = chunk;
    ssize_t count = (ssize_t)wanted;

    if (file->host_path)
        count = read(sender->file_fd, chunk, wanted);
    else
        bytes = (const char *)file->data + (file->size - sender->file_left);
    if (count < 0 && errno == EINTR)
        return 0;
    if (count < 0)
        return fail_read(file->host_path, error);
    if (count == 0)
        return fail_changed(file->host_path, error);
    sender->file_left -= (uint64_t)count;
    return fvm_request_append_frame(&sender->pending, FVM_FRAME_FILE_DATA, bytes, (size_t)count,
                                    error);
}

/*
 * An open file of our own for a pipe or a terminal, so that reading never waits: another process
 * may share the caller's and have taken what poll() saw. (Setting O_NONBLOCK there would change it
 * for all of them. A fifo with a name is left alone: opened again it would not tell of its end.)
 * Return: -1 when there can be none.
 */
static int reopen_stdin(int fd)
{
    cleanup_free char *path = fvm_format("/proc/self/fd/%d", fd);
    struct statfs system;

    if (path == NULL ||
        (!isatty(fd) && (fstatfs(fd, &system) < 0 || system.f_type != PIPEFS_MAGIC)))
        return -1;
    return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* All files are sent: the run may begin. */
static int end_files(struct fvm_sender *sender, struct flashvm_error *error)
{
    sender->stage = FVM_SENDER_STDIN;
    sender->own_stdin_fd = sender->spec->stdin_fd < 0 ? -1 : reopen_stdin(sender->spec->stdin_fd);
    if (fvm_request_append_frame(&sender->pending, FVM_FRAME_RUN, NULL, 0, error) < 0)
        return -1;
    if (sender->spec->stdin_fd >= 0)
        return 0;
    sender->stage = FVM_SENDER_BUFFER;
    return fvm_request_append_frame(&sender->pending, FVM_FRAME_STDIN_END, NULL, 0, error);
}

static int refill(struct fvm_sender *sender, struct flashvm_error *error)
{
    while (sender->stage == FVM_SENDER_FILES && sender->pending.size < PENDING_LOW) {
        const struct fvm_run_spec *spec = sender->spec;
        int outcome;

        if (sender->file == spec->file_in_count)
            outcome = end_files(sender, error);
        else if (!sender->in_file)
            outcome = begin_file(sender, &spec->files_in[sender->file], error);
        else if (sender->file_left > 0)
            outcome = continue_file(sender, &spec->files_in[sender->file], error);
        else
            outcome = end_file(sender, &spec->files_in[sender->file], error);
        if (outcome < 0)
            return -1;
    }
    return 0;
}

bool fvm_sender_has_more(const struct fvm_sender *sender)
{
    return sender->pending.size > 0 || sender->stage == FVM_SENDER_FILES;
}

int fvm_sender_send(struct fvm_sender *sender, int channel_fd, struct flashvm_error *error)
{
    ssize_t count;

    if (refill(sender, error) < 0)
        return -1;
    count = send(channel_fd, sender->pending.data, sender->pending.size, MSG_NOSIGNAL);
    if (count >= 0) {
        fvm_buffer_consume(&sender->pending, (size_t)count);
    } else if (errno != EAGAIN && errno != EINTR) {
        /* A guest that takes no more may still have said why: that is for the reader to find. */
        fvm_buffer_consume(&sender->pending, sender->pending.size);
        sender->stage = FVM_SENDER_BUFFER;
    }
    return 0;
}

/* ---- standard input ---- */

static int stdin_of(const struct fvm_sender *sender)
{
    return sender->own_stdin_fd >= 0 ? sender->own_stdin_fd : sender->spec->stdin_fd;
}

int fvm_sender_wants(const struct fvm_sender *sender)
{
    return sender->stage == FVM_SENDER_STDIN && sender->pending.size < PENDING_LOW
               ? stdin_of(sender)
               : -1;
}

/* A read that does not wait where the kernel can promise that (see reopen_stdin). */
static ssize_t read_now(int fd, char *chunk, size_t size)
{
    const struct iovec vector = {.iov_base = chunk, .iov_len = size};
    ssize_t count = recv(fd, chunk, size, MSG_DONTWAIT);
    struct stat status;

    if (count < 0 && errno == ENOTSOCK)
        count = preadv2(fd, &vector, 1, -1, RWF_NOWAIT);
    if (count >= 0 || (errno != EOPNOTSUPP && errno != EAGAIN))
        return count;
    /* A file that is not in memory has to be waited for. */
    if (errno == EAGAIN && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)))
        return -1;
    return read(fd, chunk, size);
}

int fvm_sender_take_stdin(struct fvm_sender *sender, struct flashvm_error *error)
{
    char chunk[FVM_FRAME_MAX_PAYLOAD];
    ssize_t count = read_now(stdin_of(sender), chunk, sizeof chunk);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (count < 0)
        return fvm_fail_errno(error, errno, "cannot read the snippet's standard input");
    if (count > 0)
        return fvm_request_append_frame(&sender->pending, FVM_FRAME_STDIN, chunk, (size_t)count,
                                        error);
    sender->stage = FVM_SENDER_BUFFER;
    return fvm_request_append_frame(&sender->pending, FVM_FRAME_STDIN_END, NULL, 0, error);
}

void fvm_sender_finish(struct fvm_sender *sender)
{
    fvm_cleanup_close(&sender->file_fd);
    fvm_cleanup_close(&sender->own_stdin_fd);
    sender->file_fd = sender->own_stdin_fd = -1;
    fvm_buffer_finish(&sender->pending);
}
