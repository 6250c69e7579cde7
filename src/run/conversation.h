/* SPDX-License-Identifier: MIT */
/* What host and agent say to each other, with a deadline for every part of it. */
#pragma once

#include "engine/engine.h"
#include "run/run.h"

/*
 * Wait until the interpreter of a guest that boots waits for a run.
 * @warm: the guest becomes a template: let the interpreter load more.
 */
int fvm_conversation_boot(struct fvm_vm *vm, const struct fvm_image *image, bool warm,
                          uint64_t timeout_ms, struct fvm_caller *caller,
                          struct flashvm_error *error);

/* Whether the guest is to become a template, or was made from one and is to differ from then on. */
enum fvm_rehearsal { FVM_REHEARSAL_OF_A_TEMPLATE, FVM_REHEARSAL_OF_A_COPY };

/* Let a guest whose interpreter waits rehearse a run. */
int fvm_conversation_rehearse(struct fvm_vm *vm, enum fvm_rehearsal kind, uint64_t timeout_ms,
                              struct fvm_caller *caller, struct flashvm_error *error);

/*
 * Hand the run over and collect its result. The VM is of no further use afterwards.
 * @reseed: it was not reseeded in a rehearsal.
 */
int fvm_conversation_run(struct fvm_vm *vm, struct fvm_run_spec *spec, bool reseed,
                         struct fvm_result *result, struct flashvm_error *error);
