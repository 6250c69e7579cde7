/* SPDX-License-Identifier: MIT */
/* A growing byte buffer with an optional cap on what it keeps. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fvm_buffer {
    char *data; /* NUL-terminated after size bytes once anything was appended */
    size_t size;
    size_t capacity;
};

/* Append bytes. Return: 0, or -1 when memory is exhausted (the buffer keeps what it had). */
int fvm_buffer_append(struct fvm_buffer *buffer, const void *data, size_t size);

/* Append, but keep no more than `limit` bytes in all; what lies over it is dropped. Return: as
 * above. */
int fvm_buffer_append_limited(struct fvm_buffer *buffer, const void *data, size_t size,
                              uint64_t limit);

/* Keep the last `keep` bytes only (for the tail of a log). */
void fvm_buffer_keep_tail(struct fvm_buffer *buffer, size_t keep);

/* Remove `count` bytes (at most size) from the front. */
void fvm_buffer_consume(struct fvm_buffer *buffer, size_t count);

void fvm_buffer_finish(struct fvm_buffer *buffer);
#define cleanup_buffer __attribute__((cleanup(fvm_buffer_finish)))
