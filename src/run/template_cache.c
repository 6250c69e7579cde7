/* SPDX-License-Identifier: MIT */
#include "run/template_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cache_entries.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "run/sparse_copy.h"

#define DIRECTORY "templates"

/* Of all templates together; a guest of 512 MiB takes some 80. */
static const uint64_t CACHE_BYTES_MAX = 2ULL << 30;
enum { STATE_BYTES_MAX = 64 << 20 };

static const char *const endings[] = {".json",  ".json.tmp",  ".memory", ".memory.tmp",
                                      ".state", ".state.tmp", ".lock",   NULL};

static size_t key_length(const char *file)
{
    return strspn(file, "0123456789abcdef") == FVM_SHA256_HEX_SIZE - 1 ? FVM_SHA256_HEX_SIZE - 1
                                                                       : 0;
}

static int open_entries(const char *cache_path, bool make, struct fvm_cache_entries *ret_entries,
                        struct flashvm_error *error)
{
    const struct fvm_cache_entries kind = {.endings = endings, .key_length = key_length};

    return fvm_cache_entries_open(cache_path, DIRECTORY, make, &kind, ret_entries, error);
}

/* The names of an entry's files; to be freed. */
struct names {
    char *json, *memory, *state;
};

static void names_finish(struct names *names)
{
    free(names->json);
    free(names->memory);
    free(names->state);
}
#define cleanup_names __attribute__((cleanup(names_finish)))

static int make_names(const char *key, struct names *ret_names, struct flashvm_error *error)
{
    *ret_names = (struct names){
        fvm_format("%s.json", key),
        fvm_format("%s.memory", key),
        fvm_format("%s.state", key),
    };
    if (ret_names->json == NULL || ret_names->memory == NULL || ret_names->state == NULL)
        return fvm_fail_no_memory(error);
    return 0;
}

int fvm_template_cache_lock(const char *cache_path, const char *key, struct fvm_caller *caller,
                            int *ret_fd, struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};

    if (open_entries(cache_path, true, &entries, error) < 0)
        return -1;
    return fvm_cache_lock(entries.fd, key, caller, "waiting for the template that is being made",
                          ret_fd, error);
}

/* ---- memory files ---------------------------------------------------------------------------- */

int fvm_memory_file_make(const char *name, uint64_t size, struct flashvm_error *error)
{
    cleanup_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return fvm_fail_errno(error, errno, "cannot make a file in memory of %ju MiB",
                              (uintmax_t)size >> 20);
    return steal_fd(&fd);
}

int fvm_memory_file_seal(int fd, struct flashvm_error *error)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return fvm_fail_errno(error, errno, "cannot protect the template's memory from its VMs");
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Is it the file that was made, whole? By its identity; by its digest when that is another. */
static bool is_intact(const json_t *part, int fd, const struct stat *status)
{
    const char *identity = json_string_value(json_object_get(part, "identity"));
    const char *digest = json_string_value(json_object_get(part, "sha256"));
    char now[FVM_FILE_IDENTITY_SIZE], hex[FVM_SHA256_HEX_SIZE];

    if (identity == NULL || digest == NULL ||
        json_integer_value(json_object_get(part, "size_bytes")) != status->st_size)
        return false;
    fvm_file_identity(status, now);
    if (strcmp(identity, now) == 0)
        return true;
    return fvm_sparse_digest(fd, (uint64_t)status->st_size, hex) == 0 && strcmp(digest, hex) == 0;
}

/* Return: a sealed copy of the file in memory; -1 when it is missing, damaged, or does not fit. */
static int load_file(const struct fvm_cache_entries *entries, const char *name, const json_t *part,
                     off_t size_max, bool always_digest)
{
    const char *digest = json_string_value(json_object_get(part, "sha256"));
    cleanup_close int file = -1, memory = -1;
    char hex[FVM_SHA256_HEX_SIZE];
    struct stat status;

    file = fvm_cache_open_file(entries->fd, name, &status);
    if (file < 0 || status.st_size > size_max || !is_intact(part, file, &status))
        return -1;
    memory = fvm_memory_file_make("flashvm-template", (uint64_t)status.st_size, NULL);
    if (memory < 0 || fvm_sparse_copy(file, memory, (uint64_t)status.st_size) < 0 ||
        fvm_memory_file_seal(memory, NULL) < 0)
        return -1;
    if (always_digest &&
        (fvm_sparse_digest(memory, (uint64_t)status.st_size, hex) < 0 || strcmp(digest, hex) != 0))
        return -1;
    return steal_fd(&memory);
}

static bool is_of_use(int64_t made_at)
{
    return made_at <= time(NULL) && !fvm_template_is_too_old(made_at);
}

