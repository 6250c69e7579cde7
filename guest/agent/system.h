/* SPDX-License-Identifier: MIT */
/* The machine around the snippet: file systems, devices, kernel settings. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Put the image under an overlay in memory, with all that a root file system needs, and enter it.
 */
void system_enter_root(void);

/*
 * Limit what can still be written to the root file system. Files live in memory, so there is a
 * limit in any case: half of it. Return: 0, or -1 with errno.
 */
int system_limit_disk(uint64_t bytes);

/* Set the wall clock and mix `seed` into the kernel's generator. Return: 0, or -1 with errno. */
int system_set_clock(int64_t realtime_ns);
int system_reseed(const void *seed, size_t size);

/* Where the zygote's sitecustomize.py lies once the root is entered. */
#define ZYGOTE_DIRECTORY "/run/flashvm"
