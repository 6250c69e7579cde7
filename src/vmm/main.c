/* SPDX-License-Identifier: MIT */
/*
 * flashvm-vmm: the monitor of one KVM guest, from its boot or from a snapshot to its end.
 *
 *     flashvm-vmm --cpus N --memory BYTES --image FD --channel FD
 *                 [--ram FD] [--monitor FD] (--kernel FD --initramfs FD | --snapshot FD [--watch])
 *
 * It serves one run. With --kernel the guest boots; --ram is then the file that becomes its memory,
 * and "S" on the monitor's socket, once the guest waits for the host, makes it write a snapshot there
 * and end. With --snapshot a guest goes on where that was taken, with a copy-on-write view of --ram,
 * as soon as something comes from the channel. With --watch, "W" on the monitor's socket makes it write
 * there which pages it has needed, and end.
 *
 * Standard output is the guest's console, standard error what this program has to say.
 */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/boot.h"
#include "vmm/confine.h"
#include "vmm/fail.h"
#include "vmm/machine.h"
#include "vmm/working_set.h"

/*
 * Only warnings are printed: each byte is an exit. Nothing is asked of devices that are not there.
 */
#define COMMAND_LINE                                                                               \
    "console=ttyS0 loglevel=5 panic=-1 reboot=t tsc=reliable no_timer_check cryptomgr.notests "    \
    "audit=0 random.trust_cpu=on transparent_hugepage=never pci=conf1 i8042.noaux i8042.nokbd "    \
    "8250.nr_uarts=1 printk.devkmsg=on FLASHVM_TRANSPORT=mailbox"

struct arguments {
    unsigned long cpus, memory;
    int kernel, initramfs, snapshot, ram, image, channel, monitor;
    bool watch;
};

static void parse(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = {
        {"cpus", required_argument, NULL, 'c'},
        {"memory", required_argument, NULL, 'm'},
        {"kernel", required_argument, NULL, 'k'},
        {"initramfs", required_argument, NULL, 'i'},
        {"snapshot", required_argument, NULL, 's'},
        {"ram", required_argument, NULL, 'r'},
        {"image", required_argument, NULL, 'g'},
        {"channel", required_argument, NULL, 'h'},
        {"monitor", required_argument, NULL, 'o'},
        {"watch", no_argument, NULL, 'w'},
        {0},
    };
    int option;

    *ret = (struct arguments){0, 0, -1, -1, -1, -1, -1, -1, -1, false};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        const unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;

        switch (option) {
        case 'c':
            ret->cpus = value;
            break;
        case 'm':
            ret->memory = value;
            break;
        case 'k':
            ret->kernel = (int)value;
            break;
        case 'i':
            ret->initramfs = (int)value;
            break;
        case 's':
            ret->snapshot = (int)value;
            break;
        case 'r':
            ret->ram = (int)value;
            break;
        case 'g':
            ret->image = (int)value;
            break;
        case 'h':
            ret->channel = (int)value;
            break;
        case 'o':
            ret->monitor = (int)value;
            break;
        case 'w':
            ret->watch = true;
            break;
        default:
            exit(2);
        }
    }
    if (ret->cpus == 0 || ret->cpus > CPUS_MAX || ret->memory < PAGE_BYTES || ret->image < 0 ||
        ret->channel < 0 || (ret->snapshot < 0) == (ret->kernel < 0) ||
        (ret->kernel < 0) != (ret->initramfs < 0) || (ret->snapshot >= 0 && ret->ram < 0))
        fail("wrong arguments (this is a part of flashVM, not a command)");
}

static _Noreturn void boot(struct machine *machine, const struct arguments *arguments)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    uint64_t entry;

    memory_map_ram(&machine->memory, arguments->memory, arguments->ram, MAP_SHARED);
    memory_map_image(&machine->memory, arguments->image);
    machine_create(machine, (unsigned)arguments->cpus);
    entry = boot_load(&machine->memory, arguments->kernel, arguments->initramfs, COMMAND_LINE,
                      machine->cpus);
    if (ioctl(machine->vcpus[0].fd, KVM_GET_SREGS, &sregs) < 0)
        fail_errno("KVM does not give a processor's registers");
    boot_set_registers(entry, &regs, &sregs);
    if (ioctl(machine->vcpus[0].fd, KVM_SET_SREGS, &sregs) < 0 ||
        ioctl(machine->vcpus[0].fd, KVM_SET_REGS, &regs) < 0)
        fail_errno("KVM does not take a processor's registers");
    machine_start_threads(machine);
    confine();
    machine_run(machine);
}

static const struct snapshot *map_snapshot(int fd, size_t *ret_size)
{
    struct stat status;
    void *bytes;

    if (fstat(fd, &status) < 0)
        fail_errno("cannot look at the snapshot");
    *ret_size = (size_t)status.st_size;
    bytes = mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED)
        fail_errno("cannot map the snapshot");
    return bytes;
}

/* What may follow the snapshot. */
static void populate(const struct machine *machine, const struct snapshot *snapshot, size_t size)
{
    const struct working_set *set = (const void *)((const char *)snapshot + snapshot->size);

    if (working_set_is_whole(set, size - snapshot->size, &machine->memory))
        working_set_populate(set, &machine->memory, machine->kvm_fd, machine->vcpus[0].fd);
}

static _Noreturn void restore(struct machine *machine, const struct arguments *arguments)
{
    size_t size;
    const struct snapshot *snapshot = map_snapshot(arguments->snapshot, &size);
    struct snapshot_place place;
    enum snapshot_flaw flaw;
    uint32_t received;

    memory_map_ram(&machine->memory, arguments->memory, arguments->ram, MAP_PRIVATE);
    memory_map_image(&machine->memory, arguments->image);
    machine_create(machine, (unsigned)arguments->cpus);
    place = machine_place(machine);
    flaw = snapshot_check(snapshot, size, &place, &machine->memory);
    if (flaw != SNAPSHOT_WHOLE)
        fail("%s", snapshot_flaw_text(flaw));
    machine_load(machine, snapshot);
    machine->is_copy = true;
    if (arguments->watch)
        machine->watch_fd = working_set_watch(&machine->memory);
    populate(machine, snapshot, size);
    machine_start_threads(machine);
    confine();
    machine_await_host(machine, &machine->vcpus[snapshot->waiting_cpu]);
    received = mailbox_receive(&machine->ports.mailbox);
    if (received == FVM_MAILBOX_CLOSED)
        exit(0);
    machine_wake(machine, snapshot, received);
    machine_run(machine);
}

int main(int argc, char **argv)
{
    static struct machine machine;
    struct arguments arguments;

    parse(argc, argv, &arguments);
    mallopt(M_ARENA_MAX, 1); /* a thread's own takes system calls that are not allowed */
    machine.monitor_fd = arguments.monitor;
    machine.watch_fd = -1;
    machine.ports.console.fd = STDOUT_FILENO;
    machine.ports.mailbox.channel_fd = arguments.channel;
    machine.ports.mailbox.memory = &machine.memory;
    if (fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK) < 0)
        fail_errno("cannot print to the console");
    machine_open(&machine);
    if (arguments.snapshot >= 0)
        restore(&machine, &arguments);
    boot(&machine, &arguments);
}