int fvm_template_cache_load(const char *cache_path, const char *key, unsigned memory_mb,
                            struct fvm_snapshot *ret_snapshot, int64_t *ret_made_at,
                            struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    cleanup_names struct names names = {0};
    cleanup_json json_t *json = NULL;
    const json_t *memory, *state;
    cleanup_close int memory_fd = -1, state_fd = -1;
    int64_t used_at, made_at;
    int opened = open_entries(cache_path, false, &entries, error);

    if (opened <= 0)
        return opened;
    if (make_names(key, &names, error) < 0)
        return -1;
    json = fvm_cache_json_read(entries.fd, names.json, &used_at);
    memory = json_object_get(json, "memory");
    state = json_object_get(json, "state");
    made_at = json_integer_value(json_object_get(json, "made_at"));
    if (memory == NULL || state == NULL || !is_of_use(made_at))
        return 0;
    state_fd = load_file(&entries, names.state, state, STATE_BYTES_MAX, true);
    if (state_fd >= 0)
        memory_fd = load_file(&entries, names.memory, memory, (off_t)memory_mb << 20, false);
    if (memory_fd < 0)
        return 0;
    utimensat(entries.fd, names.json, NULL, AT_SYMLINK_NOFOLLOW); /* it is used; best effort */
    *ret_snapshot = (struct fvm_snapshot){steal_fd(&memory_fd), steal_fd(&state_fd)};
    *ret_made_at = made_at;
    return 1;
}

/* ---- storing --------------------------------------------------------------------------------- */

/* Return: what the JSON says of the file, a new reference; NULL with the error set. */
static json_t *store_file(const struct fvm_cache_entries *entries, const char *name, int memory,
                          struct flashvm_error *error)
{
    cleanup_close int file = -1;
    char identity[FVM_FILE_IDENTITY_SIZE], hex[FVM_SHA256_HEX_SIZE];
    struct stat status;

    if (fstat(memory, &status) < 0) {
        fvm_fail_errno(error, errno, "cannot look at the template's memory");
        return NULL;
    }
    if (fvm_cache_begin_file(entries->fd, name, &file, error) < 0)
        return NULL;
    if (fvm_sparse_copy(memory, file, (uint64_t)status.st_size) < 0 ||
        fvm_sparse_digest(memory, (uint64_t)status.st_size, hex) < 0) {
        fvm_fail_errno(error, errno, "cannot write %s in the cache", name);
    } else if (fvm_cache_publish_file(entries->fd, name, file, 0444, error) == 0 &&
               fstat(file, &status) == 0) {
        fvm_file_identity(&status, identity);
        return json_pack("{s:I, s:s, s:s}", "size_bytes", (json_int_t)status.st_size, "identity",
                         identity, "sha256", hex);
    }
    fvm_cache_abandon_file(entries->fd, name);
    return NULL;
}

static json_t *describe(const struct fvm_template_info *info, json_t *memory, json_t *state)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:O, s:O}", /**/
                     "engine", info->engine,                     /**/
                     "accelerator", info->accelerator,           /**/
                     "image", info->image,                       /**/
                     "memory_mb", (json_int_t)info->memory_mb,   /**/
                     "cpus", (json_int_t)info->cpus,             /**/
                     "made_at", (json_int_t)info->made_at,       /**/
                     "memory", memory, "state", state);
}

static void make_room(const char *cache_path);

int fvm_template_cache_store(const char *cache_path, const char *key,
                             const struct fvm_snapshot *snapshot,
                             const struct fvm_template_info *info, struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    cleanup_names struct names names = {0};
    cleanup_json json_t *memory = NULL, *state = NULL, *json = NULL;

    if (open_entries(cache_path, true, &entries, error) < 0 || make_names(key, &names, error) < 0)
        return -1;
    unlinkat(entries.fd, names.json, 0); /* a damaged or old one is none from now on */
    memory = store_file(&entries, names.memory, snapshot->memory_fd, error);
    state = memory ? store_file(&entries, names.state, snapshot->state_fd, error) : NULL;
    if (state == NULL) {
        unlinkat(entries.fd, names.memory, 0);
        return -1;
    }
    json = describe(info, memory, state);
    if (fvm_cache_json_write(entries.fd, names.json, json, error) < 0)
        return -1;
    make_room(cache_path);
    return 0;
}

/* ---- listing and removing -------------------------------------------------------------------- */

void fvm_template_info_finish(struct fvm_template_info *info)
{
    free(info->engine);
    free(info->accelerator);
    free(info->image);
    free(info->key);
    *info = (struct fvm_template_info){0};
}

