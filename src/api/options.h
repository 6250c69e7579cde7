/* SPDX-License-Identifier: MIT */
/* From a caller's flashvm_run_options to a checked fvm_run_spec. */
#pragma once

#include "api/files_in.h"
#include "run/run.h"

/* A spec and the lists that were made for it. */
struct fvm_checked_options {
    struct flashvm_run_options options; /* in this version's layout; strings are the caller's */
    char **expect;                      /* relative to /work */
    struct fvm_files_in files_in;
    struct fvm_run_spec spec;
};

/* Check every option; the error names the one that is wrong, its value and what is allowed. */
int fvm_options_check(const struct flashvm_run_options *given, const char *code, size_t code_size,
                      struct fvm_checked_options *ret_checked, struct flashvm_error *error);

void fvm_checked_options_finish(struct fvm_checked_options *checked);
