/* SPDX-License-Identifier: MIT */
#include "start.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "log.h"
#include "mailbox.h"
#include "mounts.h"

#define PORT_NAME "flashvm"

/* For devices that come up while we wait: ten seconds of it. */
enum { ATTEMPTS_MAX = 5000 };
static const struct timespec between_attempts = {.tv_nsec = 2 * 1000 * 1000};

/* Of the agent's program; see start_open_zygote(). */
static int home_fd = -1;

/* Our initramfs starts us in its root; libkrun's init, in the volume. Known from start_prepare() on. */
static bool in_volume;
/* The native engine's monitor has no device but a mailbox, and says so on the kernel's command line,
 * of which the kernel gives us what it does not know. */
static bool has_mailbox;

/* ---- in our initramfs ------------------------------------------------------------------------ */

static void load_module(const char *name)
{
    char path[256];
    cleanup_close int fd = -1;

    snprintf(path, sizeof path, "/modules/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        agent_die_errno("cannot open %s", path);
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
        agent_die_errno("cannot load %s", path);
}

static void load_modules(const char *list)
{
    cleanup_file FILE *order = fopen(list, "re");
    char name[200];

    if (order == NULL)
        agent_die_errno("cannot open %s", list);
    while (fscanf(order, "%199s", name) == 1)
        load_module(name);
}

/* There is no terminal: what the kernel's log gets, it prints. */
static void log_to_kernel(void)
{
    cleanup_close int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
}

static void start_machine(void)
{
    const char *transport = getenv("FLASHVM_TRANSPORT");

    has_mailbox = transport && strcmp(transport, "mailbox") == 0;
    make_directory("/proc", 0555);
    make_directory("/sys", 0555);
    make_directory("/dev", 0755);
    mount_or_die("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount_or_die("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount_or_die("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
    if (has_mailbox)
        log_to_kernel();
    load_modules(has_mailbox ? "/modules/order.native" : "/modules/order.virtio");
}

/* Does /sys/class/virtio-ports/NAME/name say that this is our port? */
static bool is_our_port(const char *directory)
{
    char path[300], name[64] = "";
    cleanup_file FILE *file = NULL;

    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", directory);
    file = fopen(path, "re");
    return file && fscanf(file, "%63s", name) == 1 && strcmp(name, PORT_NAME) == 0;
}

static int try_open_port(void)
{
    cleanup_dir DIR *ports = opendir("/sys/class/virtio-ports");
    struct dirent *entry;

    while (ports && (entry = readdir(ports)) != NULL) {
        char path[300];

        if (entry->d_name[0] == '.' || !is_our_port(entry->d_name))
            continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        return open(path, O_RDWR | O_CLOEXEC);
    }
    return -1;
}

static int open_port(void)
{
    /* The driver learns of its ports by a message from the host, some time after it is loaded. */
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        int fd = try_open_port();

        if (fd >= 0)
            return fd;
        nanosleep(&between_attempts, NULL);
    }
    agent_die("there is no virtio-serial port called " PORT_NAME);
}

/* ---- started by libkrun's init --------------------------------------------------------------- */

/*
 * The working directory is a volume of the host's, with the agent's program in it, that is mounted
 * in the image. An empty one of our own takes its place; nothing is written to the host.
 */
static void cover_volume(const char *path)
{
    mount_or_die(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL); /* shared, it could not be moved */
    mount_or_die("agent", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700");
    if (chdir(path) < 0)
        agent_die_errno("cannot enter %s", path);
}

/* They are the streams of our program: nobody else may read or write them by accident. */
static void take_standard_streams(struct channel *channel)
{
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    channel->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    channel->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (null < 0 || channel->in_fd < 0 || channel->out_fd < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0)
        agent_die_errno("cannot take the standard streams");
}

/* ---- either ---------------------------------------------------------------------------------- */

void start_prepare(void)
{
    char path[256];

    if (getcwd(path, sizeof path) == NULL)
        agent_die_errno("cannot tell the agent's directory");
    in_volume = strcmp(path, "/") != 0;
    home_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (home_fd < 0)
        agent_die_errno("cannot open the agent's directory");
    if (in_volume)
        cover_volume(path);
    else
        start_machine();
}

void start_open_channel(struct channel *channel)
{
    if (in_volume) {
        take_standard_streams(channel);
    } else if (has_mailbox) {
        mailbox_open();
        channel->in_fd = channel->out_fd = -1;
        channel->is_mailbox = true;
    } else {
        channel->in_fd = channel->out_fd = open_port();
    }
}

/* The driver of the image finds it some time after it is loaded. */
static void await_device(const char *path)
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX && access(path, F_OK) < 0; attempt++)
        nanosleep(&between_attempts, NULL);
}

void start_mount_image(const char *target)
{
    if (has_mailbox) {
        await_device("/dev/pmem0");
        mount_or_die("/dev/pmem0", target, "squashfs", MS_RDONLY, NULL);
        return;
    }
    if (!in_volume) {
        mount_or_die("/dev/vda", target, "squashfs", MS_RDONLY, NULL);
        return;
    }
    /* Without what is mounted on it. */
    mount_or_die("/", target, NULL, MS_BIND, NULL);
    mount_or_die(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
}

int start_open_zygote(void)
{
    int fd = openat(home_fd, "zygote", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        agent_die_errno("cannot open the zygote's files");
    return fd;
}
