/* SPDX-License-Identifier: MIT */
/* Does /dev/kvm really run guests? Asked once per library handle, by a child process with a
 * deadline. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct fvm_kvm {
    pthread_mutex_t lock;
    bool known;
    bool usable;
    char reason[240]; /* why not; "" when usable */
    char remedy[400]; /* what to do about it; "" when usable */
};

void fvm_kvm_init(struct fvm_kvm *kvm);
void fvm_kvm_finish(struct fvm_kvm *kvm);

/*
 * Find out, or return what is known. Takes up to two seconds the first time.
 * @cache_dir: where the answer is kept; NULL: nowhere.
 */
bool fvm_kvm_is_usable(struct fvm_kvm *kvm, const char *libexec_dir, const char *cache_dir);

/*
 * What a guest under KVM sees of this host, or is told by it: the processor and the kernel. One line
 * of text, to be freed; NULL when it cannot be told.
 */
char *fvm_kvm_describe_host(void);
