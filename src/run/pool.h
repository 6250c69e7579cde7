/* SPDX-License-Identifier: MIT */
/*
 * A pool keeps copies of one guest waiting, warmed up, so that a run finds one at once. A thread of
 * the pool's own replaces those that were taken and sees off those that have served. Each still
 * serves one run.
 */
#pragma once

#include "image/image.h"
#include "run/copy.h"

/* Where a pool learns what its guest is, again for each copy: an image may change under its name. */
struct fvm_pool_source {
    /* @ret_guest: its image is *ret_image, to be finished by the pool. */
    int (*describe)(void *data, struct fvm_caller *caller, struct fvm_image *ret_image,
                    struct fvm_guest *ret_guest, struct flashvm_error *error);
    void *data;
};

struct fvm_pool_stats {
    unsigned waiting, running;
    uint64_t served; /* runs that found a VM waiting */
    uint64_t missed; /* runs that had to start one */
    uint64_t failed; /* VMs that did not come to wait, or died while they did */
};

struct fvm_pool;

/*
 * @size: how many are to wait, at least 1.
 * @idle_ms: when no run has come for so long, those that wait are given back, until one comes; 0:
 *           never.
 */
int fvm_pool_new(unsigned size, uint64_t idle_ms, const struct fvm_pool_source *source,
                 struct fvm_templates *templates, struct fvm_pool **ret_pool,
                 struct flashvm_error *error);

/* Ends all that wait. No run may be going on. In a fork of the owner it does nothing. */
void fvm_pool_free(struct fvm_pool *pool);

/*
 * Get a copy of the guest: one that waits, or a new one.
 * @ret_copy: for fvm_pool_bury(), whatever becomes of it.
 * @ret_waited: did it wait?
 */
int fvm_pool_get(struct fvm_pool *pool, const struct fvm_guest *guest, struct fvm_caller *caller,
                 struct fvm_copy *ret_copy, bool *ret_waited, struct flashvm_error *error);

/* End a copy; does not wait until it is gone. */
void fvm_pool_bury(struct fvm_pool *pool, struct fvm_copy *copy);

/* In a fork of the owner all are 0. */
void fvm_pool_read_stats(struct fvm_pool *pool, struct fvm_pool_stats *ret_stats);
