/* SPDX-License-Identifier: MIT */
/* What the snippet may take of the guest: a control group (cgroups v2) for it and all it starts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Make the groups, with a limit on memory that leaves the agent and the kernel enough to work with.
 * Must come before system_enter_root(): the snippet does not see the hierarchy.
 */
void limits_prepare(void);

/* In the child that is to be the waiting interpreter. Return: 0, or -1 with errno. */
int limits_enter_waiting(void);

/* Let a process, with all its threads, belong to the snippet; 0: the caller. Return: as above. */
int limits_enter(pid_t pid);

/*
 * Set how many processes and threads the snippet may have at once, and take the files that it was
 * given off its memory, which they lie in. Return: 0, or -1 with errno (ENOMEM: they leave too
 * little of it).
 */
int limits_set(uint64_t max_processes, uint64_t file_bytes);

/*
 * Watch for a snippet that waits for memory much of the time.
 * Return: a descriptor that gets POLLPRI then; -1 when the kernel cannot tell.
 */
int limits_watch_starvation(void);

/* If it does: is there next to nothing left that could be evicted for it? */
bool limits_is_starved(void);

/* What the snippet has used so far. */
struct usage {
    uint64_t cpu_time_us;
    uint64_t peak_memory_bytes;
    uint64_t interpreter_bytes; /* what the one that waited has now, beside that */
    bool oom_killed;
};
void limits_read_usage(struct usage *ret_usage);
