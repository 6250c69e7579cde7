/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "log.h"

#define HIERARCHY "cgroup"

/* The files of a group that are used in a run. They stay open: an open() costs more than a read. */
enum file { PROCS, KILL, EVENTS, CPU, PEAK, OOM, FILE_COUNT };

static const struct {
    const char *name;
    int flags;
} files[FILE_COUNT] = {
    [PROCS] = {"cgroup.procs", O_WRONLY},   [KILL] = {"cgroup.kill", O_WRONLY},
    [EVENTS] = {"cgroup.events", O_RDONLY}, [CPU] = {"cpu.stat", O_RDONLY},
    [PEAK] = {"memory.peak", O_RDONLY},     [OOM] = {"memory.events", O_RDONLY},
};

/*
 * An interpreter waits in a group of its own and is moved when it can become the snippet; what it
 * has taken by then stays charged to the first. So the pages of its program are out of reach when
 * the snippet's memory runs out. In one group the kernel would evict and read again the very code
 * that the snippet is running, call that progress, and not kill it for minutes (measured).
 */
static struct group {
    const char *path;
    int directory; /* the path is not to be seen later */
    int fds[FILE_COUNT];
    uint64_t max_processes, file_bytes; /* as set last; 0: not yet */
} groups[LIMITS_GROUP_COUNT] = {
    [LIMITS_WAITING] = {.path = HIERARCHY "/waiting"},
    [LIMITS_SNIPPET] = {.path = HIERARCHY "/snippet"},
    [LIMITS_REHEARSAL] = {.path = HIERARCHY "/rehearsal"},
};

/* Kept from the snippet, for the kernel, the agent and the interpreter's program. */
static const uint64_t RESERVE_BYTES = 64ULL << 20;
/* With less than that left of its memory by its files no snippet is begun. */
static const uint64_t SNIPPET_BYTES_MIN = 8ULL << 20;

static uint64_t memory_max;

/* Write to a file of a directory of the hierarchy. Return: 0, or -1 with errno. */
static int set(int directory, const char *name, const char *value)
{
    cleanup_close int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, value, strlen(value)) >= 0 ? 0 : -1;
}

static int set_number(int directory, const char *name, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%ju", (uintmax_t)value);
    return set(directory, name, text);
}

static int make_group(struct group *group)
{
    if (mkdir(group->path, 0700) < 0)
        return -1;
    group->directory = open(group->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group->directory < 0 || set_number(group->directory, "memory.max", memory_max) < 0)
        return -1;
    for (size_t i = 0; i < FILE_COUNT; i++) {
        group->fds[i] = openat(group->directory, files[i].name, files[i].flags | O_CLOEXEC);
        if (group->fds[i] < 0)
            return -1;
    }
    /* Half a snippet is of no use. */
    return set(group->directory, "memory.oom.group", "1");
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
    for (size_t i = 0; i < LIMITS_GROUP_COUNT; i++)
        if (make_group(&groups[i]) < 0)
            agent_die_errno("cannot make the control group %s", groups[i].path);
}

int limits_enter(enum limits_group group, pid_t pid)
{
    char text[16];

    snprintf(text, sizeof text, "%d", pid);
    return write(groups[group].fds[PROCS], text, strlen(text)) >= 0 ? 0 : -1;
}

int limits_set(enum limits_group which, uint64_t max_processes, uint64_t file_bytes)
{
    struct group *group = &groups[which];

    if (memory_max < file_bytes + SNIPPET_BYTES_MIN) {
        errno = ENOMEM;
        return -1;
    }
    if (group->file_bytes != file_bytes &&
        set_number(group->directory, "memory.max", memory_max - file_bytes) < 0)
        return -1;
    if (group->max_processes != max_processes &&
        set_number(group->directory, "pids.max", max_processes) < 0)
        return -1;
    group->file_bytes = file_bytes;
    group->max_processes = max_processes;
    return 0;
}

/*
 * Read a file of the hierarchy and find the number that stands after `key` at the start of a line;
 * with "" the whole file is a number. Return: 0 when it is not there.
 */
static uint64_t get(int fd, const char *key)
{
    size_t length = strlen(key);
    char text[4096];
    ssize_t size = pread(fd, text, sizeof text - 1, 0);

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

static uint64_t get_from(const struct group *group, const char *name, const char *key)
{
    cleanup_close int fd = openat(group->directory, name, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? 0 : get(fd, key);
}

void limits_kill(enum limits_group which)
{
    const struct group *group = &groups[which];
    struct pollfd change = {.fd = group->fds[EVENTS], .events = POLLPRI};

    if (get(group->fds[EVENTS], "populated ") == 0)
        return;
    /* The kernel ends them all and lets none of them make another: a fork bomb, too. */
    if (write(group->fds[KILL], "1", 1) < 0)
        agent_die_errno("cannot end the snippet's processes");
    while (get(group->fds[EVENTS], "populated ") != 0)
        poll(&change, 1, 1000); /* until the file has changed since it was read */
}

/*
 * Pages of libraries that only the snippet uses are its own to evict, so it can still come to a
 * crawl when all its memory is taken. Under TCG it was seen to wait 45 % of the time then.
 */
int limits_watch_starvation(void)
{
    static const char trigger[] = "full 1000000 4000000"; /* waited 1 of 4 seconds */
    cleanup_close int fd = openat(groups[LIMITS_SNIPPET].directory, "memory.pressure",
                                  O_RDWR | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0 && write(fd, trigger, sizeof trigger) > 0 ? steal_fd(&fd) : -1;
}

bool limits_is_starved(void)
{
    const struct group *group = &groups[LIMITS_SNIPPET];
    uint64_t evictable =
        get_from(group, "memory.stat", "file ") - get_from(group, "memory.stat", "shmem ");

    return evictable < get_from(group, "memory.max", "") / 32;
}

void limits_read_usage(enum limits_group group, struct usage *ret_usage)
{
    *ret_usage = (struct usage){
        .cpu_time_us = limits_read_cpu_time_us(group),
        .peak_memory_bytes = get(groups[group].fds[PEAK], ""),
        .oom_killed = get(groups[group].fds[OOM], "oom_kill ") > 0,
    };
}

uint64_t limits_read_cpu_time_us(enum limits_group group)
{
    return get(groups[group].fds[CPU], "usage_usec ");
}

uint64_t limits_read_memory_bytes(enum limits_group group)
{
    return get_from(&groups[group], "memory.stat", "anon ");
}
