/* SPDX-License-Identifier: MIT */
/*
 * The guest's physical memory, as the host has it mapped:
 *
 *     0            RAM, up to 3 GiB of it
 *     3–4 GiB      nothing; the processors' local APIC is in it
 *     4 GiB        the rest of the RAM
 *     above that   the image, read-only: a "persistent memory" (e820 type 12), so the guest needs no
 *                  driver that speaks to the host, and all VMs share the host's page cache
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define GIB (1ULL << 30)

enum { PAGE_BYTES = 4096 };
#define LOW_RAM_MAX (3 * GIB)
#define HIGH_RAM    (4 * GIB)

struct memory {
    uint8_t *ram;
    uint64_t ram_size;
    uint8_t *image;
    uint64_t image_size; /* whole pieces of what the guest's kernel can take */
};

/*
 * Map the RAM: that of a file (a copy-on-write view of it, or the file itself), or new.
 * @fd: -1: new.
 */
void memory_map_ram(struct memory *memory, uint64_t size, int fd, int map_flags);

/* Map the image; the RAM is mapped already. */
void memory_map_image(struct memory *memory, int fd);

uint64_t memory_low_size(const struct memory *memory);
uint64_t memory_high_size(const struct memory *memory);

/* Where the guest finds the image. */
uint64_t memory_image_address(const struct memory *memory);

/* Where the guest has a byte of the RAM, which the host counts without the hole. */
uint64_t memory_address(const struct memory *memory, uint64_t offset);

/* The host's view of guest-physical RAM. NULL when not all of it is there. */
void *memory_at(const struct memory *memory, uint64_t address, uint64_t size);

/* Give it to the VM. */
void memory_install(const struct memory *memory, int vm_fd);
