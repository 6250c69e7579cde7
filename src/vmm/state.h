/* SPDX-License-Identifier: MIT */
/*
 * The state of a virtual processor, as KVM gives and takes it. In which order it is taken matters
 * (Documentation/virt/kvm/api.rst, and QEMU's ways): features before registers, the local APIC before
 * the MSRs that set its timer, the timer last.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { MSRS_MAX = 256 };

struct msrs {
    uint32_t count, padding; /* as in struct kvm_msrs */
    struct kvm_msr_entry entries[MSRS_MAX];
};

struct cpu_state {
    struct kvm_mp_state mp_state;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_xcrs xcrs;
    uint32_t xsave[1024]; /* as much of a struct kvm_xsave as KVM_GET_XSAVE gives */
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_debugregs debugregs;
    struct msrs msrs;   /* all that can be written, but for the clocks */
    struct msrs clocks; /* in the order in which they are to be set */
};

/* Read all of a processor that is not running, and has no access to a port unfinished. */
void state_save(int kvm_fd, int vcpu_fd, struct cpu_state *ret_state);

/* Give it to a new processor that has its CPUID: all but what goes on by itself, time. */
void state_load(int vcpu_fd, const struct cpu_state *state);

/* Read the clocks alone. */
void state_save_clocks(int vcpu_fd, struct cpu_state *state);

/* Set the processor's clocks back to where they stood. The last thing before it runs. */
void state_load_clocks(int vcpu_fd, const struct cpu_state *state);
