/* SPDX-License-Identifier: MIT */
/* What host and agent say to each other during one run, with a deadline for every part of it. */
#pragma once

#include "engine/engine.h"
#include "run/run.h"

/* Wait until the guest's interpreter waits for a run. */
int fvm_conversation_boot(struct fvm_vm *vm, const struct fvm_image *image,
                          const struct fvm_run_spec *spec, struct flashvm_error *error);

/* Hand the run over and collect its result. The VM is of no further use afterwards. */
int fvm_conversation_run(struct fvm_vm *vm, const struct fvm_run_spec *spec,
                         struct fvm_result *result, struct flashvm_error *error);
