/* SPDX-License-Identifier: MIT */
#include "jail/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Above every range that systemd's UIDS-GIDS gives a meaning, and each process has its own: two VMs
 * can neither signal nor trace each other.
 */
enum { UID_BASE = 2000000000 };
enum { NOBODY = 65534 };

static void die(const char *stage)
{
    fprintf(stderr, "flashvm-jail: cannot %s: %s\n", stage, strerror(errno));
    _exit(1);
}

/*
 * Stage 1: no network, no shared memory of others, no mounts that appear later. An ordinary user
 * needs a user namespace for that, which some systems forbid; the program has no network device
 * anyway.
 */
static void leave_namespaces(void)
{
    if (geteuid() == 0) {
        if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS) < 0 && errno != EPERM)
            die("leave the host's namespaces");
        return;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return;
}

/* Stage 2: limits. */
static void limit_resources(const struct confinement *confinement)
{
    const struct {
        int resource;
        rlim_t value;
        const char *stage;
    } limits[] = {
        {RLIMIT_CORE, 0, "forbid core dumps"}, /* they would hold the guest's memory */
        {RLIMIT_FSIZE, 0, "forbid writing files"},
        {RLIMIT_NOFILE, 256, "limit descriptors"},
        {RLIMIT_MEMLOCK, 0, "forbid locking memory"},
        {RLIMIT_AS, confinement->memory_bytes_max ? confinement->memory_bytes_max : RLIM_INFINITY,
         "limit memory"},
    };

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;

        if (getrlimit(limits[i].resource, &limit) < 0)
            die(limits[i].stage);
        if (limits[i].value < limit.rlim_max)
            limit.rlim_max = limits[i].value;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(limits[i].resource, &limit) < 0)
            die(limits[i].stage);
    }
}

/* Stage 3: another user, when we are root. */
static void drop_user(const struct confinement *confinement)
{
    uid_t uid = UID_BASE + (uid_t)getpid();
    struct stat device;
    gid_t groups[1];
    size_t group_count = 0;

    if (geteuid() != 0)
        return;
    if (confinement->keep_group_of && stat(confinement->keep_group_of, &device) == 0 &&
        device.st_gid != 0)
        groups[group_count++] = device.st_gid;
    if (setgroups(group_count, groups) < 0)
        die("drop groups");
    /* In a user namespace (a container) only some ids exist. */
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) {
        uid = NOBODY;
        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
            die("become an unprivileged user");
    }
}

/* Stage 4: nothing can be gained back. */
static void renounce_privileges(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("renounce new privileges");
    if (syscall(SYS_capset, &header, none) < 0)
        die("drop capabilities");
}

void confine(const struct confinement *confinement)
{
    leave_namespaces();
    limit_resources(confinement);
    drop_user(confinement);
    renounce_privileges();
    umask(077);
}
