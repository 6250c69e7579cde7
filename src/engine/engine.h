/* SPDX-License-Identifier: MIT */
/*
 * The contract of an engine: something that makes a microVM with the agent in it. An engine decides
 * how a VM is started and how its bytes travel; what they mean is none of its business.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"
#include "engine/kvm.h"

/* What the host has to offer to engines; strings outlive all VMs. Shared by any number of threads.
 */
struct fvm_host {
    const char *data_dir;    /* kernel and initramfs */
    const char *libexec_dir; /* flashvm-jail, flashvm-probe-kvm */
    const char *cache_dir;   /* open and checked; NULL: not (yet) */
    struct fvm_kvm kvm;
};

/* Whether an engine can be used here. Strings are owned by the struct. */
struct fvm_probe {
    bool usable;
    const char *accelerator; /* static: "kvm", "tcg"; NULL when not usable */
    char *reason;
    char *remedy; /* NULL when nothing needs doing */
};
void fvm_probe_finish(struct fvm_probe *probe);

/* What to boot. */
struct fvm_vm_spec {
    const char *accelerator; /* as the probe said */
    unsigned cpus;
    unsigned memory_mb;
    int rootfs_fd;           /* squashfs, read-only */
    const char *scratch_dir; /* removed if the caller dies before fvm_vm_destroy(); NULL: none */
};

/*
 * A running VM. Its process ends when the caller of fvm_engine.boot ends, however that happens.
 * Descriptors are non-blocking and closed by destroy.
 */
struct fvm_vm {
    int channel_fd; /* the stream of frames to the agent */
    int console_fd; /* what the guest's kernel and agent print */
    int log_fd;     /* what the VM's process prints */
    int control_fd; /* its end means that the VM's process is over */
    pid_t jail_pid;
    struct fvm_buffer console, log; /* the last of what was read from there, for errors */
};

struct fvm_engine {
    const char *name;
    int (*probe)(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error);
    /*
     * Look closer, where a tenth of a second does not matter: for doctor, and for why a boot
     * failed. Return: 0, or -1 with what is wrong with the engine's program.
     */
    int (*examine)(struct flashvm_error *error);
    /* Start a VM; returns when its process runs, long before the guest is up. */
    int (*boot)(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_vm *ret_vm,
                struct flashvm_error *error);
};

/* All engines, the fastest first; ends with NULL. */
extern const struct fvm_engine *const fvm_engines[];

/*
 * Choose an engine.
 * @name: "auto" takes the first that is usable.
 * @ret_accelerator: what it will use (static).
 */
int fvm_engine_select(struct fvm_host *host, const char *name, const struct fvm_engine **ret_engine,
                      const char **ret_accelerator, struct flashvm_error *error);

/* End a VM at once and wait until its processes are gone. {-1…} descriptors are allowed. */
void fvm_vm_destroy(struct fvm_vm *vm);
