/* SPDX-License-Identifier: MIT */
#pragma once

#include <unistd.h>

#include "vmm/fail.h"

/* Write all of it to the host. */
static inline void write_all(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t count = write(fd, next, size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            fail_errno("cannot answer the host");
        next += count;
        size -= (size_t)count;
    }
}
