/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: KVM's objects, and the loop in which each processor runs. Interrupt controllers
 * are KVM's local APICs alone; there is no device that interrupts.
 */
#pragma once

#include <pthread.h>

#include "vmm/cpuid.h"
#include "vmm/ports.h"
#include "vmm/snapshot.h"

struct machine;

struct vcpu {
    struct machine *machine;
    unsigned number;
    int fd;
    struct kvm_run *run;
    pthread_t thread; /* of all but the first, which has the main thread */
};

struct machine {
    int kvm_fd, vm_fd;
    int monitor_fd; /* by which the host asks for more than a run; -1: it cannot */
    int watch_fd;   /* of working_set_watch(); -1: none */
    bool is_copy;   /* it waits for the host in FVM_MAILBOX_PORT_RECEIVE, and gives no snapshot */
    struct memory memory;
    struct ports ports;
    struct cpuid cpuid;
    unsigned cpus;
    struct vcpu vcpus[CPUS_MAX];

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t changed;
    bool running, stopping;
    unsigned started; /* threads */
    unsigned stopped; /* processors that stand still since `stopping` */
};

/* Open /dev/kvm. */
void machine_open(struct machine *machine);

/* Make the VM and its processors; its memory is mapped already. */
void machine_create(struct machine *machine, unsigned cpus);

/*
 * Start the threads of all processors but the first; they wait until machine_run(). Before confine():
 * a thread that begins makes system calls of its own.
 */
void machine_start_threads(struct machine *machine);

/* Run it; the calling thread is the first processor's. */
_Noreturn void machine_run(struct machine *machine);

/* What a snapshot of it has to agree with. */
struct snapshot_place machine_place(const struct machine *machine);

/*
 * The guest waits for the host: do what the host asks of the monitor, and in a copy wait until
 * something comes for the guest.
 * @waiting: the processor, which has just left the guest by a read of FVM_MAILBOX_PORT_RECEIVE.
 */
void machine_await_host(struct machine *machine, struct vcpu *waiting);

/* Go on where a snapshot was taken: its processors get their state, but for their clocks. */
void machine_load(struct machine *machine, const struct snapshot *snapshot);

/* Time goes on, and the processor that waits for the host reads that value. */
void machine_wake(struct machine *machine, const struct snapshot *snapshot, uint32_t value);
