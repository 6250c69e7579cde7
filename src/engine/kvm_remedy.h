/* SPDX-License-Identifier: MIT */
/* Why KVM is not usable, as far as this machine shows it, and what to do about it. */
#pragma once

#include "engine/kvm.h"

/* What is looked at; tests have their own. */
struct fvm_kvm_places {
    const char *device;                 /* /dev/kvm */
    const char *sysfs;                  /* there as long as the kernel has such a device */
    const char *cpuinfo;                /* /proc/cpuinfo */
    const char *const *container_marks; /* files of which one is there in a container; NULL ends */
};
extern const struct fvm_kvm_places fvm_kvm_places; /* this machine's */

#define FVM_KVM_NO_DEVICE "there is no /dev/kvm"

/*
 * @kvm: not usable, and its reason is FVM_KVM_NO_DEVICE or what the probe said. What is seen of the
 * cause is put behind that, and the remedy is set.
 */
void fvm_kvm_explain(struct fvm_kvm *kvm, const struct fvm_kvm_places *places);
