/* SPDX-License-Identifier: MIT */
/* Taking the state of a VM that is stopped out of its process, which may not write files itself. */
#pragma once

#include "engine/engine.h"

/*
 * Copy what comes from a descriptor until its end, which comes when the process has sent all.
 * Whatever the process is, there is not more of it than makes sense, and it comes within a minute.
 * @from: a pipe's or a socket's end. @to: a file.
 */
int fvm_vm_copy_state(struct fvm_vm *vm, int from, int to, struct fvm_caller *caller,
                      struct flashvm_error *error);
