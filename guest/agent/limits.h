/* SPDX-License-Identifier: MIT */
/* Control groups: what a run may take of the guest, and what it has used. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Each process of the guest but the agent's own is in one of these. */
enum limits_group {
    LIMITS_WAITING,   /* interpreters while they start and wait */
    LIMITS_SNIPPET,   /* the snippet and all that it starts */
    LIMITS_REHEARSAL, /* likewise, of a rehearsal */
    LIMITS_GROUP_COUNT,
};

/*
 * Make the groups, with a limit on memory that leaves the agent and the kernel enough to work with.
 * Must come before system_enter_root(): the snippet does not see the hierarchy.
 */
void limits_prepare(void);

/*
 * Move a process with all its threads to a group; 0: the caller. What it has taken so far stays
 * charged to the group that it leaves. Return: 0, or -1 with errno.
 */
int limits_enter(enum limits_group group, pid_t pid);

/*
 * Set how many processes and threads a group may have at once, and take the files that it was given
 * off its memory, which they lie in. Return: 0, or -1 with errno (ENOMEM: they leave too little of
 * it).
 */
int limits_set(enum limits_group which, uint64_t max_processes, uint64_t file_bytes);

/*
 * End every process of a group and wait until none of them can do anything any more; the agent's
 * children among them are still to be reaped.
 */
void limits_kill(enum limits_group which);

/*
 * Watch for a snippet that waits for memory much of the time.
 * Return: a descriptor that gets POLLPRI then; -1 when the kernel cannot tell.
 */
int limits_watch_starvation(void);

/* If it does: is there next to nothing left that could be evicted for it? */
bool limits_is_starved(void);

/* What the processes of a group have used so far. */
struct usage {
    uint64_t cpu_time_us;
    uint64_t peak_memory_bytes;
    bool oom_killed;
};
void limits_read_usage(enum limits_group group, struct usage *ret_usage);

uint64_t limits_read_cpu_time_us(enum limits_group group);

/* Memory of programs (not of files) that is charged to a group now. */
uint64_t limits_read_memory_bytes(enum limits_group group);
