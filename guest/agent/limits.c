/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "log.h"

#define HIERARCHY "/cgroup"
#define GROUP     HIERARCHY "/snippet"

/*
 * Kept from the snippet. Without it a snippet that takes all memory is not killed: the kernel
 * evicts and reads again the pages of every program, which looks like progress, and so the guest
 * crawls.
 */
static const uint64_t RESERVE_BYTES = 48ULL << 20;

static int group_fd = -1; /* the group's directory: its path is not to be seen later */

/* Write to a file of a directory of the hierarchy. Return: 0, or -1 with errno. */
static int set(int directory_fd, const char *name, const char *value)
{
    cleanup_close int fd = openat(directory_fd, name, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, value, strlen(value)) >= 0 ? 0 : -1;
}

static int set_number(int directory_fd, const char *name, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%ju", (uintmax_t)value);
    return set(directory_fd, name, text);
}

void limits_prepare(void)
{
    struct sysinfo info;
    uint64_t total;

    if (mkdir(HIERARCHY, 0700) < 0 || mount("cgroup2", HIERARCHY, "cgroup2", 0, NULL) < 0)
        agent_die_errno("cannot mount the control groups");
    if (set(AT_FDCWD, HIERARCHY "/cgroup.subtree_control", "+memory +pids") < 0 ||
        mkdir(GROUP, 0700) < 0 || sysinfo(&info) < 0)
        agent_die_errno("cannot make the snippet's control group");
    group_fd = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    total = (uint64_t)info.totalram * info.mem_unit;
    if (set_number(group_fd, "memory.max",
                   total > 2 * RESERVE_BYTES ? total - RESERVE_BYTES : total / 2) < 0 ||
        set(group_fd, "memory.oom.group", "1") < 0) /* half a snippet is of no use */
        agent_die_errno("cannot limit the snippet's memory");
}

int limits_enter(void)
{
    return set(group_fd, "cgroup.procs", "0");
}

int limits_set_processes(uint64_t max_processes)
{
    return set_number(group_fd, "pids.max", max_processes);
}

/*
 * The number that stands after `key` at the start of a line; with "" the whole file is a number.
 * Return: 0 when it is not there.
 */
static uint64_t get(const char *name, const char *key)
{
    cleanup_close int fd = openat(group_fd, name, O_RDONLY | O_CLOEXEC);
    size_t length = strlen(key);
    char text[4096];
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (size < 0)
        return 0;
    text[size] = '\0';
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

void limits_read_usage(struct usage *ret_usage)
{
    *ret_usage = (struct usage){
        .cpu_time_us = get("cpu.stat", "usage_usec "),
        .peak_memory_bytes = get("memory.peak", ""),
        .oom_killed = get("memory.events", "oom_kill ") > 0,
    };
}
