/* SPDX-License-Identifier: MIT */
/* What a run and a pool of VMs for runs have in common. */
#pragma once

#include "api/library.h"
#include "api/options.h"
#include "run/run.h"

/* flashvm_run(), with a pool or, for NULL, without. */
int fvm_library_run(struct flashvm *fvm, struct fvm_pool *pool,
                    const struct flashvm_run_options *options, const char *code, size_t code_size,
                    struct flashvm_result **ret_result, struct flashvm_error *error);

/*
 * Get the image ready and choose an engine for the guest that the spec wants.
 * @ret_image: what ret_guest refers to; to be finished.
 */
int fvm_library_guest(struct flashvm *fvm, const char *image_name, const struct fvm_run_spec *spec,
                      struct fvm_caller *caller, struct fvm_image *ret_image,
                      struct fvm_guest *ret_guest, struct flashvm_error *error);
