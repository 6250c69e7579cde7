/* SPDX-License-Identifier: MIT */
#include "image/rootfs_cache.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqfs/super.h>

#include "base/cache_entries.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "image/rootfs.h"

enum { MAX_REFERENCES = 16 }; /* the oldest are forgotten */

/* An entry's names; to be freed. */
struct entry_names {
    char *key;
    char *rootfs;
    char *json;
};

static void finish_names(struct entry_names *names)
{
    free(names->key);
    free(names->rootfs);
    free(names->json);
}
#define cleanup_names __attribute__((cleanup(finish_names)))

static int make_names(const char *manifest_digest, struct entry_names *ret_names,
                      struct flashvm_error *error)
{
    const char *hex = manifest_digest + strlen("sha256:");

    ret_names->key = fvm_format("%s-v%d", hex, FVM_ROOTFS_FORMAT);
    ret_names->rootfs = fvm_format("%s-v%d.squashfs", hex, FVM_ROOTFS_FORMAT);
    ret_names->json = fvm_format("%s-v%d.json", hex, FVM_ROOTFS_FORMAT);
    if (ret_names->key == NULL || ret_names->rootfs == NULL || ret_names->json == NULL)
        return fvm_fail_no_memory(error);
    return 0;
}

int fvm_rootfs_cache_open(const char *cache_path, bool make, struct fvm_rootfs_cache *ret_cache,
                          struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/rootfs", cache_path);
    int fd;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_cache_open_directory(cache_path, "rootfs", make, &fd, error) < 0)
        return -1;
    *ret_cache = (struct fvm_rootfs_cache){.fd = fd, .path = steal_pointer(path)};
    return 0;
}

