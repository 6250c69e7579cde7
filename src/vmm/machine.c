/* SPDX-License-Identifier: MIT */
#include "vmm/machine.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/working_set.h"
#include "vmm/write_all.h"

/* Pages that VT-x needs for the real mode of a processor that is just starting; in the hole below
 * 4 GiB. */
#define TSS_ADDRESS 0xfffbd000UL

enum { PINS = 24 }; /* of the I/O APIC that we do not have */

void machine_open(struct machine *machine)
{
    machine->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (machine->kvm_fd < 0)
        fail_errno("cannot open /dev/kvm");
    if (ioctl(machine->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        fail("/dev/kvm has another interface than KVM");
}

static void create_vm(struct machine *machine)
{
    const struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {PINS}};

    do
        machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
    while (machine->vm_fd < 0 && errno == EINTR);
    if (machine->vm_fd < 0)
        fail_errno("KVM does not make a VM");
    if (ioctl(machine->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
        fail("KVM has no read-only memory");
    if (ioctl(machine->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
        fail_errno("KVM does not take the address of its own pages");
    if (ioctl(machine->vm_fd, KVM_ENABLE_CAP, &split) < 0)
        fail_errno("KVM has no local APIC without the other interrupt controllers");
}

static void create_vcpu(struct machine *machine, unsigned number, size_t run_size)
{
    struct vcpu *vcpu = &machine->vcpus[number];

    vcpu->machine = machine;
    vcpu->number = number;
    vcpu->fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, (unsigned long)number);
    if (vcpu->fd < 0)
        fail_errno("KVM does not make processor %u", number);
    vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED)
        fail_errno("cannot map processor %u", number);
    cpuid_install(&machine->cpuid, vcpu->fd, number, machine->cpus);
}

void machine_create(struct machine *machine, unsigned cpus)
{
    int run_size;

    machine->cpus = cpus;
    pthread_mutex_init(&machine->lock, NULL);
    pthread_cond_init(&machine->changed, NULL);
    create_vm(machine);
    memory_install(&machine->memory, machine->vm_fd);
    cpuid_prepare(machine->kvm_fd, &machine->cpuid);
    run_size = ioctl(machine->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run))
        fail_errno("KVM does not tell the size of a processor");
    for (unsigned i = cpus; i-- > 0;) /* the fingerprint is that of the first */
        create_vcpu(machine, i, (size_t)run_size);
}

/* ---- running --------------------------------------------------------------------------------- */

static void access_port(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct machine *machine = vcpu->machine;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    const uint16_t port = run->io.port;

    if (run->io.direction == KVM_EXIT_IO_IN && port == FVM_MAILBOX_PORT_RECEIVE)
        machine_await_host(machine, vcpu);
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
        if (run->io.direction == KVM_EXIT_IO_IN)
            ports_read(&machine->ports, port, data, run->io.size);
        else
            ports_write(&machine->ports, port, data, run->io.size);
}

/* For good: the snapshot ends the program. */
static _Noreturn void stand_still(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    machine->stopped++;
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
    for (;;)
        pause();
}

static bool is_stopping(struct machine *machine)
{
    bool stopping;

    pthread_mutex_lock(&machine->lock);
    stopping = machine->stopping;
    pthread_mutex_unlock(&machine->lock);
    return stopping;
}

static _Noreturn void end(const char *how)
{
    fprintf(stderr, "flashvm-vmm: the guest has ended: %s\n", how);
    _exit(0);
}

static void handle_exit(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        access_port(vcpu);
        break;
    case KVM_EXIT_MMIO: /* there is nothing; what is read is all ones */
        if (!run->mmio.is_write)
            memset(vcpu->run->mmio.data, 0xff, sizeof vcpu->run->mmio.data);
        break;
    case KVM_EXIT_IOAPIC_EOI:
        break; /* of an interrupt that the guest has made up */
    case KVM_EXIT_SHUTDOWN:
        end("a triple fault, as after a panic or a reboot");
    case KVM_EXIT_SYSTEM_EVENT:
        end("it has asked for it");
    case KVM_EXIT_FAIL_ENTRY:
        fail("processor %u cannot enter the guest (hardware reason 0x%jx)", vcpu->number,
             (uintmax_t)run->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR:
        fail("KVM cannot go on with processor %u (error %u)", vcpu->number, run->internal.suberror);
    default:
        fail("processor %u has left the guest in an unknown way (%u)", vcpu->number,
             run->exit_reason);
    }
}

static _Noreturn void run_vcpu(struct vcpu *vcpu)
{
    for (;;) {
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
            handle_exit(vcpu);
        else if (errno != EINTR && errno != EAGAIN)
            fail_errno("KVM does not run processor %u", vcpu->number);
        else if (is_stopping(vcpu->machine))
            stand_still(vcpu->machine);
    }
}

static void *work(void *data)
{
    struct vcpu *vcpu = data;
    struct machine *machine = vcpu->machine;

    pthread_mutex_lock(&machine->lock);
    machine->started++;
    pthread_cond_broadcast(&machine->changed);
    while (!machine->running)
        pthread_cond_wait(&machine->changed, &machine->lock);
    pthread_mutex_unlock(&machine->lock);
    run_vcpu(vcpu);
}

static void on_kick(int signal_number)
{
    (void)signal_number; /* it has made KVM_RUN return */
}

void machine_start_threads(struct machine *machine)
{
    if (sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_kick}, NULL) < 0)
        fail_errno("cannot handle a signal");
    machine->vcpus[0].thread = pthread_self();
    for (unsigned i = 1; i < machine->cpus; i++) {
        const int err = pthread_create(&machine->vcpus[i].thread, NULL, work, &machine->vcpus[i]);

        if (err != 0)
            fail("cannot start the thread of processor %u: %s", i, strerror(err));
    }
    pthread_mutex_lock(&machine->lock);
    while (machine->started < machine->cpus - 1)
        pthread_cond_wait(&machine->changed, &machine->lock);
    pthread_mutex_unlock(&machine->lock);
}

