/* SPDX-License-Identifier: MIT */
/*
 * What is left of a guest that was stopped, beside its memory: one block of bytes of this program's
 * own layout. It is written and read by the same build on the same machine; a block of any other kind
 * is told apart by its header and refused.
 */
#pragma once

#include <stddef.h>

#include "vmm/mailbox.h"
#include "vmm/state.h"

enum { CPUS_MAX = 32 };

/* What a snapshot must agree with, of the machine that is to go on with it. */
struct snapshot_place {
    uint64_t ram_size, image_size;
    uint64_t cpuid; /* its fingerprint */
    uint32_t tsc_khz, cpus;
};

struct snapshot {
    char magic[8];
    uint32_t version;
    uint32_t size;     /* of it all */
    uint64_t checksum; /* of all that follows */
    struct snapshot_place place;
    uint64_t clock_ns;    /* KVM's clock */
    uint32_t waiting_cpu; /* the one that waits for the host */
    uint32_t page_count;
    uint64_t pages[FVM_MAILBOX_PAGES];
    struct cpu_state cpus[];
};

enum snapshot_flaw {
    SNAPSHOT_WHOLE,
    SNAPSHOT_NO_SNAPSHOT,
    SNAPSHOT_OTHER_VERSION,
    SNAPSHOT_CUT,
    SNAPSHOT_DAMAGED,
    SNAPSHOT_OTHER_MEMORY,
    SNAPSHOT_OTHER_IMAGE,
    SNAPSHOT_OTHER_CPUS,
    SNAPSHOT_OTHER_PROCESSOR,
    SNAPSHOT_OTHER_FREQUENCY,
    SNAPSHOT_NONSENSE,
};

/* A new one, to be filled in and freed. */
struct snapshot *snapshot_new(const struct snapshot_place *place);

/* When all is filled in. */
void snapshot_close(struct snapshot *snapshot);

/*
 * Is it one, whole, and of this place?
 * @size: bytes that there are, of which it may leave some.
 * @memory: its mailbox must be in it.
 */
enum snapshot_flaw snapshot_check(const struct snapshot *snapshot, size_t size,
                                  const struct snapshot_place *place, const struct memory *memory);

/* A flaw in words. */
const char *snapshot_flaw_text(enum snapshot_flaw flaw);
