/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

int fvm_buffer_append(struct fvm_buffer *buffer, const void *data, size_t size)
{
    if (size >= SIZE_MAX / 2 - buffer->size)
        return -1;
    if (buffer->size + size + 1 > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;
        char *grown;

        while (capacity < buffer->size + size + 1)
            capacity *= 2;
        grown = realloc(buffer->data, capacity);
        if (grown == NULL)
            return -1;
        buffer->data = grown;
        buffer->capacity = capacity;
    }
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

int fvm_buffer_append_limited(struct fvm_buffer *buffer, const void *data, size_t size,
                              uint64_t limit)
{
    uint64_t room = limit > buffer->size ? limit - buffer->size : 0;

    return fvm_buffer_append(buffer, data, size < room ? size : (size_t)room);
}

void fvm_buffer_keep_tail(struct fvm_buffer *buffer, size_t keep)
{
    if (buffer->size > keep)
        fvm_buffer_consume(buffer, buffer->size - keep);
}

void fvm_buffer_consume(struct fvm_buffer *buffer, size_t count)
{
    if (count == 0)
        return;
    buffer->size -= count;
    memmove(buffer->data, buffer->data + count, buffer->size);
    buffer->data[buffer->size] = '\0';
}

void fvm_buffer_finish(struct fvm_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct fvm_buffer){0};
}
