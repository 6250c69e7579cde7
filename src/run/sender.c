/* SPDX-License-Identifier: MIT */
#include "run/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
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
    return fvm_fail(error, FLASHVM_IO, "the file %s changed while it was sent to the guest", path);
}

static int fail_read(const char *path, struct flashvm_error *error)
{
    return fvm_fail_errno(error, errno, "cannot read the file %s for the snippet", path);
}

/* O_NONBLOCK: a fifo that took the file's place must not hold us up. */
static int open_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                     struct flashvm_error *error)
{
    struct stat status;

    sender->file_fd = open(file->host_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (sender->file_fd < 0 || fstat(sender->file_fd, &status) < 0)
        return fail_read(file->host_path, error);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != file->size)
        return fail_changed(file->host_path, error);
    return 0;
}

static int begin_file(struct fvm_sender *sender, const struct fvm_file_in *file,
                      struct flashvm_error *error)
{
    sender->in_file = true;
    sender->file_left = file->size;
    if (file->host_path && open_file(sender, file, error) < 0)
        return -1;
    return fvm_request_append_file(&sender->pending, file->guest_path, file->size, error);
}

static int end_file(struct fvm_sender *sender, struct flashvm_error *error)
{
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

/* All files are sent: the run may begin. */
static int end_files(struct fvm_sender *sender, struct flashvm_error *error)
{
    sender->stage = FVM_SENDER_STDIN;
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
            outcome = end_file(sender, error);
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

int fvm_sender_wants(const struct fvm_sender *sender)
{
    return sender->stage == FVM_SENDER_STDIN && sender->pending.size < PENDING_LOW
               ? sender->spec->stdin_fd
               : -1;
}

/*
 * A read that does not wait where the kernel can promise that: another process may share the
 * descriptor and have taken what poll() saw. (Setting O_NONBLOCK would change it for all of them.)
 */
static ssize_t read_now(int fd, char *chunk, size_t size)
{
    const struct iovec vector = {.iov_base = chunk, .iov_len = size};
    struct stat status;
    ssize_t count = preadv2(fd, &vector, 1, -1, RWF_NOWAIT);

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
    ssize_t count = read_now(sender->spec->stdin_fd, chunk, sizeof chunk);

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
    sender->file_fd = -1;
    fvm_buffer_finish(&sender->pending);
}
