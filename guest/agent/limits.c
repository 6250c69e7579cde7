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

/*
 * The interpreter waits in a group of its own and is moved when it becomes the snippet; what it has
 * taken by then stays charged to the first. So the pages of its program are out of reach when the
 * snippet's memory runs out. In one group the kernel would evict and read again the very code that
 * the snippet is running, call that progress, and not kill it for minutes (measured).
 */
struct group {
    const char *path;
    int fd; /* its directory: the path is not to be seen later */
};
static struct group waiting = {HIERARCHY "/waiting", -1};
static struct group snippet = {HIERARCHY "/snippet", -1};

/* Kept from the snippet, for the kernel, the agent and the interpreter's program. */
static const uint64_t RESERVE_BYTES = 64ULL << 20;
/* With less than that left of its memory by its files no snippet is begun. */
static const uint64_t SNIPPET_BYTES_MIN = 8ULL << 20;

static uint64_t memory_max;

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

static int make_group(struct group *group)
{
    if (mkdir(group->path, 0700) < 0)
        return -1;
    group->fd = open(group->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group->fd < 0 || set_number(group->fd, "memory.max", memory_max) < 0)
        return -1;
    return set(group->fd, "memory.oom.group", "1"); /* half a snippet is of no use */
}

void limits_prepare(void)
{
    struct sysinfo info;
    uint64_t total;

    if (mkdir(HIERARCHY, 0700) < 0 || mount("cgroup2", HIERARCHY, "cgroup2", 0, NULL) < 0)
        agent_die_errno("cannot mount the control groups");
    if (set(AT_FDCWD, HIERARCHY "/cgroup.subtree_control", "+memory +pids") < 0 ||
        sysinfo(&info) < 0)
        agent_die_errno("cannot use the control groups");
    total = (uint64_t)info.totalram * info.mem_unit;
    memory_max = total > 2 * RESERVE_BYTES ? total - RESERVE_BYTES : total / 2;
    if (make_group(&waiting) < 0 || make_group(&snippet) < 0)
        agent_die_errno("cannot make the snippet's control groups");
}

int limits_enter_waiting(void)
{
    return set(waiting.fd, "cgroup.procs", "0");
}

int limits_enter(pid_t pid)
{
    return set_number(snippet.fd, "cgroup.procs", (uint64_t)pid);
}

int limits_set(uint64_t max_processes, uint64_t file_bytes)
{
    if (memory_max < file_bytes + SNIPPET_BYTES_MIN) {
        errno = ENOMEM;
        return -1;
    }
    if (set_number(snippet.fd, "memory.max", memory_max - file_bytes) < 0)
        return -1;
    return set_number(snippet.fd, "pids.max", max_processes);
}

/*
 * The number that stands after `key` at the start of a line; with "" the whole file is a number.
 * Return: 0 when it is not there.
 */
static uint64_t get(const struct group *group, const char *name, const char *key)
{
    cleanup_close int fd = openat(group->fd, name, O_RDONLY | O_CLOEXEC);
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

/*
 * Pages of libraries that only the snippet uses are its own to evict, so it can still come to a
 * crawl when all its memory is taken. Under TCG it was seen to wait 45 % of the time then.
 */
int limits_watch_starvation(void)
{
    static const char trigger[] = "full 1000000 4000000"; /* waited 1 of 4 seconds */
    cleanup_close int fd = openat(snippet.fd, "memory.pressure", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0 && write(fd, trigger, sizeof trigger) > 0 ? steal_fd(&fd) : -1;
}

bool limits_is_starved(void)
{
    uint64_t evictable =
        get(&snippet, "memory.stat", "file ") - get(&snippet, "memory.stat", "shmem ");

    return evictable < get(&snippet, "memory.max", "") / 32;
}

void limits_read_usage(struct usage *ret_usage)
{
    *ret_usage = (struct usage){
        .cpu_time_us = get(&snippet, "cpu.stat", "usage_usec "),
        .peak_memory_bytes = get(&snippet, "memory.peak", ""),
        .interpreter_bytes = get(&waiting, "memory.stat", "anon "),
        .oom_killed = get(&snippet, "memory.events", "oom_kill ") > 0,
    };
}
