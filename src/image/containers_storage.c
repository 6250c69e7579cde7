/* SPDX-License-Identifier: MIT */
#include "image/containers_storage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "image/name.h"
#include "image/rootfs_cache.h"
#include "image/source.h"
#include "image/storage_staging.h"

#define OUR_NAMES "localhost/flashvm:"

/* Beside its lock, in the cache: the one lock for all imports, since the tools take turns anyway. */
#define DIRECTORY "containers-storage"
#define LOCK      "import"

enum { IMPORT_MS = 600000, MS_PER_MIB = 1000 }; /* and for each MiB of layers */

/* ---- what is there --------------------------------------------------------------------------- */

void fvm_stored_images_finish(struct fvm_stored_images *images)
{
    for (size_t i = 0; i < images->count; i++)
        free(images->all[i].name);
    free(images->all);
    *images = (struct fvm_stored_images){0};
}

/* @id: with or without "sha256:"; one that is no ID is left out, since it could not be one of ours. */
static int add_image(struct fvm_stored_images *images, const char *name, const char *id,
                     const char *digest, struct flashvm_error *error)
{
    size_t prefix = strncmp(id, "sha256:", strlen("sha256:")) == 0 ? strlen("sha256:") : 0;
    struct fvm_stored_image *image, *all;

    if (strlen(id + prefix) != FVM_IMAGE_ID_SIZE - 1)
        return 0;
    all = reallocarray(images->all, images->count + 1, sizeof *all);
    if (all == NULL)
        return fvm_fail_no_memory(error);
    images->all = all;
    image = &images->all[images->count];
    *image = (struct fvm_stored_image){.name = strdup(name)};
    if (image->name == NULL)
        return fvm_fail_no_memory(error);
    images->count++;
    memcpy(image->id, id + prefix, FVM_IMAGE_ID_SIZE);
    if (fvm_digest_is_valid(digest))
        memcpy(image->digest, digest, FVM_DIGEST_SIZE);
    return 0;
}

static int take_listed(const json_t *list, struct fvm_stored_images *images,
                       struct flashvm_error *error)
{
    const json_t *entry, *name;
    size_t i, j;

    json_array_foreach(list, i, entry)
    {
        json_array_foreach(json_object_get(entry, "names"), j, name)
        {
            const char *text = json_string_value(name) ?: "";

            if (strncmp(text, OUR_NAMES, strlen(OUR_NAMES)) == 0 &&
                add_image(images, text, json_string_value(json_object_get(entry, "id")) ?: "",
                          json_string_value(json_object_get(entry, "digest")) ?: "", error) < 0)
                return -1;
        }
    }
    return 0;
}

/* All images of the storage, as buildah lists them: null or an array. */
static int ask_buildah(const struct fvm_storage_tools *tools, struct fvm_caller *caller,
                       json_t **ret_list, struct flashvm_error *error)
{
    const char *const argv[] = {tools->buildah, "images", "--json", "--no-trunc", NULL};
    cleanup_free char *output = NULL;

    if (fvm_storage_run_tool(tools, argv, NULL, -1, FVM_STORAGE_QUESTION_MS, caller, &output,
                             error) < 0)
        return -1;
    *ret_list = json_loads(output, JSON_DECODE_ANY, NULL);
    if (*ret_list == NULL)
        return fvm_fail(error, FLASHVM_IO, "%s images --json prints what is no JSON",
                        tools->buildah);
    return 0;
}

/*
 * skopeo says "does not resolve to an image" of one that is not there: taken as an answer, since
 * that phrase has stayed the same from 1.9 to 1.18.
 */
static int ask_skopeo(const struct fvm_storage_tools *tools, const char *name,
                      struct fvm_caller *caller, struct fvm_stored_images *images,
                      struct flashvm_error *error)
{
    cleanup_free char *reference = fvm_format("containers-storage:%s", name);
    const char *const argv[] = {tools->skopeo, "inspect", "--raw", reference, NULL};
    char digest[FVM_DIGEST_SIZE];
    cleanup_free char *output = NULL;
    cleanup_json json_t *manifest = NULL;
    struct sha256_ctx sha256;

    if (reference == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_storage_run_tool(tools, argv, NULL, -1, FVM_STORAGE_QUESTION_MS, caller, &output,
                             error) < 0) {
        if (error->status == FLASHVM_CANCELLED || !strstr(error->message, "does not resolve to an"))
            return -1;
        flashvm_error_finish(error);
        return 0;
    }
    manifest = json_loads(output, 0, NULL);
    sha256_init(&sha256);
    sha256_update(&sha256, strlen(output), (const uint8_t *)output);
    fvm_digest_finish(&sha256, digest);
    return add_image(
        images, name,
        json_string_value(json_object_get(json_object_get(manifest, "config"), "digest")) ?: "",
        digest, error);
}

