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
enum { PROCESSES_MAX = 4096 };

static int procs_fd = -1;

static void set(const char *path, const char *value)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        agent_die_errno("cannot write %s to %s", value, path);
}

static void set_number(const char *path, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%ju", (uintmax_t)value);
    set(path, text);
}

void limits_prepare(void)
{
    struct sysinfo info;
    uint64_t total;

    if (mkdir(HIERARCHY, 0700) < 0 || mount("cgroup2", HIERARCHY, "cgroup2", 0, NULL) < 0)
        agent_die_errno("cannot mount the control groups");
    set(HIERARCHY "/cgroup.subtree_control", "+memory +pids");
    if (mkdir(GROUP, 0700) < 0 || sysinfo(&info) < 0)
        agent_die_errno("cannot make the snippet's control group");
    total = (uint64_t)info.totalram * info.mem_unit;
    set_number(GROUP "/memory.max", total > 2 * RESERVE_BYTES ? total - RESERVE_BYTES : total / 2);
    set(GROUP "/memory.oom.group", "1"); /* half a snippet is of no use */
    set_number(GROUP "/pids.max", PROCESSES_MAX);
    procs_fd = open(GROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs_fd < 0)
        agent_die_errno("cannot open the snippet's control group");
}

int limits_enter(void)
{
    return write(procs_fd, "0", 1) == 1 ? 0 : -1;
}
