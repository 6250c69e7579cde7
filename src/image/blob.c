/* SPDX-License-Identifier: MIT */
#include "image/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"

static const char digest_prefix[] = "sha256:";
enum { DIGEST_PREFIX_SIZE = sizeof digest_prefix - 1 };

bool fvm_digest_is_valid(const char *digest)
{
    return strncmp(digest, digest_prefix, DIGEST_PREFIX_SIZE) == 0 &&
           strlen(digest) == FVM_DIGEST_SIZE - 1 &&
           strspn(digest + DIGEST_PREFIX_SIZE, "0123456789abcdef") == 2 * SHA256_DIGEST_SIZE;
}

void fvm_digest_finish(struct sha256_ctx *context, char ret_digest[FVM_DIGEST_SIZE])
{
    memcpy(ret_digest, digest_prefix, DIGEST_PREFIX_SIZE);
    fvm_sha256_hex(context, ret_digest + DIGEST_PREFIX_SIZE);
}

int fvm_blob_open(int layout_fd, const struct fvm_descriptor *descriptor, struct fvm_blob *ret_blob,
                  struct flashvm_error *error)
{
    cleanup_free char *path = NULL;
    cleanup_close int fd = -1;
    struct stat status;

    if (!fvm_digest_is_valid(descriptor->digest))
        return fvm_fail(error, FLASHVM_INTERNAL, "a blob was asked for by an unchecked digest");
    path = fvm_format("blobs/sha256/%s", descriptor->digest + DIGEST_PREFIX_SIZE);
    if (path == NULL)
        return fvm_fail_no_memory(error);
    /* Not blocking, or a fifo in the blob's place would hang the caller. */
    fd = openat(layout_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the blob %s is missing", descriptor->digest);
    if (fd < 0 || fstat(fd, &status) < 0)
        return fvm_fail_errno(error, errno, "cannot read the blob %s", descriptor->digest);
    if (!S_ISREG(status.st_mode))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the blob %s is not a regular file",
                        descriptor->digest);
    if ((uint64_t)status.st_size != descriptor->size_bytes)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the blob %s is damaged: it has %ju bytes, its descriptor says %ju",
                        descriptor->digest, (uintmax_t)status.st_size,
                        (uintmax_t)descriptor->size_bytes);
    *ret_blob = (struct fvm_blob){.fd = steal_fd(&fd), .descriptor = *descriptor};
    sha256_init(&ret_blob->sha256);
    return 0;
}

ssize_t fvm_blob_read(struct fvm_blob *blob, void *buffer, size_t size)
{
    uint64_t left = blob->descriptor.size_bytes - blob->read_bytes;
    ssize_t count;

    if (blob->caller && !blob->is_cancelled)
        blob->is_cancelled = fvm_caller_check(blob->caller, NULL) < 0;
    if (blob->is_cancelled) {
        errno = ECANCELED;
        return -1;
    }
    if (size > left)
        size = (size_t)left; /* never more than promised, even of a file that grows */
    do
        count = read(blob->fd, buffer, size);
    while (count < 0 && errno == EINTR);
    if (count > 0) {
        sha256_update(&blob->sha256, (size_t)count, buffer);
        blob->read_bytes += (uint64_t)count;
    }
    return count;
}

int fvm_blob_verify(struct fvm_blob *blob, struct flashvm_error *error)
{
    enum { BUFFER_SIZE = 64 * 1024 };
    cleanup_free char *buffer = malloc(BUFFER_SIZE);
    char digest[FVM_DIGEST_SIZE];
    ssize_t count;

    if (buffer == NULL)
        return fvm_fail_no_memory(error);
    while ((count = fvm_blob_read(blob, buffer, BUFFER_SIZE)) > 0)
        ;
    if (count < 0)
        return fvm_fail_errno(error, errno, "cannot read the blob %s", blob->descriptor.digest);
    fvm_digest_finish(&blob->sha256, digest);
    if (blob->read_bytes != blob->descriptor.size_bytes ||
        strcmp(digest, blob->descriptor.digest) != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the blob %s is damaged: its content has the digest %s",
                        blob->descriptor.digest, digest);
    return 0;
}

void fvm_blob_finish(struct fvm_blob *blob)
{
    fvm_cleanup_close(&blob->fd);
    blob->fd = -1;
}

int fvm_blob_load(int layout_fd, const struct fvm_descriptor *descriptor, size_t limit,
                  char **ret_data, struct flashvm_error *error)
{
    cleanup_blob struct fvm_blob blob = {.fd = -1};
    cleanup_free char *data = NULL;
    size_t size = (size_t)descriptor->size_bytes;
    size_t filled = 0;
    ssize_t count;

    if (descriptor->size_bytes > limit)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the blob %s has %ju bytes, the limit is %zu",
                        descriptor->digest, (uintmax_t)descriptor->size_bytes, limit);
    if (fvm_blob_open(layout_fd, descriptor, &blob, error) < 0)
        return -1;
    data = malloc(size + 1);
    if (data == NULL)
        return fvm_fail_no_memory(error);
    while ((count = fvm_blob_read(&blob, data + filled, size - filled)) > 0)
        filled += (size_t)count;
    if (count < 0)
        return fvm_fail_errno(error, errno, "cannot read the blob %s", descriptor->digest);
    if (fvm_blob_verify(&blob, error) < 0)
        return -1;
    data[filled] = '\0';
    *ret_data = steal_pointer(data);
    return 0;
}
