/* SPDX-License-Identifier: MIT */
/*
 * The state of a template of the native engine, with bytes of anybody's in it: it is refused, or all
 * that is used of it lies where it should.
 *
 * Input: a byte (does the checksum fit?), then what is laid over a sound snapshot and over a sound
 * working set: how far into it, and with what.
 */
#include "fuzz.h"

#include "vmm/snapshot.h"
#include "vmm/working_set.h"

enum { RAM_BYTES = 1 << 20 };
enum { FITS = 1, WITH_SET = 2 };

static struct memory memory;
static const struct snapshot_place place = {
    .ram_size = RAM_BYTES, .image_size = 4096, .cpuid = 1, .tsc_khz = 1000, .cpus = 1};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    memory_map_ram(&memory, RAM_BYTES, -1, 0);
    return 0;
}

static struct snapshot *sound(void)
{
    struct snapshot *snapshot = snapshot_new(&place);

    snapshot->page_count = 1;
    snapshot->pages[0] = PAGE_BYTES;
    snapshot_close(snapshot);
    return snapshot;
}

/* Lay the input over the bytes. */
static void spoil(void *bytes, size_t size, struct input *input)
{
    const size_t offset = ((size_t)input_byte(input) << 8 | input_byte(input)) % size;
    const struct input part = input_part(input, size - offset);

    if (part.left > 0)
        memcpy((char *)bytes + offset, part.next, part.left);
}

static void check_snapshot(struct input *input, bool fits)
{
    struct snapshot *snapshot = sound();
    const size_t size = snapshot->size;

    spoil(snapshot, size, input);
    if (fits && snapshot->size == size)
        snapshot_close(snapshot);
    if (snapshot_check(snapshot, size, &place, &memory) == SNAPSHOT_WHOLE) {
        must(snapshot->size <= size && snapshot->waiting_cpu < place.cpus);
        must(snapshot->page_count <= FVM_MAILBOX_PAGES);
        for (uint32_t i = 0; i < snapshot->page_count; i++)
            must(snapshot->pages[i] <= RAM_BYTES - PAGE_BYTES);
        for (uint32_t i = 0; i < place.cpus; i++)
            must(snapshot->cpus[i].msrs.count <= MSRS_MAX &&
                 snapshot->cpus[i].clocks.count <= MSRS_MAX);
    }
    free(snapshot);
}

static void check_set(struct input *input, bool fits)
{
    enum { BYTES = sizeof(struct working_set) + 8 * sizeof(struct page_range) };
    struct working_set *set = calloc(1, BYTES);
    size_t size = BYTES;

    must(set);
    memcpy(set->magic, "fvm-wset", sizeof set->magic);
    set->touched_count = 8;
    spoil(set, BYTES, input);
    if (fits)
        working_set_close(set, size);
    if (working_set_is_whole(set, size, &memory)) {
        const uint64_t count = (uint64_t)set->written_count + set->touched_count;

        must(sizeof *set + count * sizeof *set->ranges == size);
        for (uint64_t i = 0; i < count; i++)
            must(((uint64_t)set->ranges[i].first + set->ranges[i].count) * PAGE_BYTES <= RAM_BYTES);
    }
    free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    const uint8_t what = input_byte(&input);

    if (what & WITH_SET)
        check_set(&input, what & FITS);
    else
        check_snapshot(&input, what & FITS);
    return 0;
}
