/* SPDX-License-Identifier: MIT */
#include "image/rootfs_cache.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqfs/super.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "image/cache.h"
#include "image/rootfs.h"

enum { MAX_ENTRY_BYTES = 8 << 20 };

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

static int make_json(const struct fvm_rootfs_cache *cache, const char *name, const json_t *json,
                     struct flashvm_error *error)
{
    cleanup_free char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    cleanup_close int fd = -1;

    if (text == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_cache_begin_file(cache->fd, name, &fd, error) < 0)
        return -1;
    if (fvm_write_all(fd, text, strlen(text)) < 0) {
        fvm_fail_errno(error, errno, "cannot write %s in the cache", name);
    } else if (fvm_cache_publish_file(cache->fd, name, fd, 0444, error) == 0) {
        return 0;
    }
    fvm_cache_abandon_file(cache->fd, name);
    return -1;
}

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

/* Return: NULL when it is missing, unreadable or not to be trusted. */
static json_t *load_json(const struct fvm_rootfs_cache *cache, const char *name)
{
    cleanup_close int fd = -1;
    cleanup_free char *data = NULL;
    struct stat status;
    size_t size;

    fd = fvm_cache_open_file(cache->fd, name, &status);
    if (fd < 0 || status.st_size <= 0 || status.st_size > MAX_ENTRY_BYTES)
        return NULL;
    size = (size_t)status.st_size;
    data = malloc(size);
    if (data == NULL || pread(fd, data, size, 0) != (ssize_t)size)
        return NULL;
    return json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
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
        make_json(cache, names->json, json, NULL);
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

int fvm_rootfs_cache_find(const struct fvm_rootfs_cache *cache, const char *reference,
                          const char *manifest_digest, struct fvm_image *ret_image,
                          struct flashvm_error *error)
{
    cleanup_names struct entry_names names = {0};
    cleanup_image_config struct fvm_image_config config = {0};
    cleanup_json json_t *json = NULL;
    cleanup_close int fd = -1;
    struct fvm_image image;
    struct stat status;

    if (make_names(manifest_digest, &names, error) < 0)
        return -1;
    json = load_json(cache, names.json);
    if (json == NULL || !json_says(json, "manifest", manifest_digest) ||
        !json_says(json, "reference", reference) ||
        fvm_image_config_from_json(json_object_get(json, "config"), &config, NULL) < 0)
        return 0;
    fd = fvm_cache_open_file(cache->fd, names.rootfs, &status);
    if (fd < 0 || !is_intact(cache, &names, fd, &status, json))
        return 0;
    image = (struct fvm_image){.reference = strdup(reference),
                               .digest = strdup(manifest_digest),
                               .rootfs_path = fvm_format("%s/%s", cache->path, names.rootfs),
                               .rootfs_fd = steal_fd(&fd),
                               .config = config};
    config = (struct fvm_image_config){0};
    if (image.reference == NULL || image.digest == NULL || image.rootfs_path == NULL) {
        fvm_cleanup_close(&image.rootfs_fd);
        fvm_image_finish(&image);
        return fvm_fail_no_memory(error);
    }
    *ret_image = image;
    return 1;
}

/* ---- making ---------------------------------------------------------------------------------- */

int fvm_rootfs_cache_lock(const struct fvm_rootfs_cache *cache, const char *manifest_digest,
                          void (*waiting)(void *data), void *data, int *ret_fd,
                          struct flashvm_error *error)
{
    cleanup_names struct entry_names names = {0};

    if (make_names(manifest_digest, &names, error) < 0)
        return -1;
    if (fvm_cache_lock(cache->fd, names.key, waiting, data, ret_fd, error) < 0)
        return fvm_fail_context(
            error,
            "no image in the cache %s, and no place for it (XDG_CACHE_HOME can name another)",
            cache->path);
    return 0;
}

static json_t *describe(const char *reference, const struct fvm_oci_image *image,
                        const struct stat *status, const char *hex)
{
    cleanup_json json_t *env = json_array();
    char identity[FVM_FILE_IDENTITY_SIZE];

    for (char **entry = image->config.env; *entry; entry++)
        if (json_array_append_new(env, json_string(*entry)) < 0)
            return NULL;
    fvm_file_identity(status, identity);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:{s:O, s:s, s:s}}", "reference", reference,
                     "manifest", image->manifest.digest, "rootfs_size_bytes",
                     (json_int_t)status->st_size, "rootfs_sha256", hex, "rootfs_identity", identity,
                     "config", "Env", env, "WorkingDir", image->config.working_dir, "User",
                     image->config.user);
}

int fvm_rootfs_cache_make(const struct fvm_rootfs_cache *cache, const struct fvm_oci *oci,
                          const char *reference, const struct fvm_oci_image *image,
                          struct flashvm_error *error)
{
    cleanup_names struct entry_names names = {0};
    cleanup_json json_t *json = NULL;
    cleanup_close int fd = -1;
    char hex[FVM_SHA256_HEX_SIZE];
    struct stat status;
    uint64_t size;

    if (make_names(image->manifest.digest, &names, error) < 0)
        return -1;
    if (fvm_cache_begin_file(cache->fd, names.rootfs, &fd, error) < 0)
        return fvm_fail_context(error, "%s", cache->path);
    /* Readable for others, so that a process may drop its user and open it by /proc/self/fd. */
    if (fvm_rootfs_write(oci, image, fd, NULL, error) < 0 ||
        fvm_sha256_file(fd, names.rootfs, &size, hex, error) < 0 ||
        fvm_cache_publish_file(cache->fd, names.rootfs, fd, 0444, error) < 0) {
        fvm_cache_abandon_file(cache->fd, names.rootfs);
        return fvm_fail_context(error, "%s/%s", cache->path, names.rootfs);
    }
    /* Not earlier: the new name is a change of the file, and with it of its identity. */
    if (fstat(fd, &status) == 0)
        json = describe(reference, image, &status, hex);
    if (make_json(cache, names.json, json, error) < 0) {
        unlinkat(cache->fd, names.rootfs, 0); /* half an entry is of no use */
        return fvm_fail_context(error, "%s/%s", cache->path, names.json);
    }
    return 0;
}
