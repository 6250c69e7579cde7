/* SPDX-License-Identifier: MIT */
#include "vmm/cpuid.h"

#include <asm/kvm_para.h>
#include <stdbool.h>
#include <sys/ioctl.h>

#include "vmm/fail.h"
#include "vmm/fingerprint.h"

enum {
    FEATURES = 1,
    CACHE_DESCRIPTORS = 2,
    CACHES = 4,
    TOPOLOGY = 0xb,
    TLBS = 0x18,
    TOPOLOGY_V2 = 0x1f,
    KVM_FEATURES = 0x40000001,
    AMD_FEATURES = 0x80000001,
    AMD_L1_CACHES = 0x80000005,
    AMD_L2_CACHES = 0x80000006,
    AMD_CORES = 0x80000008,
    AMD_NESTED = 0x8000000a,
    AMD_CACHES = 0x8000001d,
    AMD_TOPOLOGY = 0x8000001e,
};

enum { ECX_VMX = 1 << 5, ECX_TSC_DEADLINE = 1 << 24, AMD_ECX_SVM = 1 << 2 };
#define ECX_HYPERVISOR (1U << 31)

/*
 * Of KVM's own offers only those that need no agreement on memory which a restored guest would have
 * to renew: no steal time, no asynchronous page faults, no end-of-interrupt flag in memory.
 */
enum {
    KVM_OFFERS = 1 << KVM_FEATURE_NOP_IO_DELAY | 1 << KVM_FEATURE_CLOCKSOURCE2 |
                 1 << KVM_FEATURE_PV_TLB_FLUSH | 1 << KVM_FEATURE_PV_SEND_IPI |
                 1 << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT,
};

static void restrict_entry(int kvm_fd, struct kvm_cpuid_entry2 *entry)
{
    switch (entry->function) {
    case FEATURES:
        entry->ecx &= ~(uint32_t)ECX_VMX;
        entry->ecx |= ECX_HYPERVISOR;
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            entry->ecx |= ECX_TSC_DEADLINE; /* KVM has it, and does not list it */
        break;
    case KVM_FEATURES:
        entry->eax &= KVM_OFFERS;
        break;
    case AMD_FEATURES:
        entry->ecx &= ~(uint32_t)AMD_ECX_SVM;
        break;
    case AMD_NESTED:
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
        break;
    default:
        break;
    }
}

void cpuid_prepare(int kvm_fd, struct cpuid *ret_cpuid)
{
    ret_cpuid->count = CPUID_ENTRIES_MAX;
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, ret_cpuid) < 0)
        fail_errno("KVM does not tell the processor's features");
    for (uint32_t i = 0; i < ret_cpuid->count; i++)
        restrict_entry(kvm_fd, &ret_cpuid->entries[i]);
}

/* One core with one thread each, in one package. */
static void set_number(struct kvm_cpuid_entry2 *entry, unsigned number, unsigned cpus)
{
    switch (entry->function) {
    case FEATURES:
        entry->ebx = (entry->ebx & 0x0000ffff) | cpus << 16 | number << 24;
        break;
    case CACHES:
        entry->eax &= ~0xfc000000U; /* the number of cores, which older kernels divide by */
        break;
    case TOPOLOGY:
    case TOPOLOGY_V2:
        entry->eax = entry->ebx = 0; /* no levels: each number is a core */
        entry->ecx &= 0xff;
        entry->edx = number;
        break;
    case AMD_CORES:
        entry->ecx = cpus - 1;
        break;
    case AMD_TOPOLOGY:
        entry->eax = number;
        entry->ebx = number;
        entry->ecx = 0;
        break;
    default:
        break;
    }
}

void cpuid_install(struct cpuid *cpuid, int vcpu_fd, unsigned number, unsigned cpus)
{
    for (uint32_t i = 0; i < cpuid->count; i++)
        set_number(&cpuid->entries[i], number, cpus);
    if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
        fail_errno("KVM does not take the processor's features");
}

/* Caches differ among the cores of some hosts, and a guest may have others than it was told of. */
static bool is_of_caches(const struct kvm_cpuid_entry2 *entry)
{
    switch (entry->function) {
    case CACHE_DESCRIPTORS:
    case CACHES:
    case TLBS:
    case AMD_L1_CACHES:
    case AMD_L2_CACHES:
    case AMD_CACHES:
        return true;
    default:
        return false;
    }
}

uint64_t cpuid_fingerprint(const struct cpuid *cpuid)
{
    uint64_t print = FINGERPRINT_START;

    for (uint32_t i = 0; i < cpuid->count; i++)
        if (!is_of_caches(&cpuid->entries[i]))
            print = fingerprint(print, &cpuid->entries[i], sizeof cpuid->entries[i]);
    return print;
}
