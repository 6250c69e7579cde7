/* SPDX-License-Identifier: MIT */
/* What the snippet may take of the guest: a control group (cgroups v2) for it and all it starts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Make the group, with limits on memory and processes that leave the agent and the kernel enough to
 * work with. Must come before system_enter_root(): the snippet does not see the hierarchy.
 */
void limits_prepare(void);

/* In a child: enter the group. Return: 0, or -1 with errno. */
int limits_enter(void);

/* Set how many processes and threads the group may have. Return: 0, or -1 with errno. */
int limits_set_processes(uint64_t max_processes);

/* What the group has used so far. */
struct usage {
    uint64_t cpu_time_us;
    uint64_t peak_memory_bytes;
    bool oom_killed;
};
void limits_read_usage(struct usage *ret_usage);
