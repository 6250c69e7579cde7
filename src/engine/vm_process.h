/* SPDX-License-Identifier: MIT */
/*
 * Starting the process of a VM. It runs under flashvm-jail, which takes its privileges away and
 * ends it when the caller's process ends, whichever thread started it (PR_SET_PDEATHSIG alone
 * follows the thread).
 */
#pragma once

#include "engine/engine.h"

/* The descriptors that the VM's program finds open. */
enum {
    FVM_VM_CHANNEL_FD = 4,
    FVM_VM_MONITOR_FD = 5,
    FVM_VM_FIRST_FILE_FD = 6, /* files[0], then the others in order */
    FVM_VM_FILES_MAX = 4,
};

struct fvm_vm_program {
    const char *const *argv; /* argv[0] is a path */
    const int *files;        /* descriptors to hand over; the caller keeps its own */
    size_t file_count;
    uint64_t memory_bytes_max; /* address space left to the program; 0: no limit */
    const char *device;        /* a device that the program must open ("/dev/kvm"); NULL: none */
    /*
     * The program makes mounts and starts other programs: it keeps its user, in namespaces of its
     * own that have no network. It has the channel as its standard input and output, its log as
     * its standard error, and none of the descriptors above.
     */
    bool keeps_rights;
    const char *const *environment; /* NULL: PATH alone */
    const char *const *entrance;    /* what starts the jail where the user may make mounts
                                       ("buildah", "unshare"); NULL: nothing */
};

int fvm_vm_process_start(const struct fvm_host *host, const struct fvm_vm_program *program,
                         struct fvm_vm *ret_vm, struct flashvm_error *error);