/* To be freed; NULL when memory is exhausted. */
static char *name_by_digest(const char *manifest_digest)
{
    return fvm_format(OUR_NAMES "sha256-%.16s", manifest_digest + strlen("sha256:"));
}

int fvm_storage_list(const struct fvm_storage_tools *tools,
                     const struct flashvm_cached_images *known, struct fvm_caller *caller,
                     struct fvm_stored_images *ret_images, struct flashvm_error *error)
{
    cleanup_stored_images struct fvm_stored_images images = {0};

    if (tools->buildah) {
        cleanup_json json_t *list = NULL;

        if (ask_buildah(tools, caller, &list, error) < 0 || take_listed(list, &images, error) < 0)
            return -1;
    } else {
        if (ask_skopeo(tools, FVM_EMBEDDED_REFERENCE, caller, &images, error) < 0)
            return -1;
        for (size_t i = 0; i < known->image_count; i++) {
            cleanup_free char *name = name_by_digest(known->images[i]->digest);

            if (name == NULL)
                return fvm_fail_no_memory(error);
            if (ask_skopeo(tools, name, caller, &images, error) < 0)
                return -1;
        }
    }
    *ret_images = images;
    images = (struct fvm_stored_images){0}; // NOLINT(*DeadStores): cleanup reads it
    return 0;
}

/* An image that was imported with its layers compressed otherwise, too, has the digest of the last. */
bool fvm_stored_image_is(const struct fvm_stored_image *image, const char *manifest_digest)
{
    cleanup_free char *name = name_by_digest(manifest_digest);

    return strcmp(image->digest, manifest_digest) == 0 || (name && strcmp(image->name, name) == 0);
}

/* ---- importing ------------------------------------------------------------------------------- */

/* One call of fvm_storage_import(). */
struct import {
    const struct fvm_storage_tools *tools;
    struct fvm_caller *caller;
    struct fvm_oci oci;
    struct fvm_oci_image image;
    char *name;      /* in the storage */
    const char *id;  /* that it must have there */
    char *directory; /* in the cache */
    int lock_fd;
};

static void import_finish(struct import *import)
{
    fvm_oci_finish(&import->oci);
    fvm_oci_image_finish(&import->image);
    free(import->name);
    free(import->directory);
    fvm_cleanup_close(&import->lock_fd);
}

/* Does this name, one of those that the image was called by, lead to its layers? */
static int try_source(struct import *import, const char *data_dir, const char *reference,
                      const char *digest, struct flashvm_error *error)
{
    cleanup_free char *full_name = fvm_format("%s@%s", reference, digest);
    cleanup_image_name struct fvm_image_name name = {0};
    struct fvm_descriptor manifest;

    if (full_name == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_image_name_parse(full_name, &name, error) < 0)
        return -1;
    if (name.kind == FVM_IMAGE_CACHED)
        return fvm_fail(error, FLASHVM_NOT_FOUND, "%s leads to no layout", reference);
    if (fvm_source_open(data_dir, &name, &import->oci, &manifest, error) < 0 ||
        fvm_oci_load(&import->oci, &manifest, &import->image, error) < 0)
        return -1;
    import->name =
        name.kind == FVM_IMAGE_EMBEDDED ? strdup(FVM_EMBEDDED_REFERENCE) : name_by_digest(digest);
    import->id = import->image.config_digest + strlen("sha256:");
    return import->name ? 0 : fvm_fail_no_memory(error);
}

/* Our cache has an image unpacked, which container tools do not take: they need its layers. */
static int find_source(struct import *import, const char *data_dir, const char *cache_path,
                       const struct fvm_image *image, struct flashvm_error *error)
{
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_rootfs_entry struct fvm_rootfs_entry entry = {.image.rootfs_fd = -1};
    cleanup_error struct flashvm_error unused = {0};
    const json_t *reference;
    size_t i;

    if (try_source(import, data_dir, image->reference, image->digest, error) == 0)
        return 0;
    if (fvm_rootfs_cache_open(cache_path, false, &cache, &unused) == 0 &&
        fvm_rootfs_cache_load(&cache, image->digest, &entry, &unused) == 1)
        json_array_foreach(entry.references, i, reference)
        {
            fvm_oci_finish(&import->oci);
            if (try_source(import, data_dir, json_string_value(reference), image->digest,
                           &unused) == 0)
                return 0;
        }
    error->status = FLASHVM_NOT_FOUND;
    return fvm_fail_context(error, "its layers are not at hand");
}

