/* SPDX-License-Identifier: MIT */
/* What a VM's program may still do, taken away in stages. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct confinement {
    uint64_t memory_bytes_max; /* 0: no limit of its address space */
    const char *device;        /* a device that the program must open; NULL: none */
    bool keeps_rights;         /* namespaces of its own, and little else */
};

/*
 * Confine the calling process, for good. A stage that should work and does not ends it with a
 * message on stderr; see docs/security.md for what is a must and what is done where the host allows
 * it.
 */
void confine(const struct confinement *confinement);
