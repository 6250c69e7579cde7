/* SPDX-License-Identifier: MIT */
/* What all kinds of entries in the cache have in common: a JSON that says what they are, a list,
 * clearing. An entry's files are named after its key, each with an ending of its own. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cache.h"

/* A subdirectory of the cache, and the kind of its entries. */
struct fvm_cache_entries {
    int fd;     /* of the directory */
    char *path; /* of it */
    /* The files of an entry, in the order in which they go: without the first, its JSON, it is
     * none; the last is its lock. Ends with NULL. */
    const char *const *endings;
    /* How many bytes at the beginning of a file's name are a key; 0: it is none of ours. */
    size_t (*key_length)(const char *file);
};
void fvm_cache_entries_finish(struct fvm_cache_entries *entries);
#define cleanup_cache_entries __attribute__((cleanup(fvm_cache_entries_finish)))

/*
 * Open the subdirectory `name`.
 * @kind: endings and key_length. @make: make it when it is missing.
 * Return: 1, or 0 when it is missing, or -1.
 */
int fvm_cache_entries_open(const char *cache_path, const char *name, bool make,
                           const struct fvm_cache_entries *kind,
                           struct fvm_cache_entries *ret_entries, struct flashvm_error *error);

/* The keys of all entries, whole or not, as the members of a new JSON object. */
int fvm_cache_entries_list(const struct fvm_cache_entries *entries, json_t **ret_keys,
                           struct flashvm_error *error);

/* Remove an entry, unless somebody is making it. Symlinks are not followed. @freed_bytes: is added
 * to. */
int fvm_cache_entry_clear(const struct fvm_cache_entries *entries, const char *key,
                          uint64_t *freed_bytes, struct flashvm_error *error);

/* Publish a JSON. The entry's lock must be held. */
int fvm_cache_json_write(int directory_fd, const char *name, const json_t *json,
                         struct flashvm_error *error);

/*
 * Return: a new reference; NULL when it is missing, unreadable or not to be trusted.
 * @ret_used_at: of the last use, which is the file's time; seconds since 1970.
 */
json_t *fvm_cache_json_read(int directory_fd, const char *name, int64_t *ret_used_at);