/* Return: 1 when the image is in the storage under its name, 0 when not, -1. @former: the ID of the
 * image that has its name; "" when none has. */
static int look_up(const struct import *import, char former[FVM_IMAGE_ID_SIZE],
                   struct flashvm_error *error)
{
    cleanup_stored_images struct fvm_stored_images images = {0};

    former[0] = '\0';
    if (import->tools->buildah) {
        const struct flashvm_cached_images none = {0};

        if (fvm_storage_list(import->tools, &none, import->caller, &images, error) < 0)
            return -1;
    } else if (ask_skopeo(import->tools, import->name, import->caller, &images, error) < 0) {
        return -1;
    }
    for (size_t i = 0; i < images.count; i++)
        if (strcmp(images.all[i].name, import->name) == 0)
            memcpy(former, images.all[i].id, FVM_IMAGE_ID_SIZE);
    return strcmp(former, import->id) == 0;
}

static uint64_t deadline_ms(const struct import *import)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < import->image.layer_count; i++)
        bytes += import->image.layers[i].blob.size_bytes;
    return IMPORT_MS + (bytes >> 20) * MS_PER_MIB;
}

static int run(const struct import *import, const struct fvm_staging *staging,
               const char *const *argv, struct flashvm_error *error)
{
    return fvm_storage_run_tool(import->tools, argv, staging->directory, import->lock_fd,
                                deadline_ms(import), import->caller, NULL, error);
}

static int copy_with_skopeo(const struct import *import, const struct fvm_staging *staging,
                            struct flashvm_error *error)
{
    cleanup_free char *target = fvm_format("containers-storage:%s", import->name);
    const char *argv[12] = {import->tools->skopeo};
    size_t count = 1;

    if (target == NULL)
        return fvm_fail_no_memory(error);
    if (staging->policy) {
        argv[count++] = "--policy";
        argv[count++] = staging->policy;
    }
    argv[count++] = "--tmpdir"; /* where it unpacks: gone with us if it is ended */
    argv[count++] = staging->directory;
    argv[count++] = "copy";
    argv[count++] = "--quiet";
    argv[count++] = staging->source;
    argv[count] = target;
    return run(import, staging, argv, error);
}

/* It has no way to say what to call the image, and calls it something else (see LAYOUT of
 * storage_staging.c). */
static int pull_with_buildah(const struct import *import, const struct fvm_staging *staging,
                             struct flashvm_error *error)
{
    const char *const tag[] = {import->tools->buildah, "tag", import->id, import->name, NULL};
    const char *const untag[] = {import->tools->buildah, "rmi", OUR_NAMES "latest", NULL};
    const char *pull[12] = {import->tools->buildah, "pull", "--quiet", "--policy=always"};
    cleanup_error struct flashvm_error no_such_name = {0}; /* newer versions give none */
    size_t count = 4;

    if (staging->policy) {
        pull[count++] = "--signature-policy";
        pull[count++] = staging->policy;
    }
    pull[count] = staging->source;
    if (run(import, staging, pull, error) < 0 || run(import, staging, tag, error) < 0)
        return -1;
    run(import, staging, untag, &no_such_name);
    return 0;
}

/* The image that had our name, often our own of an earlier version: nothing leads to it any more. */
static void remove_if_nameless(const struct import *import, const char *id)
{
    const char *const argv[] = {import->tools->buildah, "rmi", id, NULL};
    cleanup_error struct flashvm_error unused = {0}; /* as when a container uses it */
    cleanup_json json_t *list = NULL;
    const json_t *entry;
    size_t i;

    if (import->tools->buildah == NULL || *id == '\0' ||
        ask_buildah(import->tools, import->caller, &list, &unused) < 0)
        return;
    json_array_foreach(list, i, entry)
    {
        const char *listed = json_string_value(json_object_get(entry, "id")) ?: "";

        if (strstr(listed, id) && json_array_size(json_object_get(entry, "names")) == 0)
            fvm_storage_run_tool(import->tools, argv, NULL, import->lock_fd,
                                 FVM_STORAGE_QUESTION_MS, import->caller, NULL, &unused);
    }
}

static int copy(const struct import *import, const struct fvm_descriptor *manifest,
                struct flashvm_error *error)
{
    cleanup_free char *work = fvm_format("%s/work", import->directory);
    cleanup_staging struct fvm_staging staging = {0};

    if (work == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_staging_make(work, &import->oci, manifest, import->name, &staging, error) < 0)
        return -1;
    return import->tools->skopeo ? copy_with_skopeo(import, &staging, error)
                                 : pull_with_buildah(import, &staging, error);
}

