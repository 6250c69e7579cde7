/* SPDX-License-Identifier: MIT */
#include "vmm/working_set.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/fingerprint.h"
#include "vmm/write_all.h"

/* Linux 6.10; the headers that this is compiled with may be older. */
#ifndef KVM_PRE_FAULT_MEMORY
enum { KVM_CAP_PRE_FAULT_MEMORY = 236 };
struct kvm_pre_fault_memory {
    uint64_t gpa, size, flags, padding[5];
};
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

/* Bits of an entry of /proc/PID/pagemap. A page of the file that was written is a copy of our own. */
#define PAGE_PRESENT (1ULL << 63)
#define PAGE_OF_FILE (1ULL << 61)

enum { ENTRIES_PER_READ = 4096 };

/* To map so many pages more costs less than a system call more; to copy them, too. */
enum { TOUCHED_GAP = 4, WRITTEN_GAP = 1 };

static const char magic[8] = "fvm-wset";

/*
 * Linux maps the pages around one that is read, too, as far as it has them, and then one cannot tell
 * which of them was meant; but not where a userfaultfd watches for writes to protected pages. (None is
 * protected, so nothing ever comes from it.) Best effort: the set is five times as large without.
 */
static void forbid_fault_around(const struct memory *memory)
{
    const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register area = {
        .range = {.start = (uintptr_t)memory->ram, .len = memory->ram_size},
        .mode = UFFDIO_REGISTER_MODE_WP,
    };

    /* It is never closed: it would stop to watch. */
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0)
        (void)ioctl(fd, UFFDIO_REGISTER, &area);
}

int working_set_watch(const struct memory *memory)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail_errno("cannot watch the pages of the guest");
    forbid_fault_around(memory);
    return fd;
}

/* ---- telling --------------------------------------------------------------------------------- */

struct collection {
    uint32_t gap; /* of pages that may be missing within a range */
    struct page_range *ranges;
    uint32_t count, capacity;
};

static void collect(struct collection *collection, uint32_t page)
{
    struct page_range *last =
        collection->count > 0 ? &collection->ranges[collection->count - 1] : NULL;

    if (last && page - (last->first + last->count) <= collection->gap) {
        last->count = page + 1 - last->first;
        return;
    }
    if (collection->count == collection->capacity) {
        collection->capacity = 2 * collection->capacity + 256;
        collection->ranges =
            reallocarray(collection->ranges, collection->capacity, sizeof *collection->ranges);
        if (collection->ranges == NULL)
            fail("out of memory");
    }
    collection->ranges[collection->count++] = (struct page_range){page, 1};
}

static void read_pagemap(const struct memory *memory, int watch_fd, struct collection *written,
                         struct collection *touched)
{
    static uint64_t entries[ENTRIES_PER_READ];
    const uint64_t pages = memory->ram_size / PAGE_BYTES;
    const uint64_t start = (uintptr_t)memory->ram / PAGE_BYTES;

    for (uint64_t page = 0; page < pages; page += ENTRIES_PER_READ) {
        const uint64_t left = pages - page;
        const size_t count = left < ENTRIES_PER_READ ? left : ENTRIES_PER_READ;

        if (pread(watch_fd, entries, count * sizeof *entries,
                  (off_t)((start + page) * sizeof *entries)) != (ssize_t)(count * sizeof *entries))
            fail_errno("cannot tell the pages of the guest");
        for (size_t i = 0; i < count; i++) {
            if (!(entries[i] & PAGE_PRESENT))
                continue;
            collect(touched, (uint32_t)(page + i));
            if (!(entries[i] & PAGE_OF_FILE))
                collect(written, (uint32_t)(page + i));
        }
    }
}

static uint64_t checksum(const struct working_set *set, size_t size)
{
    const size_t skipped = offsetof(struct working_set, written_count);

    return fingerprint(FINGERPRINT_START, (const char *)set + skipped, size - skipped);
}

void working_set_close(struct working_set *set, size_t size)
{
    set->checksum = checksum(set, size);
}

void working_set_send(const struct memory *memory, int watch_fd, int to_fd)
{
    struct collection written = {.gap = WRITTEN_GAP}, touched = {.gap = TOUCHED_GAP};
    struct working_set *set;
    size_t size;

    read_pagemap(memory, watch_fd, &written, &touched);
    size = sizeof *set + (written.count + touched.count) * sizeof *set->ranges;
    set = calloc(1, size);
    if (set == NULL)
        fail("out of memory");
    memcpy(set->magic, magic, sizeof magic);
    set->written_count = written.count;
    set->touched_count = touched.count;
    if (written.count > 0)
        memcpy(set->ranges, written.ranges, written.count * sizeof *written.ranges);
    if (touched.count > 0)
        memcpy(set->ranges + written.count, touched.ranges, touched.count * sizeof *touched.ranges);
    working_set_close(set, size);
    write_all(to_fd, set, size);
    free(set);
    free(written.ranges);
    free(touched.ranges);
}

/* ---- using it -------------------------------------------------------------------------------- */

bool working_set_is_whole(const struct working_set *set, size_t size, const struct memory *memory)
{
    const uint64_t pages = memory->ram_size / PAGE_BYTES;
    uint64_t count;

    if (size < sizeof *set || memcmp(set->magic, magic, sizeof magic) != 0)
        return false;
    count = (uint64_t)set->written_count + set->touched_count;
    if (size - sizeof *set != count * sizeof *set->ranges || set->checksum != checksum(set, size))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (set->ranges[i].first > pages || set->ranges[i].count > pages - set->ranges[i].first)
            return false;
    return true;
}

static void populate(const struct memory *memory, const struct page_range *range, int how)
{
    (void)madvise(memory->ram + (uint64_t)range->first * PAGE_BYTES,
                  (size_t)range->count * PAGE_BYTES, how);
}

static void populate_guest(const struct memory *memory, const struct page_range *range, int vcpu_fd)
{
    struct kvm_pre_fault_memory fault = {
        .gpa = memory_address(memory, (uint64_t)range->first * PAGE_BYTES),
        .size = (uint64_t)range->count * PAGE_BYTES,
    };

    while (fault.size > 0 && ioctl(vcpu_fd, KVM_PRE_FAULT_MEMORY, &fault) == 0)
        ;
}

void working_set_populate(const struct working_set *set, const struct memory *memory, int kvm_fd,
                          int vcpu_fd)
{
    const struct page_range *touched = set->ranges + set->written_count;
    const bool guest_too = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) > 0;

    for (uint32_t i = 0; i < set->written_count; i++)
        populate(memory, &set->ranges[i], MADV_POPULATE_WRITE);
    for (uint32_t i = 0; i < set->touched_count; i++)
        if (guest_too)
            populate_guest(memory, &touched[i],
                           vcpu_fd); /* which maps them for this process, too */
        else
            populate(memory, &touched[i], MADV_POPULATE_READ);
}
