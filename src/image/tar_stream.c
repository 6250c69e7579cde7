/* SPDX-License-Identifier: MIT */
#include "image/tar_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A map of some 400,000 holes, or any other header that makes sense. */
enum { MAX_HEADER_BYTES = 8 << 20 };

static la_ssize_t read_blob(struct archive *archive, void *data, const void **ret_buffer)
{
    struct fvm_tar_stream *stream = data;
    ssize_t count = fvm_blob_read(&stream->blob, stream->buffer, sizeof stream->buffer);

    if (count < 0)
        archive_set_error(archive, errno, "cannot read the blob");
    *ret_buffer = stream->buffer;
    return count;
}

/* Return: bytes at *ret_buffer, 0 at the end, -1 with an error set in `unpacked`. */
static la_ssize_t read_unpacked(struct fvm_tar_stream *stream, const void **ret_buffer)
{
    la_int64_t offset;
    size_t size;
    int result;

    if (stream->is_unpacked)
        return 0;
    do
        result = archive_read_data_block(stream->unpacked, ret_buffer, &size, &offset);
    while (result == ARCHIVE_OK && size == 0);
    if (result == ARCHIVE_EOF) {
        stream->is_unpacked = true;
        return 0;
    }
    if (result != ARCHIVE_OK)
        return -1;
    if (size > stream->unpacked_limit - stream->unpacked_bytes) {
        archive_set_error(stream->unpacked, EFBIG, "it unpacks to too many bytes");
        return -1;
    }
    stream->unpacked_bytes += size;
    sha256_update(&stream->sha256, size, *ret_buffer);
    return (la_ssize_t)size;
}

static la_ssize_t read_tar(struct archive *archive, void *data, const void **ret_buffer)
{
    struct fvm_tar_stream *stream = data;
    la_ssize_t count = read_unpacked(stream, ret_buffer);

    if (count < 0) {
        archive_copy_error(archive, stream->unpacked);
    } else if ((uint64_t)count > stream->header_left) {
        archive_set_error(archive, EFBIG, "an entry's header has more than %d bytes",
                          MAX_HEADER_BYTES);
        return -1;
    } else {
        stream->header_left -= (uint64_t)count;
    }
    return count;
}

/*
 * Allow the one filter that the first bytes ask for. All that libarchive has would bring their
 * libraries into a program that links it statically. ARCHIVE_WARN would mean that a program is run
 * in the place of a library, and is refused as well.
 */
static int allow_filter(struct fvm_tar_stream *stream)
{
    static const unsigned char gzip[] = {0x1f, 0x8b};
    static const unsigned char zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    unsigned char start[4] = {0};

    if (pread(stream->blob.fd, start, sizeof start, 0) < 0) {
        archive_set_error(stream->unpacked, errno, "cannot read the blob");
        return ARCHIVE_FATAL;
    }
    if (memcmp(start, gzip, sizeof gzip) == 0)
        return archive_read_support_filter_gzip(stream->unpacked);
    if (memcmp(start, zstd, sizeof zstd) == 0)
        return archive_read_support_filter_zstd(stream->unpacked);
    return ARCHIVE_OK;
}

static int open_archives(struct fvm_tar_stream *stream)
{
    struct archive_entry *entry;
    int result;

    /* A blob of no bytes is a layer of no entries: only the "empty" format takes it. */
    if (archive_read_support_format_raw(stream->unpacked) != ARCHIVE_OK ||
        archive_read_support_format_empty(stream->unpacked) != ARCHIVE_OK ||
        allow_filter(stream) != ARCHIVE_OK ||
        archive_read_open(stream->unpacked, stream, NULL, read_blob, NULL) != ARCHIVE_OK)
        return -1;
    result = archive_read_next_header(stream->unpacked, &entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_EOF)
        return -1;
    /* libarchive counts an end without compression as one more. */
    if (archive_filter_count(stream->unpacked) > 2) {
        archive_set_error(stream->unpacked, EINVAL, "it is compressed more than once");
        return -1;
    }
    stream->is_unpacked = result == ARCHIVE_EOF;
    if (archive_read_support_format_tar(stream->tar) != ARCHIVE_OK ||
        archive_read_support_format_empty(stream->tar) != ARCHIVE_OK ||
        archive_read_open(stream->tar, stream, NULL, read_tar, NULL) != ARCHIVE_OK) {
        archive_copy_error(stream->unpacked, stream->tar);
        return -1;
    }
    return 0;
}

int fvm_tar_stream_open(const struct fvm_oci *oci, const struct fvm_oci_layer *layer,
                        uint64_t unpacked_limit, struct fvm_tar_stream **ret_stream,
                        struct flashvm_error *error)
{
    cleanup_tar_stream struct fvm_tar_stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL)
        return fvm_fail_no_memory(error);
    stream->blob.fd = -1;
    stream->unpacked_limit = unpacked_limit;
    stream->header_left = MAX_HEADER_BYTES;
    sha256_init(&stream->sha256);
    stream->unpacked = archive_read_new();
    stream->tar = archive_read_new();
    if (stream->unpacked == NULL || stream->tar == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_blob_open(oci->fd, &layer->blob, &stream->blob, error) < 0)
        return -1;
    stream->blob.caller = oci->caller;
    if (open_archives(stream) < 0) {
        cleanup_free char *cause = strdup(archive_error_string(stream->unpacked) ?: "no tar");

        /* A damaged blob explains everything else. */
        if (fvm_tar_stream_verify_blob(stream, error) < 0)
            return -1;
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it cannot be read as a tar: %s",
                        cause ? cause : "");
    }
    *ret_stream = steal_pointer(stream);
    return 0;
}

int fvm_tar_stream_next(struct fvm_tar_stream *stream, struct archive_entry **ret_entry)
{
    int result;

    stream->header_left = UINT64_MAX;
    if (stream->has_entry) /* what nobody read of the last entry's content is no header */
        archive_read_data_skip(stream->tar);
    stream->has_entry = true;
    stream->header_left = MAX_HEADER_BYTES;
    result = archive_read_next_header(stream->tar, ret_entry);
    stream->header_left = UINT64_MAX;
    return result;
}

int fvm_tar_stream_verify_blob(struct fvm_tar_stream *stream, struct flashvm_error *error)
{
    return fvm_blob_verify(&stream->blob, error);
}

int fvm_tar_stream_verify_tar(struct fvm_tar_stream *stream, const struct fvm_oci_layer *layer,
                              struct flashvm_error *error)
{
    char digest[FVM_DIGEST_SIZE];
    const void *data;
    la_ssize_t count;

    /* What follows the tar's end marker belongs to the diff_id too: padding, usually. */
    while ((count = read_unpacked(stream, &data)) > 0)
        ;
    if (count < 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it cannot be decompressed: %s",
                        archive_error_string(stream->unpacked) ?: "unknown cause");
    fvm_digest_finish(&stream->sha256, digest);
    if (strcmp(digest, layer->diff_id) != 0)
        return fvm_fail(
            error, FLASHVM_IMAGE_INVALID,
            "its uncompressed content has the digest %s, but the config's diff_id is %s", digest,
            layer->diff_id);
    return 0;
}

void fvm_tar_stream_close(struct fvm_tar_stream *stream)
{
    if (stream == NULL)
        return;
    archive_read_free(stream->tar); /* NULL is allowed; the order is that of the data's way back */
    archive_read_free(stream->unpacked);
    fvm_blob_finish(&stream->blob);
    free(stream);
}
