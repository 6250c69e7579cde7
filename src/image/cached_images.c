/* SPDX-License-Identifier: MIT */
/* All images in the cache: listed for a caller, and cleared away. */
#include <stdlib.h>
#include <string.h>

#include "base/cache_entries.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/containers_storage.h"
#include "image/image.h"
#include "image/rootfs.h"
#include "image/rootfs_cache.h"

/* ---- the directory --------------------------------------------------------------------------- */

static const char *const endings[] = {".json",         ".json.tmp", ".squashfs",
                                      ".squashfs.tmp", ".lock",     NULL};

/* An entry's key, of any format, is "HEX-vN". */
static size_t key_length(const char *file)
{
    size_t hex = strspn(file, "0123456789abcdef");
    size_t digits =
        hex == 64 && strncmp(file + hex, "-v", 2) == 0 ? strspn(file + hex + 2, "0123456789") : 0;

    return digits > 0 ? hex + 2 + digits : 0;
}

/* Return: 1 and the keys of all entries, whole or not, of any format; 0 when there is no directory;
 * -1. */
static int list_keys(const char *cache_path, struct fvm_cache_entries *ret_entries,
                     json_t **ret_keys, struct flashvm_error *error)
{
    const struct fvm_cache_entries kind = {.endings = endings, .key_length = key_length};
    int opened = fvm_cache_entries_open(cache_path, "rootfs", false, &kind, ret_entries, error);

    if (opened > 0 && fvm_cache_entries_list(ret_entries, ret_keys, error) < 0)
        return -1;
    return opened;
}

/* ---- listing --------------------------------------------------------------------------------- */

/* A record and what it points to. */
struct record {
    struct flashvm_cached_image public;
    struct fvm_rootfs_entry entry;
    const char **references;
};

static void free_record(struct record *record)
{
    if (record == NULL)
        return;
    free(record->references);
    fvm_rootfs_entry_finish(&record->entry);
    free(record);
}

static void cleanup_record_pointer(struct record **record)
{
    free_record(*record);
}
#define cleanup_record __attribute__((cleanup(cleanup_record_pointer)))

/* The caller sees `public`. */
struct images {
    struct flashvm_cached_images public;
    struct flashvm_cached_image **list;
};

void flashvm_cached_images_free(struct flashvm_cached_images *public)
{
    struct images *images = (struct images *)public; /* its first member */

    if (images == NULL)
        return;
    for (size_t i = 0; i < images->public.image_count; i++)
        free_record((struct record *)images->list[i]);
    free(images->list);
    free(images);
}

static void cleanup_images_pointer(struct images **images)
{
    if (*images)
        flashvm_cached_images_free(&(*images)->public);
}

/* Return: 1 and *ret_record, 0 when it is no whole entry of this format, -1. */
static int load_record(const struct fvm_rootfs_cache *cache, const char *key,
                       struct record **ret_record, struct flashvm_error *error)
{
    cleanup_free char *digest = fvm_format("sha256:%.64s", key);
    cleanup_record struct record *record = calloc(1, sizeof *record);
    size_t count;
    int found;

    if (digest == NULL || record == NULL)
        return fvm_fail_no_memory(error);
    record->entry.image.rootfs_fd = -1;
    if (strtol(key + 64 + strlen("-v"), NULL, 10) != FVM_ROOTFS_FORMAT)
        return 0;
    found = fvm_rootfs_cache_load(cache, digest, &record->entry, error);
    if (found <= 0)
        return found;
    fvm_cleanup_close(&record->entry.image.rootfs_fd); /* a list holds nothing open */
    record->entry.image.rootfs_fd = -1;
    count = json_array_size(record->entry.references);
    record->references = calloc(count + 1, sizeof *record->references);
    if (record->references == NULL)
        return fvm_fail_no_memory(error);
    for (size_t i = 0; i < count; i++)
        record->references[i] = json_string_value(json_array_get(record->entry.references, i));
    record->public = (struct flashvm_cached_image){.reference = record->entry.image.reference,
                                                   .references = record->references,
                                                   .digest = record->entry.image.digest,
                                                   .size_bytes = record->entry.size_bytes,
                                                   .made_at = record->entry.made_at,
                                                   .used_at = record->entry.used_at};
    *ret_record = steal_pointer(record);
    return 1;
}

