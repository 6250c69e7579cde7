/* SPDX-License-Identifier: MIT */
/* A VM that is a copy of a template. It serves one run. */
#pragma once

#include "run/guest.h"
#include "run/template.h"

struct fvm_copy {
    struct fvm_vm vm;
    bool is_reseeded; /* it has got its own randomness already */
    /* Of its template: fvm_template_key(), and seconds since 1970. */
    char template_key[FVM_SHA256_HEX_SIZE];
    int64_t template_made_at;
};
#define FVM_COPY_NONE                                                                              \
    {                                                                                              \
        .vm = FVM_VM_NONE                                                                          \
    }

void fvm_copy_destroy(struct fvm_copy *copy);
#define cleanup_copy __attribute__((cleanup(fvm_copy_destroy)))

/*
 * Start a copy of the guest's template, which is made when there is none. The first copy in a
 * process has to show that it answers, and a template that does not work is made anew, once.
 */
int fvm_copy_make(const struct fvm_guest *guest, struct fvm_templates *templates,
                  struct fvm_caller *caller, struct fvm_copy *ret_copy,
                  struct flashvm_error *error);

/* Let a copy that has not done so get its randomness, and rehearse, so that a run finds all warm. */
int fvm_copy_warm_up(struct fvm_copy *copy, const struct fvm_guest *guest,
                     struct fvm_caller *caller, struct flashvm_error *error);
