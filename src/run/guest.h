/* SPDX-License-Identifier: MIT */
/* The guest that a run wants, whoever provides it. */
#pragma once

#include "engine/engine.h"
#include "image/image.h"

struct fvm_guest {
    struct fvm_host *host;
    const struct fvm_engine *engine;
    const char *accelerator; /* static */
    const struct fvm_image *image;
    unsigned cpus;
    unsigned memory_mb;
    uint64_t boot_timeout_ms;
};

/*
 * Boot it and wait until its interpreter waits.
 * @memory_fd: as in fvm_vm_spec; when it is one, the guest is to become a template.
 */
int fvm_guest_boot(const struct fvm_guest *guest, int memory_fd, struct fvm_caller *caller,
                   struct fvm_vm *ret_vm, struct flashvm_error *error);

/*
 * Start a copy of it. Returns at once; a run may be handed over at once, too.
 * @learns: for fvm_engine.learn.
 */
int fvm_guest_restore(const struct fvm_guest *guest, const struct fvm_snapshot *snapshot,
                      bool learns, struct fvm_vm *ret_vm, struct flashvm_error *error);

/* The spec that the two of them give to the engine. */
struct fvm_vm_spec fvm_guest_spec(const struct fvm_guest *guest);
