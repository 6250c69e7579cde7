/* SPDX-License-Identifier: MIT */
/*
 * The pages of a template that its copies need first. A copy that has served a run tells which of its
 * memory it has written and read (Linux knows: Documentation/admin-guide/mm/pagemap.rst); later copies
 * have these pages mapped before they start, which costs a tenth of as many page faults in the guest.
 */
#pragma once

#include <stdbool.h>

#include "vmm/memory.h"

/* Pages in a row of the RAM. */
struct page_range {
    uint32_t first, count;
};

/* What lies behind the snapshot in its file. */
struct working_set {
    char magic[8];
    uint64_t checksum; /* of all that follows */
    uint32_t written_count, touched_count;
    struct page_range ranges[]; /* those written; those written or read, and some between them */
};

/*
 * Prepare to tell which pages this process will have touched; before there are any.
 * Return: a descriptor for working_set_send().
 */
int working_set_watch(const struct memory *memory);

/* When all is filled in. @size: of it all. */
void working_set_close(struct working_set *set, size_t size);

/* Write it to the host. */
void working_set_send(const struct memory *memory, int watch_fd, int to_fd);

/* Is it one, whole, of that RAM? @size: bytes that there are. */
bool working_set_is_whole(const struct working_set *set, size_t size, const struct memory *memory);

/* Map the pages, for this process and, where KVM can, for the guest. Best effort. */
void working_set_populate(const struct working_set *set, const struct memory *memory, int kvm_fd,
                          int vcpu_fd);
