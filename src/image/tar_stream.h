/* SPDX-License-Identifier: MIT */
/*
 * A layer's tar: blob -> SHA-256 of the blob -> decompression -> SHA-256 of the tar -> entries. The
 * two archives are libarchive's: one undoes the compression, the other reads the tar.
 */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "image/oci.h"

struct fvm_tar_stream {
    struct fvm_blob blob;
    struct archive *unpacked;
    struct archive *tar;      /* for archive_read_data_block() */
    struct sha256_ctx sha256; /* of the tar */
    uint64_t unpacked_bytes;
    uint64_t unpacked_limit;
    bool is_unpacked; /* to the end */
    bool has_entry;
    uint64_t header_left; /* what the header being read may still take */
    char buffer[64 * 1024];
};

/* @unpacked_limit: the tar's size at most. */
int fvm_tar_stream_open(const struct fvm_oci *oci, const struct fvm_oci_layer *layer,
                        uint64_t unpacked_limit, struct fvm_tar_stream **ret_stream,
                        struct flashvm_error *error);

/*
 * archive_read_next_header(), with a limit on what a header takes. libarchive has none: it keeps
 * the whole map of a sparse file's holes, which compresses a thousandfold.
 */
int fvm_tar_stream_next(struct fvm_tar_stream *stream, struct archive_entry **ret_entry);

/* Read what is left of the blob, and check its digest. */
int fvm_tar_stream_verify_blob(struct fvm_tar_stream *stream, struct flashvm_error *error);

/* Read what is left of the tar, and check its digest against the layer's diff_id. */
int fvm_tar_stream_verify_tar(struct fvm_tar_stream *stream, const struct fvm_oci_layer *layer,
                              struct flashvm_error *error);

void fvm_tar_stream_close(struct fvm_tar_stream *stream);
static inline void fvm_cleanup_tar_stream(struct fvm_tar_stream **stream)
{
    fvm_tar_stream_close(*stream);
}
#define cleanup_tar_stream __attribute__((cleanup(fvm_cleanup_tar_stream)))