_Noreturn void machine_run(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    machine->running = true;
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
    run_vcpu(&machine->vcpus[0]);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void get_clock(const struct machine *machine, struct kvm_clock_data *ret_clock)
{
    if (ioctl(machine->vm_fd, KVM_GET_CLOCK, ret_clock) < 0)
        fail_errno("KVM does not tell its clock");
}

static void set_clock(const struct machine *machine, uint64_t ns)
{
    const struct kvm_clock_data clock = {.clock = ns};

    if (ioctl(machine->vm_fd, KVM_SET_CLOCK, &clock) < 0)
        fail_errno("KVM does not take the time");
}

struct snapshot_place machine_place(const struct machine *machine)
{
    const int tsc_khz = ioctl(machine->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

    if (tsc_khz <= 0)
        fail_errno("KVM does not tell the frequency of the processor's clock");
    return (struct snapshot_place){
        .ram_size = machine->memory.ram_size,
        .image_size = machine->memory.image_size,
        .cpuid = cpuid_fingerprint(&machine->cpuid),
        .tsc_khz = (uint32_t)tsc_khz,
        .cpus = machine->cpus,
    };
}

/* Let the access that it has stopped at come to its end, and go no further. */
static void finish_access(struct vcpu *vcpu)
{
    vcpu->run->immediate_exit = 1;
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0 || errno != EINTR)
        fail("processor %u does not stop", vcpu->number);
}

static void stop_others(struct machine *machine, const struct vcpu *self)
{
    pthread_mutex_lock(&machine->lock);
    if (machine->stopping) { /* a guest that waits twice is of no use, but does no harm */
        pthread_mutex_unlock(&machine->lock);
        for (;;)
            pause();
    }
    machine->stopping = true;
    for (unsigned i = 0; i < machine->cpus; i++) {
        if (i == self->number)
            continue;
        machine->vcpus[i].run->immediate_exit = 1;
        pthread_kill(machine->vcpus[i].thread, SIGUSR1);
    }
    while (machine->stopped < machine->cpus - 1)
        pthread_cond_wait(&machine->changed, &machine->lock);
    pthread_mutex_unlock(&machine->lock);
}

/* Stop all processors and tell the host their state. */
static _Noreturn void give_snapshot(struct machine *machine, struct vcpu *waiting)
{
    struct snapshot_place place;
    struct snapshot *snapshot;
    const struct mailbox *mailbox = &machine->ports.mailbox;
    struct kvm_clock_data clock;

    stop_others(machine, waiting); /* KVM tells nothing of a processor that runs */
    finish_access(waiting);
    place = machine_place(machine);
    snapshot = snapshot_new(&place);
    get_clock(machine, &clock);
    snapshot->clock_ns = clock.clock;
    snapshot->waiting_cpu = waiting->number;
    snapshot->page_count = mailbox->page_count;
    memcpy(snapshot->pages, mailbox->pages, sizeof snapshot->pages);
    for (unsigned i = 0; i < machine->cpus; i++)
        state_save(machine->kvm_fd, machine->vcpus[i].fd, &snapshot->cpus[i]);
    snapshot_close(snapshot);
    write_all(machine->monitor_fd, snapshot, snapshot->size);
    _exit(0);
}

static void obey(struct machine *machine, struct vcpu *waiting, char command)
{
    if (command == FVM_MONITOR_SNAPSHOT && !machine->is_copy)
        give_snapshot(machine, waiting);
    if (command == FVM_MONITOR_WORKING_SET && machine->watch_fd >= 0) {
        working_set_send(&machine->memory, machine->watch_fd, machine->monitor_fd);
        _exit(0);
    }
    fail("the host asks for what this machine does not have");
}

static void wait_for_either(struct pollfd polls[2])
{
    while (poll(polls, 2, -1) < 0)
        ; /* for a signal */
}

/*
 * While a guest of one processor waits again, its time stands still: else each of its timers that
 * would have been due meanwhile is a call of its kernel's on the way to the snippet. (With more
 * processors the others would have to stand still, too.)
 */
static void wait_without_time(struct machine *machine, struct vcpu *waiting, struct pollfd polls[2])
{
    struct kvm_clock_data clock;
    struct cpu_state state;

    get_clock(machine, &clock);
    state_save_clocks(waiting->fd, &state);
    wait_for_either(polls);
    set_clock(machine, clock.clock);
    state_load_clocks(waiting->fd, &state);
}

void machine_await_host(struct machine *machine, struct vcpu *waiting)
{
    for (;;) {
        struct pollfd polls[] = {
            {.fd = machine->ports.mailbox.channel_fd, .events = POLLIN},
            {.fd = machine->monitor_fd, .events = POLLIN},
        };
        char command;

        if (poll(polls, 2, 0) == 0 && machine->is_copy) {
            if (machine->running && machine->cpus == 1)
                wait_without_time(machine, waiting, polls);
            else
                wait_for_either(polls);
        }
        if (polls[1].revents && read(machine->monitor_fd, &command, 1) == 1)
            obey(machine, waiting, command);
        else if (polls[1].revents)
            machine->monitor_fd = -1;
        if (polls[0].revents || !machine->is_copy)
            return;
    }
}

void machine_load(struct machine *machine, const struct snapshot *snapshot)
{
    struct mailbox *mailbox = &machine->ports.mailbox;

    for (unsigned i = 0; i < machine->cpus; i++)
        state_load(machine->vcpus[i].fd, &snapshot->cpus[i]);
    mailbox->page_count = snapshot->page_count;
    memcpy(mailbox->pages, snapshot->pages, sizeof mailbox->pages);
}

void machine_wake(struct machine *machine, const struct snapshot *snapshot, uint32_t value)
{
    struct kvm_regs regs = snapshot->cpus[snapshot->waiting_cpu].regs;

    regs.rax = value;
    set_clock(machine, snapshot->clock_ns);
    for (unsigned i = 0; i < machine->cpus; i++)
        state_load_clocks(machine->vcpus[i].fd, &snapshot->cpus[i]);
    if (ioctl(machine->vcpus[snapshot->waiting_cpu].fd, KVM_SET_REGS, &regs) < 0)
        fail_errno("KVM does not take a processor's registers");
}