static uint64_t bytes_of(const struct fvm_cache_entries *entries, const char *name)
{
    struct stat status;

    return fstatat(entries->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0
               ? (uint64_t)status.st_blocks * 512
               : 0;
}

/* Return: 1 and *ret_info, 0 when it is no whole entry, -1. */
static int read_info(const struct fvm_cache_entries *entries, const char *key,
                     struct fvm_template_info *ret_info, struct flashvm_error *error)
{
    cleanup_names struct names names = {0};
    cleanup_json json_t *json = NULL;
    const char *engine, *accelerator, *image;
    json_int_t memory_mb, cpus, made_at;
    int64_t used_at;

    if (make_names(key, &names, error) < 0)
        return -1;
    json = fvm_cache_json_read(entries->fd, names.json, &used_at);
    if (json == NULL || json_unpack(json, "{s:s, s:s, s:s, s:I, s:I, s:I}", "engine", &engine,
                                    "accelerator", &accelerator, "image", &image, "memory_mb",
                                    &memory_mb, "cpus", &cpus, "made_at", &made_at) < 0)
        return 0;
    *ret_info = (struct fvm_template_info){
        .engine = strdup(engine),
        .accelerator = strdup(accelerator),
        .image = strdup(image),
        .key = strdup(key),
        .memory_mb = (unsigned)memory_mb,
        .cpus = (unsigned)cpus,
        .made_at = made_at,
        .used_at = used_at,
        .size_bytes = bytes_of(entries, names.memory) + bytes_of(entries, names.state),
    };
    if (ret_info->engine && ret_info->accelerator && ret_info->image && ret_info->key)
        return 1;
    fvm_template_info_finish(ret_info);
    return fvm_fail_no_memory(error);
}

static int compare_uses(const void *left, const void *right)
{
    const struct fvm_template_info *a = left, *b = right;

    if (a->used_at != b->used_at)
        return a->used_at < b->used_at ? 1 : -1;
    return strcmp(a->key, b->key);
}

int fvm_template_cache_list(const char *cache_path, struct fvm_template_info **ret_infos,
                            size_t *ret_count, struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    cleanup_json json_t *keys = NULL;
    struct fvm_template_info *infos;
    size_t count = 0;
    const char *key;
    json_t *unused;
    int opened = open_entries(cache_path, false, &entries, error);

    if (opened < 0 || (opened > 0 && fvm_cache_entries_list(&entries, &keys, error) < 0))
        return -1;
    infos = calloc(json_object_size(keys) + 1, sizeof *infos);
    if (infos == NULL)
        return fvm_fail_no_memory(error);
    json_object_foreach(keys, key, unused)
    {
        int found = read_info(&entries, key, &infos[count], error);

        if (found < 0) {
            fvm_template_infos_free(infos, count);
            return -1;
        }
        count += (size_t)found;
    }
    qsort(infos, count, sizeof *infos, compare_uses);
    *ret_infos = infos;
    *ret_count = count;
    return 0;
}

void fvm_template_infos_free(struct fvm_template_info *infos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fvm_template_info_finish(&infos[i]);
    free(infos);
}

void fvm_template_cache_remove(const char *cache_path, const char *key)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    uint64_t freed_bytes = 0;

    if (open_entries(cache_path, false, &entries, NULL) > 0)
        fvm_cache_entry_clear(&entries, key, &freed_bytes, NULL);
}

/* What is too old or too much goes. What other processes have loaded is theirs until they end. */
static void make_room(const char *cache_path)
{
    struct fvm_template_info *infos;
    uint64_t bytes = 0;
    size_t count;

    if (fvm_template_cache_list(cache_path, &infos, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        bytes += infos[i].size_bytes;
        if ((i > 0 && bytes > CACHE_BYTES_MAX) || !is_of_use(infos[i].made_at))
            fvm_template_cache_remove(cache_path, infos[i].key);
    }
    fvm_template_infos_free(infos, count);
}

int fvm_template_cache_clear(const char *cache_path, uint64_t *freed_bytes,
                             struct flashvm_error *error)
{
    cleanup_cache_entries struct fvm_cache_entries entries = {.fd = -1};
    cleanup_json json_t *keys = NULL;
    const char *key;
    json_t *unused;
    int opened = open_entries(cache_path, false, &entries, error);

    if (opened < 0 || (opened > 0 && fvm_cache_entries_list(&entries, &keys, error) < 0))
        return -1;
    json_object_foreach(keys, key, unused)
    {
        if (fvm_cache_entry_clear(&entries, key, freed_bytes, error) < 0)
            return -1;
    }
    return 0;
}
