/* SPDX-License-Identifier: MIT */
/* What a library handle holds. */
#pragma once

#include <pthread.h>

#include "base/caller.h"
#include "engine/engine.h"
#include "run/template.h"

struct flashvm {
    char *data_dir;
    char *libexec_dir;
    char *cache_dir; /* as configured; NULL: the default */
    pthread_mutex_t lock;
    char *cache_path; /* open and checked; NULL: not yet. Guarded by lock, never changes once set */
    struct fvm_caller caller; /* of calls without options of their own; copied for each */
    struct fvm_host host;
    struct fvm_templates templates;
};

/*
 * Copy a caller's option struct, which may be of an older or newer version, into `ret_own`, which
 * the caller has filled with the values for fields that an older version lacks.
 */
int fvm_options_copy(void *ret_own, size_t own_size, const void *given, size_t given_size,
                     const char *name, struct flashvm_error *error);

/* Open the cache directory once. @ret_path: lives as long as the handle. */
int fvm_library_cache(struct flashvm *fvm, const char **ret_path, struct flashvm_error *error);

/* What options leave open of how a caller is told of progress and ends a call. */
void fvm_library_adopt_caller(const struct flashvm *fvm, struct fvm_caller *caller);

/* Get an image ready. @image: as in flashvm.h. */
struct fvm_image;
int fvm_library_image(struct flashvm *fvm, const char *image, struct fvm_caller *caller,
                      struct fvm_image *ret_image, struct flashvm_error *error);
