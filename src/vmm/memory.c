/* SPDX-License-Identifier: MIT */
#include "vmm/memory.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/fail.h"

/* Linux takes memory with a struct page for each page of it in pieces of this size. */
#define IMAGE_GRANULE (2ULL << 20)

enum { LOW_SLOT, HIGH_SLOT, IMAGE_SLOT };

static uint64_t round_up(uint64_t value, uint64_t granule)
{
    return (value + granule - 1) / granule * granule;
}

void memory_map_ram(struct memory *memory, uint64_t size, int fd, int map_flags)
{
    const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : map_flags;

    memory->ram_size = size;
    memory->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
    if (memory->ram == MAP_FAILED)
        fail_errno("cannot map %ju MiB of guest memory", (uintmax_t)size >> 20);
}

void memory_map_image(struct memory *memory, int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || status.st_size <= 0)
        fail_errno("cannot tell the size of the image");
    memory->image_size = round_up((uint64_t)status.st_size, IMAGE_GRANULE);
    /* Zeroes where the file does not fill the last piece. */
    memory->image = mmap(NULL, memory->image_size, PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->image == MAP_FAILED || mmap(memory->image, (size_t)status.st_size, PROT_READ,
                                            MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        fail_errno("cannot map the image");
}

uint64_t memory_low_size(const struct memory *memory)
{
    return memory->ram_size < LOW_RAM_MAX ? memory->ram_size : LOW_RAM_MAX;
}

uint64_t memory_high_size(const struct memory *memory)
{
    return memory->ram_size - memory_low_size(memory);
}

uint64_t memory_image_address(const struct memory *memory)
{
    return round_up(HIGH_RAM + memory_high_size(memory), GIB);
}

uint64_t memory_address(const struct memory *memory, uint64_t offset)
{
    const uint64_t low = memory_low_size(memory);

    return offset < low ? offset : HIGH_RAM + (offset - low);
}

void *memory_at(const struct memory *memory, uint64_t address, uint64_t size)
{
    const uint64_t low = memory_low_size(memory), high = memory_high_size(memory);

    if (address < low && size <= low - address)
        return memory->ram + address;
    if (address >= HIGH_RAM && address - HIGH_RAM < high && size <= high - (address - HIGH_RAM))
        return memory->ram + low + (address - HIGH_RAM);
    return NULL;
}

static void install(int vm_fd, uint32_t slot, uint64_t address, uint64_t size, void *host,
                    uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = address,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };

    if (size > 0 && ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        fail_errno("KVM does not take %ju MiB of guest memory", (uintmax_t)size >> 20);
}

void memory_install(const struct memory *memory, int vm_fd)
{
    const uint64_t low = memory_low_size(memory);

    install(vm_fd, LOW_SLOT, 0, low, memory->ram, 0);
    install(vm_fd, HIGH_SLOT, HIGH_RAM, memory_high_size(memory), memory->ram + low, 0);
    install(vm_fd, IMAGE_SLOT, memory_image_address(memory), memory->image_size, memory->image,
            KVM_MEM_READONLY);
}