static int compare_uses(const void *left, const void *right)
{
    const struct flashvm_cached_image *a = *(struct flashvm_cached_image *const *)left;
    const struct flashvm_cached_image *b = *(struct flashvm_cached_image *const *)right;

    if (a->used_at != b->used_at)
        return a->used_at < b->used_at ? 1 : -1;
    return strcmp(a->digest, b->digest);
}

int fvm_cached_images_list(const char *cache_path, struct flashvm_cached_images **ret_images,
                           struct flashvm_error *error)
{
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    __attribute__((cleanup(cleanup_images_pointer))) struct images *images =
        calloc(1, sizeof *images);
    cleanup_json json_t *keys = NULL;
    int listed = list_keys(cache_path, &entries, &keys, error);
    json_t *unused;
    const char *key;

    if (images == NULL)
        return fvm_fail_no_memory(error);
    if (listed < 0 || (listed > 0 && fvm_rootfs_cache_open(cache_path, false, &cache, error) < 0))
        return -1;
    images->list = calloc(json_object_size(keys) + 1, sizeof *images->list);
    if (images->list == NULL)
        return fvm_fail_no_memory(error);
    json_object_foreach(keys, key, unused)
    {
        struct record *record = NULL;
        int found = load_record(&cache, key, &record, error);

        if (found < 0)
            return -1;
        if (found > 0)
            images->list[images->public.image_count++] = &record->public;
    }
    qsort(images->list, images->public.image_count, sizeof *images->list, compare_uses);
    images->public.images = (const struct flashvm_cached_image *const *)images->list;
    *ret_images = &steal_pointer(images)->public;
    return 0;
}

/* ---- what is in containers-storage ----------------------------------------------------------- */

static struct record *make_stored_record(const struct fvm_stored_image *stored)
{
    cleanup_record struct record *record = calloc(1, sizeof *record);

    if (record == NULL)
        return NULL;
    record->entry.image.rootfs_fd = -1;
    record->entry.image.reference = strdup(stored->name);
    record->entry.image.digest = strdup(stored->digest);
    record->references = calloc(2, sizeof *record->references);
    if (!record->entry.image.reference || !record->entry.image.digest || !record->references)
        return NULL;
    record->references[0] = record->entry.image.reference;
    record->public = (struct flashvm_cached_image){.reference = record->entry.image.reference,
                                                   .references = record->references,
                                                   .digest = record->entry.image.digest,
                                                   .in_containers_storage = true};
    return steal_pointer(record);
}

static int add_stored(struct images *images, const struct fvm_stored_image *stored,
                      struct flashvm_error *error)
{
    size_t count = images->public.image_count;
    struct flashvm_cached_image **list =
        reallocarray(images->list, count + 1, sizeof *images->list);
    struct record *record;

    if (list == NULL)
        return fvm_fail_no_memory(error);
    images->list = list;
    images->public.images = (const struct flashvm_cached_image *const *)list;
    record = make_stored_record(stored);
    if (record == NULL)
        return fvm_fail_no_memory(error);
    list[count] = &record->public;
    images->public.image_count++;
    return 0;
}

int fvm_cached_images_note_stored(struct flashvm_cached_images *images,
                                  const struct fvm_stored_images *stored,
                                  struct flashvm_error *error)
{
    struct images *all = (struct images *)images; /* its first member */
    size_t cached = images->image_count;

    for (size_t i = 0; i < stored->count; i++) {
        bool is_known = false;

        for (size_t j = 0; j < cached; j++)
            if (fvm_stored_image_is(&stored->all[i], all->list[j]->digest))
                all->list[j]->in_containers_storage = is_known = true;
        if (!is_known && add_stored(all, &stored->all[i], error) < 0)
            return -1;
    }
    return 0;
}

/* ---- clearing -------------------------------------------------------------------------------- */

int fvm_cached_images_clear(const char *cache_path, uint64_t *freed_bytes,
                            struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    cleanup_json json_t *keys = NULL;
    const char *key;
    json_t *unused;

    if (list_keys(cache_path, &entries, &keys, error) < 0)
        return -1;
    json_object_foreach(keys, key, unused)
    {
        if (fvm_cache_entry_clear(&entries, key, freed_bytes, error) < 0)
            return -1;
    }
    return 0;
}
