/* SPDX-License-Identifier: MIT */
/* The state of a QEMU's processors and devices: saved to a file, and loaded by a new QEMU. */
#pragma once

#include "engine/engine.h"

/* fvm_engine.snapshot */
int fvm_qemu_snapshot(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                      struct flashvm_error *error);

/*
 * Have a QEMU that was started with `-incoming defer` load a state and go on. Sent ahead: it may
 * still be coming up.
 * @state_fd: any number of QEMUs may read it at once.
 */
int fvm_qemu_load(struct fvm_vm *vm, int state_fd, struct flashvm_error *error);
