/* SPDX-License-Identifier: MIT */
/* What the guest's processors say they are: the host's, less what a guest has no use for. */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

enum { CPUID_ENTRIES_MAX = 256 };

struct cpuid {
    uint32_t count, padding; /* as in struct kvm_cpuid2 */
    struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/* All processors', but for their numbers. */
void cpuid_prepare(int kvm_fd, struct cpuid *ret_cpuid);

/* Change it to that of one processor, and give it that. */
void cpuid_install(struct cpuid *cpuid, int vcpu_fd, unsigned number, unsigned cpus);

/* A digest of it all, by which a snapshot knows the processor that it was made on. */
uint64_t cpuid_fingerprint(const struct cpuid *cpuid);
