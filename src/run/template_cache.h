/* SPDX-License-Identifier: MIT */
/*
 * Templates in the cache, under templates/:
 *     KEY.memory   the guest's memory, with holes where it is empty
 *     KEY.state    its processors and devices
 *     KEY.json     what they are; their identities and digests. The file's time is that of the last
 *                  use. Published last: without it there is no entry.
 *     KEY.lock     held by the process that makes the three
 * Beyond a limit on all of them together those used longest ago are removed.
 */
#pragma once

#include "base/caller.h"
#include "run/template.h"

/* What a template is of, for those who list them; strings are owned. */
struct fvm_template_info {
    char *key;
    char *engine, *accelerator, *image; /* the image's full name */
    unsigned memory_mb, cpus;
    int64_t made_at, used_at; /* seconds since 1970 */
    uint64_t size_bytes;      /* that it takes in the cache */
};
void fvm_template_info_finish(struct fvm_template_info *info);

/* Wait for the right to make a template. */
int fvm_template_cache_lock(const char *cache_path, const char *key, struct fvm_caller *caller,
                            int *ret_fd, struct flashvm_error *error);

/*
 * Load a template. Return: 1 with the descriptors of a new snapshot and its age, 0 when there is
 * none, it is damaged, or it is too old to be used, -1 on failure.
 */
int fvm_template_cache_load(const char *cache_path, const char *key, unsigned memory_mb,
                            struct fvm_snapshot *ret_snapshot, int64_t *ret_made_at,
                            struct flashvm_error *error);

/* Keep a template. The lock must be held. */
int fvm_template_cache_store(const char *cache_path, const char *key,
                             const struct fvm_snapshot *snapshot,
                             const struct fvm_template_info *info, struct flashvm_error *error);

/* Remove a template, if nobody is making it. */
void fvm_template_cache_remove(const char *cache_path, const char *key);

/*
 * The templates in the cache, those used last first.
 * @ret_infos: an array of *ret_count, for fvm_template_infos_free().
 */
int fvm_template_cache_list(const char *cache_path, struct fvm_template_info **ret_infos,
                            size_t *ret_count, struct flashvm_error *error);

void fvm_template_infos_free(struct fvm_template_info *infos, size_t count);

/* Remove all, and what dead makers left. @freed_bytes: is added to. */
int fvm_template_cache_clear(const char *cache_path, uint64_t *freed_bytes,
                             struct flashvm_error *error);

/* Make an empty memfd of so many bytes. Return: -1 with the error set. */
int fvm_memory_file_make(const char *name, uint64_t size, struct flashvm_error *error);

/* From now on nobody can write to it. Fails while somebody has it mapped for writing. */
int fvm_memory_file_seal(int fd, struct flashvm_error *error);
