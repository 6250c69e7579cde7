/* SPDX-License-Identifier: MIT */
/* Can images be imported into containers-storage? For doctor. */
#pragma once

#include <stdbool.h>

#include "base/caller.h"
#include "base/error.h"

/* Strings but `tool` are owned by the struct. */
struct fvm_storage_report {
    const char *tool; /* that imports: "skopeo" or "buildah"; NULL: neither is there */
    bool usable;
    char *driver, *root; /* of the storage; NULL: not known, skopeo does not tell them */
    char *reason;        /* why it is usable, or why not */
    char *remedy;        /* NULL: nothing needs doing */
};

/* Ask the tools. What does not work is a report, not an error. */
int fvm_storage_examine(struct fvm_caller *caller, struct fvm_storage_report *ret_report,
                        struct flashvm_error *error);
void fvm_storage_report_finish(struct fvm_storage_report *report);
