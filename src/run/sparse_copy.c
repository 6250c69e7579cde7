/* SPDX-License-Identifier: MIT */
#include "run/sparse_copy.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { BLOCK_SIZE = 4096, BUFFER_SIZE = 256 * BLOCK_SIZE };

/* Takes a run of blocks that are not zero. Return: 0, or -1 with errno. */
typedef int visit(void *context, const char *data, size_t size, uint64_t offset);

static size_t block_at(size_t begin, size_t size)
{
    return size - begin < BLOCK_SIZE ? size - begin : BLOCK_SIZE;
}

static bool is_zero(const char *block, size_t size)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

static int visit_blocks(visit *visitor, void *context, const char *data, size_t size,
                        uint64_t offset)
{
    for (size_t begin = 0, end; begin < size; begin = end) {
        bool zero = is_zero(data + begin, block_at(begin, size));

        end = begin;
        while (end < size && is_zero(data + end, block_at(end, size)) == zero)
            end += block_at(end, size);
        if (!zero && visitor(context, data + begin, end - begin, offset + begin) < 0)
            return -1;
    }
    return 0;
}

static int walk(int fd, uint64_t size, visit *visitor, void *context)
{
    cleanup_free char *buffer = malloc(BUFFER_SIZE);
    off_t begin = 0, end = 0;

    if (buffer == NULL)
        return -1;
    while ((uint64_t)begin < size) {
        size_t want;
        ssize_t count;

        if (begin == end) {
            begin = lseek(fd, begin, SEEK_DATA);
            if (begin < 0)
                return errno == ENXIO ? 0 : -1; /* nothing but a hole is left */
            if ((uint64_t)begin >= size)
                return 0;
            end = lseek(fd, begin, SEEK_HOLE);
            if (end < 0)
                return -1;
            /* Whole blocks: a file system may have smaller ones. */
            begin -= begin % BLOCK_SIZE;
            end += (BLOCK_SIZE - end % BLOCK_SIZE) % BLOCK_SIZE;
            if ((uint64_t)end > size) /* it has become longer */
                end = (off_t)size;
        }
        want = end - begin < BUFFER_SIZE ? (size_t)(end - begin) : BUFFER_SIZE;
        count = pread(fd, buffer, want, begin);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            errno = count < 0 ? errno : EIO; /* it has become shorter */
            return -1;
        }
        if (visit_blocks(visitor, context, buffer, (size_t)count, (uint64_t)begin) < 0)
            return -1;
        begin += count;
    }
    return 0;
}

static int write_at(void *context, const char *data, size_t size, uint64_t offset)
{
    int fd = *(const int *)context;

    while (size > 0) {
        ssize_t count = pwrite(fd, data, size, (off_t)offset);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        data += count;
        size -= (size_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

int fvm_sparse_copy(int from, int to, uint64_t size)
{
    if (ftruncate(to, (off_t)size) < 0)
        return -1;
    return walk(from, size, write_at, &to);
}

/* Block by block, however they were read. */
static int digest_blocks(void *context, const char *data, size_t size, uint64_t offset)
{
    for (size_t begin = 0; begin < size; begin += block_at(begin, size)) {
        uint64_t place = htole64(offset + begin);

        sha256_update(context, sizeof place, (const uint8_t *)&place);
        sha256_update(context, block_at(begin, size), (const uint8_t *)data + begin);
    }
    return 0;
}

int fvm_sparse_digest(int fd, uint64_t size, char ret_hex[FVM_SHA256_HEX_SIZE])
{
    struct sha256_ctx sha256;

    sha256_init(&sha256);
    if (walk(fd, size, digest_blocks, &sha256) < 0)
        return -1;
    fvm_sha256_hex(&sha256, ret_hex);
    return 0;
}
