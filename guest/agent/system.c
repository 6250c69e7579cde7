/* SPDX-License-Identifier: MIT */
#include "system.h"

#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/cleanup.h"
#include "log.h"
#include "mounts.h"
#include "start.h"

static void make_devices(void)
{
    static const struct {
        const char *path;
        unsigned major, minor;
    } nodes[] = {
        {"newroot/dev/null", 1, 3},   {"newroot/dev/zero", 1, 5},    {"newroot/dev/full", 1, 7},
        {"newroot/dev/random", 1, 8}, {"newroot/dev/urandom", 1, 9}, {"newroot/dev/tty", 5, 0},
    };
    static const char *const links[][2] = {
        {"/proc/self/fd", "newroot/dev/fd"},       {"/proc/self/fd/0", "newroot/dev/stdin"},
        {"/proc/self/fd/1", "newroot/dev/stdout"}, {"/proc/self/fd/2", "newroot/dev/stderr"},
        {"pts/ptmx", "newroot/dev/ptmx"},
    };

    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        if (mknod(nodes[i].path, S_IFCHR, makedev(nodes[i].major, nodes[i].minor)) < 0 ||
            chmod(nodes[i].path, 0666) < 0) /* mknod obeys the umask */
            agent_die_errno("cannot make %s", nodes[i].path);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlink(links[i][0], links[i][1]) < 0)
            agent_die_errno("cannot make %s", links[i][1]);
    make_directory("newroot/dev/pts", 0755);
    make_directory("newroot/dev/shm", 01777);
    mount_or_die("devpts", "newroot/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                 "newinstance,ptmxmode=0666,mode=0620");
    mount_or_die("shm", "newroot/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=20%");
}

static void copy_file(int directory, const char *name, const char *to)
{
    cleanup_close int in = openat(directory, name, O_RDONLY | O_CLOEXEC);
    cleanup_close int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
    char chunk[4096];
    ssize_t count;

    while ((count = read(in, chunk, sizeof chunk)) > 0)
        if (write(out, chunk, (size_t)count) != count)
            break;
    if (count != 0)
        agent_die_errno("cannot copy %s to %s", name, to);
}

/*
 * Settings that take kernel interfaces away which a snippet hardly needs and exploits often use. A
 * kernel without one of them is no error.
 */
static void harden_kernel(void)
{
    static const char *const settings[][2] = {
        {"/proc/sys/kernel/dmesg_restrict", "1"},
        {"/proc/sys/kernel/kptr_restrict", "2"},
        {"/proc/sys/kernel/perf_event_paranoid", "3"},
        {"/proc/sys/kernel/unprivileged_bpf_disabled", "1"},
        {"/proc/sys/kernel/io_uring_disabled", "2"},
        {"/proc/sys/kernel/modules_disabled", "1"},
        {"/proc/sys/kernel/kexec_load_disabled", "1"},
        {"/proc/sys/kernel/sysrq", "0"},
        {"/proc/sys/vm/unprivileged_userfaultfd", "0"},
        {"/proc/sys/user/max_user_namespaces", "0"},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        cleanup_close int fd = open(settings[i][0], O_WRONLY | O_CLOEXEC);

        if (fd >= 0 && write(fd, settings[i][1], strlen(settings[i][1])) < 0)
            agent_log("cannot set %s: %s", settings[i][0], strerror(errno));
    }
}

static void start_loopback(void)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        agent_log("cannot start the loopback interface: %s", strerror(errno));
}

/* The tmpfs that everything written goes to; it has no path once the root is entered. */
static int upper_fd = -1;
static int random_fd = -1;

int system_limit_disk(uint64_t bytes)
{
    struct statvfs status;
    char path[32], data[48];
    uint64_t used;

    if (fstatvfs(upper_fd, &status) < 0)
        return -1;
    used = (uint64_t)(status.f_blocks - status.f_bfree) * status.f_frsize;
    snprintf(path, sizeof path, "/proc/self/fd/%d", upper_fd);
    snprintf(data, sizeof data, "size=%ju", (uintmax_t)(used + bytes));
    return mount(NULL, path, NULL, MS_REMOUNT, data);
}

void system_enter_root(void)
{
    cleanup_close int zygote_fd = start_open_zygote();

    make_directory("lower", 0755);
    make_directory("upper", 0755);
    make_directory("newroot", 0755);
    start_mount_image("lower");
    /* Files are memory here. With both tmpfs full there must be enough left for processes to run.
     */
    mount_or_die("upper", "upper", "tmpfs", 0, "mode=0755,size=50%");
    upper_fd = open("upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper_fd < 0)
        agent_die_errno("cannot open /upper");
    make_directory("upper/data", 0755);
    make_directory("upper/work", 0755);
    /* redirect_dir: else no directory of the image could be renamed. */
    mount_or_die("root", "newroot", "overlay", MS_NOSUID | MS_NODEV,
                 "lowerdir=lower,upperdir=upper/data,workdir=upper/work,redirect_dir=on");

    static const char *const needed[] = {"dev", "proc", "sys", "run", "work"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        char path[64];

        snprintf(path, sizeof path, "newroot/%s", needed[i]);
        make_directory(path, 0755);
    }
    make_directory("newroot/tmp", 01777);
    mount_or_die("dev", "newroot/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k");
    make_devices();
    /* A snippet sees its own processes, not the agent or an interpreter that waits. */
    mount_or_die("proc", "newroot/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                 "hidepid=invisible");
    mount_or_die("sysfs", "newroot/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
                 NULL);
    mount_or_die("run", "newroot/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
    make_directory("newroot" ZYGOTE_DIRECTORY, 0755);
    copy_file(zygote_fd, "sitecustomize.py", "newroot" ZYGOTE_DIRECTORY "/sitecustomize.py");
    copy_file(zygote_fd, "leave.py", "newroot" ZYGOTE_DIRECTORY "/leave.py");

    harden_kernel();
    start_loopback();
    if (sethostname("flashvm", 7) < 0)
        agent_log("cannot set the host name: %s", strerror(errno));
    if (chdir("newroot") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        agent_die_errno("cannot enter the root file system");
    random_fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (random_fd < 0)
        agent_die_errno("cannot open /dev/urandom");
}

int system_set_clock(int64_t realtime_ns)
{
    const struct timespec now = {
        .tv_sec = realtime_ns / 1000000000,
        .tv_nsec = realtime_ns % 1000000000,
    };

    return clock_settime(CLOCK_REALTIME, &now);
}

int system_reseed(const void *seed, size_t size)
{
    struct {
        struct rand_pool_info info;
        uint8_t data[64];
    } pool = {.info = {.entropy_count = (int)size * 8, .buf_size = (int)size}};

    if (size > sizeof pool.data) {
        errno = EINVAL;
        return -1;
    }
    memcpy(pool.info.buf, seed, size);
    /* Adding alone changes the output only at the next periodic reseeding; both are needed. */
    return ioctl(random_fd, RNDADDENTROPY, &pool) < 0 || ioctl(random_fd, RNDRESEEDCRNG) < 0 ? -1
                                                                                             : 0;
}