static int lock(struct import *import, const char *cache_path, struct flashvm_error *error)
{
    cleanup_close int fd = -1;

    import->directory = fvm_format("%s/" DIRECTORY, cache_path);
    if (import->directory == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_cache_open_directory(cache_path, DIRECTORY, true, &fd, error) < 0)
        return -1;
    return fvm_cache_lock(fd, LOCK, import->caller,
                          "waiting for another process that imports an image", &import->lock_fd,
                          error);
}

static int import_image(struct import *import, const char *cache_path, struct flashvm_error *error)
{
    char former[FVM_IMAGE_ID_SIZE], now[FVM_IMAGE_ID_SIZE];
    int found = look_up(import, former, error);

    if (found != 0)
        return found < 0 ? -1 : 0;
    if (lock(import, cache_path, error) < 0)
        return -1;
    /* Another process may have done it while this one waited. */
    found = look_up(import, former, error);
    if (found != 0)
        return found < 0 ? -1 : 0;
    fvm_caller_tell(import->caller, "importing the image into containers-storage");
    if (copy(import, &import->image.manifest, error) < 0)
        return -1;
    found = look_up(import, now, error);
    if (found < 0)
        return -1;
    if (found == 0)
        return fvm_fail(error, FLASHVM_IO,
                        "the tool reported success, but the image of that name has the ID \"%s\" "
                        "and not %s",
                        now, import->id);
    remove_if_nameless(import, former);
    return 0;
}

int fvm_storage_import(const struct fvm_storage_tools *tools, const char *data_dir,
                       const char *cache_path, const struct fvm_image *image,
                       struct fvm_caller *caller, char ret_id[FVM_IMAGE_ID_SIZE],
                       struct flashvm_error *error)
{
    __attribute__((cleanup(import_finish))) struct import import = {
        .tools = tools, .caller = caller, .oci.fd = -1, .lock_fd = -1};

    if (find_source(&import, data_dir, cache_path, image, error) < 0 ||
        import_image(&import, cache_path, error) < 0)
        return error->status == FLASHVM_CANCELLED
                   ? -1
                   : fvm_fail_context(error, "cannot import %s into containers-storage",
                                      import.name ? import.name : image->reference);
    memcpy(ret_id, import.id, FVM_IMAGE_ID_SIZE);
    return 0;
}

/* ---- clearing -------------------------------------------------------------------------------- */

/* The rest is removed all the same. Return: the number of those that stay; the error is the first's. */
static size_t remove_names(const struct fvm_storage_tools *tools,
                           const struct fvm_stored_images *images, struct fvm_caller *caller,
                           struct flashvm_error *error)
{
    size_t left = 0;

    for (size_t i = 0; i < images->count; i++) {
        const char *const argv[] = {tools->buildah, "rmi", images->all[i].name, NULL};
        cleanup_error struct flashvm_error own = {0};

        if (fvm_storage_run_tool(tools, argv, NULL, -1, FVM_STORAGE_QUESTION_MS, caller, NULL,
                                 &own) == 0)
            continue;
        if (left++ > 0)
            continue;
        fvm_fail_context(&own, "%s stays in containers-storage", images->all[i].name);
        fvm_error_return(&own, error);
    }
    return left;
}

static int clear(const struct fvm_storage_tools *tools, const struct flashvm_cached_images *known,
                 struct fvm_caller *caller, struct flashvm_error *error)
{
    cleanup_stored_images struct fvm_stored_images images = {0};

    if (fvm_storage_list(tools, known, caller, &images, error) < 0)
        return fvm_fail_context(error, "cannot look for images in containers-storage");
    if (images.count > 0 && tools->buildah == NULL)
        return fvm_fail(error, FLASHVM_NOT_FOUND,
                        "%s stays in containers-storage: skopeo removes an image with all its "
                        "names, buildah one name alone; with it installed, do this again",
                        images.all[0].name);
    return remove_names(tools, &images, caller, error) > 0 ? -1 : 0;
}

int fvm_storage_clear(const struct fvm_storage_tools *tools, const char *cache_path,
                      const struct flashvm_cached_images *known, struct fvm_caller *caller,
                      struct flashvm_error *error)
{
    cleanup_free char *work = fvm_format("%s/" DIRECTORY "/work", cache_path);
    cleanup_close int directory_fd = -1, lock_fd = -1;
    int locked;

    if (work == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_cache_open_directory(cache_path, DIRECTORY, true, &directory_fd, error) < 0)
        return -1;
    locked = fvm_cache_try_lock(directory_fd, LOCK, &lock_fd, error);
    if (locked <= 0)
        return locked;
    fvm_remove_tree(work);
    if (clear(tools, known, caller, error) < 0)
        return -1;
    unlinkat(directory_fd, LOCK ".lock", 0);
    return 0;
}
