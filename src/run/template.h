/* SPDX-License-Identifier: MIT */
/*
 * Templates: a guest that has booted and whose interpreter waits, stopped and kept, so that a VM
 * can be a copy of it instead of booting by itself. One is made the first time that a guest is
 * wanted which differs in anything that matters (the key), is kept in the cache for other processes
 * (template_cache.h), and is loaded once by each: its memory then lies in a sealed memfd that all
 * VMs of the process map copy-on-write and none can write to.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/digest.h"
#include "run/guest.h"

/* A running interpreter cannot change its hash secret or its address layout: so long they last. */
enum { FVM_TEMPLATE_SECONDS_MAX = 24 * 3600 };

/* Those that a library handle has loaded. Thread-safe. */
struct fvm_templates {
    pthread_mutex_t lock;
    struct fvm_template *loaded; /* a list, the one used last first */
};

struct fvm_template {
    struct fvm_template *next;
    char key[FVM_SHA256_HEX_SIZE];
    struct fvm_snapshot snapshot;
    int64_t made_at;
    unsigned users;
    atomic_bool is_proven; /* a copy of it has answered in this process */
    bool is_dropped;       /* is not in the list any more: the last user frees it */
};

void fvm_templates_init(struct fvm_templates *templates);
void fvm_templates_finish(struct fvm_templates *templates);

/* A template that is must not be used any more. */
static inline bool fvm_template_is_too_old(int64_t made_at)
{
    return made_at < time(NULL) - FVM_TEMPLATE_SECONDS_MAX;
}

/* The name of a guest's template: a digest of everything that makes a guest another one. */
int fvm_template_key(const struct fvm_guest *guest, char ret_key[FVM_SHA256_HEX_SIZE],
                     struct flashvm_error *error);

/*
 * Get the template for a guest: from the list, from the cache, or by making it, which takes as long
 * as a boot. A cache that cannot be written to costs other processes the same again, and is no
 * error. FLASHVM_UNSUPPORTED: the engine has none.
 * @ret_template: to be given back.
 */
int fvm_template_get(struct fvm_templates *templates, const struct fvm_guest *guest,
                     struct fvm_caller *caller, struct fvm_template **ret_template,
                     struct flashvm_error *error);
void fvm_template_put(struct fvm_templates *templates, struct fvm_template *template);

/*
 * Forget a template, here and in the cache, since a VM could not be restored from it: the next one
 * who wants it makes it anew.
 */
void fvm_template_drop(struct fvm_templates *templates, const struct fvm_guest *guest,
                       struct fvm_template *template);

/* Forget those that nobody uses: their memory is given back to the host. */
void fvm_templates_trim(struct fvm_templates *templates);