void fvm_rootfs_cache_finish(struct fvm_rootfs_cache *cache)
{
    fvm_cleanup_close(&cache->fd);
    free(cache->path);
    *cache = (struct fvm_rootfs_cache){.fd = -1};
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The super block is written last: a file system without one was not completed. */
static bool looks_complete(int fd, off_t size)
{
    sqfs_super_t super;

    return pread(fd, &super, sizeof super, 0) == (ssize_t)sizeof super &&
           le32toh(super.magic) == SQFS_MAGIC &&
           le16toh(super.version_major) == SQFS_VERSION_MAJOR &&
           le64toh(super.bytes_used) <= (uint64_t)size &&
           le64toh(super.inode_table_start) < le64toh(super.bytes_used);
}

/* What has been checked of an entry's JSON. */
static bool take_json(json_t *json, const char *manifest_digest, struct fvm_rootfs_entry *entry)
{
    json_t *references = json_object_get(json, "references");
    const json_t *made_at = json_object_get(json, "made_at");
    const char *python = json_string_value(json_object_get(json, "python"));
    const char *digest = json_string_value(json_object_get(json, "manifest"));
    const json_t *reference;
    size_t i;

    if (digest == NULL || strcmp(digest, manifest_digest) != 0 || python == NULL ||
        python[0] != '/' || !json_is_integer(made_at) || json_array_size(references) == 0 ||
        fvm_image_config_from_json(json_object_get(json, "config"), &entry->image.config, NULL) < 0)
        return false;
    json_array_foreach(references, i, reference)
    {
        if (!json_is_string(reference))
            return false;
    }
    entry->references = json_incref(references);
    entry->made_at = json_integer_value(made_at);
    entry->image.reference = strdup(json_string_value(json_array_get(references, 0)));
    entry->image.digest = strdup(digest);
    entry->image.python = strdup(python);
    return entry->image.reference && entry->image.digest && entry->image.python;
}

static bool json_says(const json_t *json, const char *key, const char *expected)
{
    const char *value = json_string_value(json_object_get(json, key));

    return value && strcmp(value, expected) == 0;
}

/*
 * Best effort, as the cache may be read-only: without it the next process reads the file again. The
 * lock is held already if this is called by the process that is about to make the entry anew.
 */
static void remember_identity(const struct fvm_rootfs_cache *cache, const struct entry_names *names,
                              json_t *json, const char *identity)
{
    cleanup_close int lock_fd = -1;

    if (fvm_cache_try_lock(cache->fd, names->key, &lock_fd, NULL) == 1 &&
        json_object_set_new(json, "rootfs_identity", json_string(identity)) == 0)
        fvm_cache_json_write(cache->fd, names->json, json, NULL);
}

/* Is it the file that was made, whole? */
static bool is_intact(const struct fvm_rootfs_cache *cache, const struct entry_names *names, int fd,
                      const struct stat *status, json_t *json)
{
    char identity[FVM_FILE_IDENTITY_SIZE], hex[FVM_SHA256_HEX_SIZE];
    uint64_t size;

    if (json_integer_value(json_object_get(json, "rootfs_size_bytes")) != status->st_size ||
        !looks_complete(fd, status->st_size))
        return false;
    fvm_file_identity(status, identity);
    if (json_says(json, "rootfs_identity", identity))
        return true;
    if (fvm_sha256_file(fd, names->rootfs, &size, hex, NULL) < 0 ||
        !json_says(json, "rootfs_sha256", hex))
        return false;
    remember_identity(cache, names, json, identity);
    return true;
}

int fvm_rootfs_cache_load(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          struct fvm_rootfs_entry *ret_entry, struct flashvm_error *error)
{
    cleanup_rootfs_entry struct fvm_rootfs_entry entry = {.image.rootfs_fd = -1};
    cleanup_names struct entry_names names = {0};
    cleanup_json json_t *json = NULL;
    struct stat status;

    if (make_names(manifest_digest, &names, error) < 0)
        return -1;
    entry.image.rootfs_path = fvm_format("%s/%s", cache->path, names.rootfs);
    if (entry.image.rootfs_path == NULL)
        return fvm_fail_no_memory(error);
    json = fvm_cache_json_read(cache->fd, names.json, &entry.used_at);
    if (json == NULL || !take_json(json, manifest_digest, &entry))
        return 0;
    entry.image.rootfs_fd = fvm_cache_open_file(cache->fd, names.rootfs, &status);
    if (entry.image.rootfs_fd < 0 ||
        !is_intact(cache, &names, entry.image.rootfs_fd, &status, json))
        return 0;
    entry.size_bytes = (uint64_t)status.st_size;
    *ret_entry = entry;
    entry = (struct fvm_rootfs_entry){.image.rootfs_fd = -1};
    return 1;
}

void fvm_rootfs_entry_finish(struct fvm_rootfs_entry *entry)
{
    json_decref(entry->references);
    fvm_image_finish(&entry->image);
    *entry = (struct fvm_rootfs_entry){.image.rootfs_fd = -1};
}

/* ---- making ---------------------------------------------------------------------------------- */

int fvm_rootfs_cache_lock(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          struct fvm_caller *caller, int *ret_fd, struct flashvm_error *error)
{
    cleanup_names struct entry_names names = {0};

    if (make_names(manifest_digest, &names, error) < 0)
        return -1;
    if (fvm_cache_lock(cache->fd, names.key, caller,
                       "waiting for another process that unpacks the image", ret_fd, error) == 0)
        return 0;
    if (error->status == FLASHVM_CANCELLED)
        return -1;
    return fvm_fail_context(
        error, "no image in the cache %s, and no place for it (FLASHVM_CACHE_DIR can name another)",
        cache->path);
}

static json_t *describe(const char *reference, const struct fvm_oci_image *image,
                        const char *python, const struct stat *status, const char *hex)
{
    cleanup_json json_t *env = json_array();
    char identity[FVM_FILE_IDENTITY_SIZE];

    for (char **entry = image->config.env; *entry; entry++)
        if (json_array_append_new(env, json_string(*entry)) < 0)
            return NULL;
    fvm_file_identity(status, identity);
    return json_pack(
        "{s:s, s:[o], s:I, s:I, s:s, s:s, s:s, s:{s:O, s:s, s:s}}",                  /**/
        "manifest", image->manifest.digest,                                          /**/
        "references", json_string(reference) ?: json_string(image->manifest.digest), /**/
        "made_at", (json_int_t)time(NULL),                                           /**/
        "rootfs_size_bytes", (json_int_t)status->st_size,                            /**/
        "rootfs_identity", identity,                                                 /**/
        "rootfs_sha256", hex,                                                        /**/
        "python", python,                                                            /**/
        "config", "Env", env, "WorkingDir", image->config.working_dir, "User", image->config.user);
}

int fvm_rootfs_cache_make(const struct fvm_rootfs_cache *cache, const struct fvm_oci *oci,
                          const char *reference, const struct fvm_oci_image *image,
                          struct flashvm_error *error)
{
    cleanup_names struct entry_names names = {0};
    cleanup_json json_t *json = NULL;
    cleanup_close int fd = -1;
    cleanup_free char *python = NULL;
    char hex[FVM_SHA256_HEX_SIZE];
    struct stat status;
    uint64_t size;

    if (make_names(image->manifest.digest, &names, error) < 0)
        return -1;
    if (fvm_cache_begin_file(cache->fd, names.rootfs, &fd, error) < 0)
        return fvm_fail_context(error, "%s", cache->path);
    /* Readable for others, so that a process may drop its user and open it by /proc/self/fd. */
    if (fvm_rootfs_write(oci, image, fd, NULL, &python, error) < 0 ||
        fvm_sha256_file(fd, names.rootfs, &size, hex, error) < 0 ||
        fvm_cache_publish_file(cache->fd, names.rootfs, fd, 0444, error) < 0) {
        fvm_cache_abandon_file(cache->fd, names.rootfs);
        return error->status == FLASHVM_IMAGE_INVALID /* where it goes does not matter then */
                   ? -1
                   : fvm_fail_context(error, "%s/%s", cache->path, names.rootfs);
    }
    /* Not earlier: the new name is a change of the file, and with it of its identity. */
    if (fstat(fd, &status) == 0)
        json = describe(reference, image, python, &status, hex);
    if (fvm_cache_json_write(cache->fd, names.json, json, error) < 0) {
        unlinkat(cache->fd, names.rootfs, 0); /* half an entry is of no use */
        return fvm_fail_context(error, "%s/%s", cache->path, names.json);
    }
    return 0;
}

/* ---- what leads to an entry, and when it was used -------------------------------------------- */

/* The JSON with one reference more, the newest last. Return: NULL when there is no need for it. */
static json_t *with_reference(json_t *json, const char *reference)
{
    json_t *references = json_object_get(json, "references");
    const json_t *known;
    size_t i;

    json_array_foreach(references, i, known)
    {
        if (strcmp(json_string_value(known) ?: "", reference) == 0)
            return NULL;
    }
    if (json_array_append_new(references, json_string(reference)) < 0)
        return NULL; /* a path that is not UTF-8 */
    while (json_array_size(references) > MAX_REFERENCES)
        json_array_remove(references, 0);
    return json;
}

void fvm_rootfs_cache_note_use(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                               const char *reference)
{
    cleanup_names struct entry_names names = {0};
    cleanup_json json_t *json = NULL;
    cleanup_close int lock_fd = -1;
    int64_t used_at;

    if (make_names(manifest_digest, &names, NULL) < 0)
        return;
    utimensat(cache->fd, names.json, NULL, AT_SYMLINK_NOFOLLOW);
    if (reference == NULL || fvm_cache_try_lock(cache->fd, names.key, &lock_fd, NULL) != 1)
        return;
    json = fvm_cache_json_read(cache->fd, names.json, &used_at);
    if (json && with_reference(json, reference))
        fvm_cache_json_write(cache->fd, names.json, json, NULL);
}
