/* SPDX-License-Identifier: MIT */
/*
 * A layer's blob of any bytes: a tar, plain or compressed by gzip or zstd, or none at all. What
 * libarchive makes of it is applied and written.
 *
 * Input: the blob. The checksums of a plain tar's headers are set right first: a fuzzer would have
 * to find them for every change.
 */
#include "flatten.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/buffer.h"
#include "base/cleanup.h"

enum { TAR_BLOCK = 512, SIZE_OFFSET = 124, CHECKSUM_OFFSET = 148, DECOMPRESSED_MAX = 1 << 20 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    flatten_prepare();
    return 0;
}

static void set_checksum(unsigned char *header)
{
    unsigned checksum = 0;
    char text[8];

    memset(header + CHECKSUM_OFFSET, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        checksum += header[i];
    snprintf(text, sizeof text, "%06o", checksum);
    memcpy(header + CHECKSUM_OFFSET, text, 7);
}

static bool is_zero(const unsigned char *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

static void set_checksums(unsigned char *tar, size_t size)
{
    size_t offset = 0;

    while (offset + TAR_BLOCK <= size) {
        char field[12] = "";
        size_t content = 0;

        if (!is_zero(tar + offset)) {
            set_checksum(tar + offset);
            memcpy(field, tar + offset + SIZE_OFFSET, sizeof field - 1);
            content = strtoul(field, NULL, 8);
        }
        if (content > size)
            break;
        offset += TAR_BLOCK + (content + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    }
}

/* The digest of what a compressed blob unpacks to; what cannot be unpacked will not be believed
 * anyway. */
static void find_diff_id(const void *data, size_t size, char ret_diff_id[FVM_DIGEST_SIZE])
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    struct sha256_ctx sha256;
    size_t part, total = 0;
    const void *block;
    la_int64_t offset;

    sha256_init(&sha256);
    must(archive && archive_read_support_format_raw(archive) == ARCHIVE_OK);
    must(archive_read_support_filter_gzip(archive) == ARCHIVE_OK);
    must(archive_read_support_filter_zstd(archive) == ARCHIVE_OK);
    if (archive_read_open_memory(archive, data, size) == ARCHIVE_OK &&
        archive_read_next_header(archive, &entry) == ARCHIVE_OK)
        while (total < DECOMPRESSED_MAX &&
               archive_read_data_block(archive, &block, &part, &offset) == ARCHIVE_OK) {
            sha256_update(&sha256, part, block);
            total += part;
        }
    fvm_digest_finish(&sha256, ret_diff_id);
    archive_read_free(archive);
}

static bool is_compressed(const unsigned char *blob, size_t size)
{
    return size >= 4 &&
           ((blob[0] == 0x1f && blob[1] == 0x8b) || memcmp(blob, "\x28\xb5\x2f\xfd", 4) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free unsigned char *blob = malloc(size + 1);
    struct fvm_oci_layer layer;

    must(blob);
    if (size > 0)
        memcpy(blob, data, size);
    if (is_compressed(blob, size)) {
        find_diff_id(blob, size, layer.diff_id);
        scratch_add_blob(blob, size, &layer.blob);
    } else {
        set_checksums(blob, size);
        scratch_add_blob(blob, size, &layer.blob);
        memcpy(layer.diff_id, layer.blob.digest, FVM_DIGEST_SIZE);
    }
    flatten(&layer, 1);
    scratch_remove_blob(&layer.blob);
    return 0;
}
