/* SPDX-License-Identifier: MIT */
/*
 * The contract of an engine: something that makes a microVM with the agent in it. An engine decides
 * how a VM is started, how its bytes travel, and what a stopped one looks like; what the bytes mean
 * is none of its business.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/caller.h"
#include "base/error.h"
#include "engine/kvm.h"
#include "image/image.h"

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

/* What to make. */
struct fvm_vm_spec {
    const char *accelerator; /* as the probe said */
    unsigned cpus;
    unsigned memory_mb;
    const struct fvm_image *image; /* for an engine that does not take rootfs_fd */
    int rootfs_fd;                 /* squashfs, read-only */
    int memory_fd; /* of fvm_engine.boot: a memfd of memory_mb that is to be the guest's
                                memory, so that a snapshot can be taken of it; -1: any memory will do */
    bool learns;   /* of fvm_engine.restore: for fvm_engine.learn */
};

/* A guest that was stopped. Nobody can write to either part, the VMs restored from it least of all. */
struct fvm_snapshot {
    int memory_fd; /* a sealed memfd: the guest's memory */
    int state_fd;  /* a sealed memfd: its processors and devices, in a form of the engine's */
};

/*
 * A running VM. Its process ends when the caller of fvm_engine.boot ends, however that happens.
 * Descriptors are non-blocking and closed by destroy.
 */
struct fvm_vm {
    const struct fvm_engine *engine;
    int channel_fd; /* the stream of frames to the agent */
    int console_fd; /* what the guest's kernel and agent print */
    int log_fd;     /* what the VM's process prints */
    int monitor_fd; /* what the engine says of the VM */
    int control_fd; /* its end means that the VM's process is over */
    pid_t jail_pid;
    struct fvm_buffer console, log; /* the last of what was read from there, for errors */
    struct fvm_buffer monitor;      /* what was read and is not understood yet */
    void *belongings;               /* the engine's; NULL: none */
};
#define FVM_VM_NONE                                                                                \
    {                                                                                              \
        .control_fd = -1                                                                           \
    }

struct fvm_engine {
    const char *name;
    bool copies_are_warm; /* a copy gains nothing by a rehearsal before its run */
    int (*probe)(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error);
    /*
     * Look closer, where a tenth of a second does not matter: for doctor, and for why a boot
     * failed. Return: 0, or -1 with what is wrong with the engine's program.
     */
    int (*examine)(struct flashvm_error *error);
    /*
     * Did a VM end since the host has not the memory that its guest wants? By its log, for why a
     * boot failed. NULL: the engine cannot tell.
     */
    bool (*lacks_memory)(const struct fvm_vm *vm);
    /*
     * Start a VM; returns when its process runs, long before the guest is up. FLASHVM_UNSUPPORTED
     * when the engine cannot make one as the spec wants it.
     */
    int (*boot)(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_caller *caller,
                struct fvm_vm *ret_vm, struct flashvm_error *error);
    /*
     * Take back fvm_vm.belongings.
     * @is_over: the VM's process is gone, and what is left of it on the host goes, too. Else it
     * lives on elsewhere, or nobody waits for its end, and only our memory of it is freed.
     * NULL: the engine's VMs have none.
     */
    void (*give_back)(void *belongings, bool is_over);
    /*
     * Remove from the host what VMs of callers that died have left; what is in use stays. Best
     * effort. NULL: nothing can stay.
     */
    void (*sweep)(const struct fvm_host *host);
    /* Take what came from monitor_fd. Return: 0; 1 when no more will come; -1: the VM is lost. */
    int (*take_news)(struct fvm_vm *vm, struct flashvm_error *error);

    /*
     * What a snapshot fits to, beside the spec, the guest's files and the image: the engine's own
     * program and the machine that it makes. One line of text, to be freed; NULL with the error set.
     */
    char *(*snapshot_key)(const struct fvm_host *host, const struct fvm_vm_spec *spec,
                          struct flashvm_error *error);
    /*
     * Stop a guest that waits for the host, was booted with memory_fd, and of which all has been
     * read. Its processors and devices are written to `state_fd`. The VM is of no further use.
     * NULL, like the one before and restore: the engine cannot, and each run boots.
     */
    int (*snapshot)(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                    struct flashvm_error *error);
    /* Start a copy of that guest: it goes on where it stood. @spec: as it was booted with. */
    int (*restore)(struct fvm_host *host, const struct fvm_vm_spec *spec,
                   const struct fvm_snapshot *snapshot, struct fvm_vm *ret_vm,
                   struct flashvm_error *error);
    /*
     * Add to a snapshot's state what a copy has learnt that others may use. It was made with
     * spec.learns, and has served a run; it is of no further use. NULL: there is nothing to learn.
     * @state_fd: not sealed yet.
     */
    int (*learn)(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
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

/* Has its process ended, or does it so within that time? */
bool fvm_vm_ends(const struct fvm_vm *vm, int milliseconds);

/* Have a directory removed if the caller dies before it has ended the VM. At most one. */
int fvm_vm_guard(struct fvm_vm *vm, const char *directory, struct flashvm_error *error);

/*
 * End a VM; it is gone a moment later.
 * Return: the process to wait for, with fvm_process_wait(); 0 for FVM_VM_NONE.
 */
pid_t fvm_vm_end(struct fvm_vm *vm);

/* End a VM at once and wait until its processes are gone. FVM_VM_NONE is allowed. */
void fvm_vm_destroy(struct fvm_vm *vm);
#define cleanup_vm __attribute__((cleanup(fvm_vm_destroy)))

/* Forget a VM that belongs to a process we are a fork of: it lives on. */
void fvm_vm_forget(struct fvm_vm *vm);
