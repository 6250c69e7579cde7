/* SPDX-License-Identifier: MIT */
/*
 * What a VM of krunvm's is besides its process: a name, a container in containers-storage, and a
 * directory of our cache with krunvm's own configuration and the volume that the agent starts from.
 * Each run has its own, and nothing of it is used twice: krunvm follows what a guest has left in
 * the container's file system when it starts it again.
 *
 * A lock is held on it as long as it is in use. What is there without one belongs to a caller that
 * died, and is removed by the next run.
 */
#pragma once

#include "engine/engine.h"
#include "image/storage_tools.h"

/* The programs, and how they are called by this user. */
struct fvm_krunvm_tools {
    char *krunvm;
    struct fvm_storage_tools storage; /* buildah among them */
    bool is_root;                     /* else everything goes through "buildah unshare" */
};
void fvm_krunvm_tools_finish(struct fvm_krunvm_tools *tools);
#define cleanup_krunvm_tools __attribute__((cleanup(fvm_krunvm_tools_finish)))

/* FLASHVM_ENGINE_UNAVAILABLE, with what to install, when one is missing. */
int fvm_krunvm_find_tools(struct fvm_krunvm_tools *ret_tools, struct flashvm_error *error);

struct fvm_krunvm_vm {
    char *name;
    char *path;         /* of its directory */
    char *volume;       /* what FVM_KRUNVM_VOLUME is in the guest */
    char **environment; /* for krunvm, which then knows this VM and no other */
    int parent_fd, lock_fd;
};
#define FVM_KRUNVM_VM_NONE                                                                         \
    {                                                                                              \
        .parent_fd = -1, .lock_fd = -1                                                             \
    }

/* Where the guest finds the volume. krunvm 0.1 takes one component. */
#define FVM_KRUNVM_VOLUME "/flashvm"

/* Make the directory and what is in it; the VM itself is krunvm's to make. */
int fvm_krunvm_vm_make(const struct fvm_host *host, struct fvm_krunvm_vm *ret_vm,
                       struct flashvm_error *error);

/*
 * Have krunvm do something with the VM. It is never broken off: what half of it would leave, nobody
 * could find again.
 * @arguments: NULL-terminated, without "krunvm".
 */
int fvm_krunvm_vm_call(const struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools,
                       const char *const *arguments, struct fvm_caller *caller,
                       struct flashvm_error *error);

/* Remove the container, the directory and the lock. Best effort: what stays goes with a sweep. */
void fvm_krunvm_vm_remove(struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools);

/* Forget it; it stays. */
void fvm_krunvm_vm_finish(struct fvm_krunvm_vm *vm);

/* Remove what callers that died have left. */
void fvm_krunvm_vms_sweep(const char *cache_dir, const struct fvm_krunvm_tools *tools);
