/* SPDX-License-Identifier: MIT */
#include "jail/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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
 * anyway. Return: do we have mounts of our own?
 */
static bool leave_namespaces(void)
{
    const int kinds = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

    if (geteuid() != 0) {
        (void)unshare(CLONE_NEWUSER | kinds);
        return false;
    }
    if (unshare(CLONE_NEWNS | kinds) == 0)
        return true;
    if (errno != EPERM)
        die("leave the host's namespaces");
    return false;
}

/* Make a device node for the VM's user alone. */
static bool make_device(const char *path, dev_t number, uid_t uid)
{
    return mknod(path, S_IFCHR | 0600, number) == 0 && chown(path, uid, uid) == 0;
}

/*
 * Stage 2, as root: a /dev with nothing but what the program needs, owned by its user. Where making
 * nodes is forbidden (a container), the host's stays, with the device's group. Return: was it done?
 */
static bool replace_devices(const char *device, uid_t uid)
{
    struct stat status;

    if (device && stat(device, &status) < 0)
        die("find the device that the VM needs");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("dev", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0)
        return false;
    if (make_device("/dev/null", makedev(1, 3), uid) &&
        make_device("/dev/zero", makedev(1, 5), uid) &&
        make_device("/dev/urandom", makedev(1, 9), uid) &&
        (device == NULL || make_device(device, status.st_rdev, uid)))
        return true;
    if (umount("/dev") < 0)
        die("take back the VM's devices");
    return false;
}

/* Stage 3: limits. */
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
        /* It may still do; if not, this stands beside the program's own complaint. */
        if (limits[i].resource == RLIMIT_AS && limits[i].value != RLIM_INFINITY &&
            limit.rlim_max < limits[i].value)
            fprintf(stderr,
                    "flashvm-jail: the VM may need %ju MiB of address space, and the caller's "
                    "limit is %ju MiB (see ulimit -v)\n",
                    (uintmax_t)limits[i].value >> 20, (uintmax_t)limit.rlim_max >> 20);
        if (limits[i].value < limit.rlim_max)
            limit.rlim_max = limits[i].value;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(limits[i].resource, &limit) < 0)
            die(limits[i].stage);
    }
}

/* Stage 4: another user, when we are root. In a user namespace (a container) only some ids exist.
 */
static void drop_user(uid_t uid, const char *group_of)
{
    struct stat device;
    gid_t groups[1];
    size_t group_count = 0;

    if (group_of && stat(group_of, &device) == 0 && device.st_gid != 0)
        groups[group_count++] = device.st_gid;
    if (setgroups(group_count, groups) < 0)
        die("drop groups");
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) {
        uid = NOBODY;
        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
            die("become an unprivileged user");
    }
}

/* Stage 5: nothing can be gained back. */
static void renounce_privileges(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("renounce new privileges");
    if (syscall(SYS_capset, &header, none) < 0)
        die("drop capabilities");
}

static void confine_strictly(const struct confinement *confinement)
{
    uid_t uid = UID_BASE + (uid_t)getpid();
    bool root = geteuid() == 0;
    bool own_mounts = leave_namespaces();
    bool own_devices = own_mounts && replace_devices(confinement->device, uid);

    limit_resources(confinement);
    if (root)
        drop_user(uid, own_devices ? NULL : confinement->device);
    renounce_privileges();
    umask(077);
}

/*
 * libkrun passes a guest's sockets on to its own process, those of the guest's loopback as well: they
 * need one there. It is the namespace's own, and leads nowhere else. Best effort.
 */
static void start_loopback(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (fd < 0)
        return;
    (void)ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

/*
 * For a program that has to make mounts: it stays who it is, and all it may reach of the host's
 * network is nothing. Its mounts end with it.
 */
static void keep_rights(void)
{
    const struct rlimit none = {0};

    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        die("leave the host's network");
    start_loopback();
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("have mounts of its own");
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        die("forbid core dumps");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("renounce new privileges");
}

void confine(const struct confinement *confinement)
{
    if (confinement->keeps_rights) {
        keep_rights();
        return;
    }
    confine_strictly(confinement);
}
