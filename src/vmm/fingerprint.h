/* SPDX-License-Identifier: MIT */
/* FNV-1a, for what damage or another machine changes; nobody gains by a collision. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FINGERPRINT_START 0xcbf29ce484222325ULL

static inline uint64_t fingerprint(uint64_t start, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        start = (start ^ bytes[i]) * 0x100000001b3;
    return start;
}
