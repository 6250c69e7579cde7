/* SPDX-License-Identifier: MIT */
#include "vmm/state.h"

#include <asm/kvm_para.h>
#include <cpuid.h>
#include <sys/ioctl.h>

#include "vmm/fail.h"

enum {
    MSR_TSC = 0x10,
    MSR_KVM_WALL_CLOCK_OLD = 0x11,
    MSR_KVM_SYSTEM_TIME_OLD = 0x12,
    MSR_TSC_DEADLINE = 0x6e0,
};

enum { MSR_INDEXES_MAX = 1024, SEGMENT_TSS_AVAILABLE = 9 };

/* By these the guest's time goes on: the counter first, what is measured by it after that. */
static const uint32_t clocks[] = {MSR_TSC, MSR_KVM_SYSTEM_TIME_NEW, MSR_TSC_DEADLINE};

static bool is_clock(uint32_t index)
{
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++)
        if (clocks[i] == index)
            return true;
    return false;
}

/* A write to these makes KVM write into the guest's memory. */
static bool is_request(uint32_t index)
{
    return index == MSR_KVM_WALL_CLOCK_OLD || index == MSR_KVM_SYSTEM_TIME_OLD ||
           index == MSR_KVM_WALL_CLOCK_NEW;
}

static void get(int vcpu_fd, unsigned long request, void *part, const char *what)
{
    if (ioctl(vcpu_fd, request, part) < 0)
        fail_errno("KVM does not give a processor's %s", what);
}

static void set(int vcpu_fd, unsigned long request, const void *part, const char *what)
{
    if (ioctl(vcpu_fd, request, part) < 0)
        fail_errno("KVM does not take a processor's %s", what);
}

/* Add one, when KVM gives it and takes it back. */
static void save_msr(int vcpu_fd, uint32_t index, struct msrs *msrs)
{
    struct {
        uint32_t count, padding;
        struct kvm_msr_entry entry;
    } one = {.count = 1, .entry.index = index};

    if (ioctl(vcpu_fd, KVM_GET_MSRS, &one) != 1 || ioctl(vcpu_fd, KVM_SET_MSRS, &one) != 1)
        return;
    if (msrs->count == MSRS_MAX)
        fail("the processor has more than %d model-specific registers", MSRS_MAX);
    msrs->entries[msrs->count++] = one.entry;
}

void state_save_clocks(int vcpu_fd, struct cpu_state *state)
{
    state->clocks.count = 0;
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++)
        save_msr(vcpu_fd, clocks[i], &state->clocks);
}

static void save_msrs(int kvm_fd, int vcpu_fd, struct cpu_state *state)
{
    struct {
        uint32_t count;
        uint32_t indexes[MSR_INDEXES_MAX];
    } list = {.count = MSR_INDEXES_MAX};

    state_save_clocks(vcpu_fd, state);
    if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &list) < 0)
        fail_errno("KVM does not tell its model-specific registers");
    for (uint32_t i = 0; i < list.count; i++)
        if (!is_clock(list.indexes[i]) && !is_request(list.indexes[i]))
            save_msr(vcpu_fd, list.indexes[i], &state->msrs);
}

void state_save(int kvm_fd, int vcpu_fd, struct cpu_state *ret_state)
{
    *ret_state = (struct cpu_state){0};
    get(vcpu_fd, KVM_GET_MP_STATE, &ret_state->mp_state,
        "activity"); /* it settles what is pending */
    get(vcpu_fd, KVM_GET_REGS, &ret_state->regs, "registers");
    get(vcpu_fd, KVM_GET_SREGS, &ret_state->sregs, "system registers");
    get(vcpu_fd, KVM_GET_XCRS, &ret_state->xcrs, "extended control registers");
    get(vcpu_fd, KVM_GET_XSAVE, ret_state->xsave, "vector registers");
    get(vcpu_fd, KVM_GET_LAPIC, &ret_state->lapic, "local APIC");
    get(vcpu_fd, KVM_GET_VCPU_EVENTS, &ret_state->events, "events");
    get(vcpu_fd, KVM_GET_DEBUGREGS, &ret_state->debugregs, "debug registers");
    save_msrs(kvm_fd, vcpu_fd, ret_state);
}

static void set_msrs(int vcpu_fd, const struct msrs *msrs)
{
    int count = ioctl(vcpu_fd, KVM_SET_MSRS, msrs);

    if (count < 0)
        fail_errno("KVM does not take a processor's model-specific registers");
    if ((uint32_t)count < msrs->count)
        fail("KVM does not take the model-specific register 0x%x", msrs->entries[count].index);
}

/*
 * QEMU's emulated SVM (TCG) looks for a task state segment that is not busy when a program uses a
 * port, and KVM gives it back as busy, as it is. VT-x insists on the latter, so this is for the
 * emulated processor alone.
 */
static bool is_emulated_host(void)
{
    unsigned eax, name[3];

    __cpuid(0x40000000, eax, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

void state_load(int vcpu_fd, const struct cpu_state *state)
{
    struct kvm_sregs sregs = state->sregs;

    if (is_emulated_host())
        sregs.tr.type = SEGMENT_TSS_AVAILABLE;
    set(vcpu_fd, KVM_SET_SREGS, &sregs, "system registers");
    set(vcpu_fd, KVM_SET_XCRS, &state->xcrs, "extended control registers");
    set(vcpu_fd, KVM_SET_XSAVE, state->xsave, "vector registers");
    set(vcpu_fd, KVM_SET_REGS, &state->regs, "registers");
    set(vcpu_fd, KVM_SET_LAPIC, &state->lapic, "local APIC");
    set_msrs(vcpu_fd, &state->msrs);
    set(vcpu_fd, KVM_SET_MP_STATE, &state->mp_state, "activity");
    set(vcpu_fd, KVM_SET_VCPU_EVENTS, &state->events, "events");
    set(vcpu_fd, KVM_SET_DEBUGREGS, &state->debugregs, "debug registers");
}

void state_load_clocks(int vcpu_fd, const struct cpu_state *state)
{
    set_msrs(vcpu_fd, &state->clocks);
}
