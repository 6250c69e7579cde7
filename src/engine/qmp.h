/* SPDX-License-Identifier: MIT */
/*
 * QEMU's monitor: commands and answers as JSON, one per line (QEMU Machine Protocol Specification).
 * Commands may be sent ahead, before QEMU runs even; their answers come in the same order.
 */
#pragma once

#include "base/caller.h"
#include "engine/engine.h"

/* Send a command with its arguments as JSON. @pass_fd: goes along; -1: none. */
int fvm_qmp_send(int monitor_fd, const char *command, int pass_fd, struct flashvm_error *error);

/*
 * Take what has come so far. Return: how many commands were answered; -1 at the first answer that
 * is an error (FLASHVM_GUEST_FAILED with QEMU's words).
 */
int fvm_qmp_take(struct fvm_vm *vm, struct flashvm_error *error);

/* Wait until `count` more commands are answered, 30 s at most. */
int fvm_qmp_await(struct fvm_vm *vm, int count, struct fvm_caller *caller,
                  struct flashvm_error *error);
