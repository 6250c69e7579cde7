/* SPDX-License-Identifier: MIT */
#include "vmm/snapshot.h"

#include "vmm/fail.h"
#include "vmm/fingerprint.h"

static const char magic[8] = "fvm-snap";

enum { VERSION = 1 };

/* The counter's frequency is measured at each start of a host, and never quite the same. */
enum { TSC_TOLERANCE_PPM = 250 };

static size_t size_for(uint32_t cpus)
{
    return sizeof(struct snapshot) + cpus * sizeof(struct cpu_state);
}

static uint64_t checksum(const struct snapshot *snapshot)
{
    const size_t skipped = offsetof(struct snapshot, place);

    return fingerprint(FINGERPRINT_START, (const char *)snapshot + skipped,
                       snapshot->size - skipped);
}

struct snapshot *snapshot_new(const struct snapshot_place *place)
{
    struct snapshot *snapshot = calloc(1, size_for(place->cpus));

    if (snapshot == NULL)
        fail("out of memory");
    memcpy(snapshot->magic, magic, sizeof magic);
    snapshot->version = VERSION;
    snapshot->size = (uint32_t)size_for(place->cpus);
    snapshot->place = *place;
    return snapshot;
}

void snapshot_close(struct snapshot *snapshot)
{
    snapshot->checksum = checksum(snapshot);
}

static bool is_same_frequency(uint32_t one, uint32_t other)
{
    const uint64_t difference = one > other ? one - other : other - one;

    return difference * 1000000 <= (uint64_t)one * TSC_TOLERANCE_PPM;
}

static bool makes_sense(const struct snapshot *snapshot, const struct memory *memory)
{
    if (snapshot->waiting_cpu >= snapshot->place.cpus || snapshot->page_count > FVM_MAILBOX_PAGES)
        return false;
    for (uint32_t i = 0; i < snapshot->page_count; i++)
        if (memory_at(memory, snapshot->pages[i], PAGE_BYTES) == NULL)
            return false;
    for (uint32_t i = 0; i < snapshot->place.cpus; i++)
        if (snapshot->cpus[i].msrs.count > MSRS_MAX || snapshot->cpus[i].clocks.count > MSRS_MAX)
            return false;
    return true;
}

enum snapshot_flaw snapshot_check(const struct snapshot *snapshot, size_t size,
                                  const struct snapshot_place *place, const struct memory *memory)
{
    if (size < sizeof *snapshot || memcmp(snapshot->magic, magic, sizeof magic) != 0)
        return SNAPSHOT_NO_SNAPSHOT;
    if (snapshot->version != VERSION)
        return SNAPSHOT_OTHER_VERSION;
    if (snapshot->size > size || snapshot->place.cpus > CPUS_MAX ||
        snapshot->size != size_for(snapshot->place.cpus))
        return SNAPSHOT_CUT;
    if (snapshot->checksum != checksum(snapshot))
        return SNAPSHOT_DAMAGED;
    if (snapshot->place.ram_size != place->ram_size)
        return SNAPSHOT_OTHER_MEMORY;
    if (snapshot->place.image_size != place->image_size)
        return SNAPSHOT_OTHER_IMAGE;
    if (snapshot->place.cpus != place->cpus)
        return SNAPSHOT_OTHER_CPUS;
    if (snapshot->place.cpuid != place->cpuid)
        return SNAPSHOT_OTHER_PROCESSOR;
    if (!is_same_frequency(snapshot->place.tsc_khz, place->tsc_khz))
        return SNAPSHOT_OTHER_FREQUENCY;
    return makes_sense(snapshot, memory) ? SNAPSHOT_WHOLE : SNAPSHOT_NONSENSE;
}

const char *snapshot_flaw_text(enum snapshot_flaw flaw)
{
    static const char *const texts[] = {
        [SNAPSHOT_WHOLE] = "the snapshot is whole",
        [SNAPSHOT_NO_SNAPSHOT] = "that is no snapshot",
        [SNAPSHOT_OTHER_VERSION] = "the snapshot is of another version of flashVM",
        [SNAPSHOT_CUT] = "the snapshot has not the size that it should have",
        [SNAPSHOT_DAMAGED] = "the snapshot is damaged",
        [SNAPSHOT_OTHER_MEMORY] = "the snapshot is of a guest with more or less memory",
        [SNAPSHOT_OTHER_IMAGE] = "the snapshot is of a guest with another image",
        [SNAPSHOT_OTHER_CPUS] = "the snapshot is of a guest with more or fewer processors",
        [SNAPSHOT_OTHER_PROCESSOR] = "the snapshot was made on another kind of processor",
        [SNAPSHOT_OTHER_FREQUENCY] = "the snapshot was made at another frequency of the processor",
        [SNAPSHOT_NONSENSE] = "the snapshot contradicts itself",
    };

    return texts[flaw];
}
