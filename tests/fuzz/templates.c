/* SPDX-License-Identifier: MIT */
/*
 * A template in the cache as it may be found there: damaged, half written, of another time, or with
 * something in the place of its files. It is loaded as it was made, or not at all, and clearing
 * leaves nothing of it and touches nothing else.
 *
 * Input: a byte of flags, a byte that says what the three files are, the JSON, NUL, a byte with the
 * size of the state, the state, and the rest is the memory.
 */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "run/sparse_copy.h"
#include "run/template_cache.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What the JSON says for that is made true, or few inputs would get past the digests. */
enum flags {
    STATE_IDENTITY = 1,
    STATE_DIGEST = 2,
    MEMORY_IDENTITY = 4,
    MEMORY_DIGEST = 8,
    AGE = 16, /* made_at is an age */
};

/* A link leads to a file out of the cache, with the content that was meant for the place. */
enum kind { A_FILE, A_LINK, A_FIFO, A_DIRECTORY };

enum { MEMORY_MB = 1 };

static int directory_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    cleanup_free char *path = scratch_path("templates");
    cleanup_free char *outside = scratch_path("outside");

    (void)argc, (void)argv;
    must(mkdir(path, 0700) == 0 && mkdir(outside, 0700) == 0);
    directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(directory_fd >= 0);
    return 0;
}

static void put(const char *name, enum kind kind, struct input content)
{
    cleanup_free char *target = fvm_format("../outside/%s", name);
    cleanup_close int fd = -1;

    must(target);
    if (kind == A_LINK)
        must(symlinkat(target, directory_fd, name) == 0);
    else if (kind == A_FIFO)
        must(mkfifoat(directory_fd, name, 0600) == 0);
    else if (kind == A_DIRECTORY)
        must(mkdirat(directory_fd, name, 0700) == 0);
    if (kind != A_FILE && kind != A_LINK)
        return;
    fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0);
    scratch_fill(fd, content.next, content.left);
}

static int open_part(const char *name)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);

    must(fd >= 0);
    return fd;
}

/* ---- the truth in the JSON ------------------------------------------------------------------- */

static void tell_truth(json_t *part, const char *name, bool identity, bool digest)
{
    cleanup_close int fd = -1;
    char known[FVM_FILE_IDENTITY_SIZE], hex[FVM_SHA256_HEX_SIZE];
    struct stat status;

    if (!json_is_object(part) || (!identity && !digest))
        return;
    fd = open_part(name);
    must(fstat(fd, &status) == 0);
    fvm_file_identity(&status, known);
    must(fvm_sparse_digest(fd, (uint64_t)status.st_size, hex) == 0);
    if (identity)
        must(json_object_set_new(part, "identity", json_string(known)) == 0);
    if (digest)
        must(json_object_set_new(part, "sha256", json_string(hex)) == 0);
    must(json_object_set_new(part, "size_bytes", json_integer(status.st_size)) == 0);
}

/* To be released; NULL when the text is no JSON. */
static json_t *make_json(struct input text, uint8_t flags, const enum kind kinds[3])
{
    json_t *json = json_loadb(text.next, text.left, JSON_REJECT_DUPLICATES, NULL);
    json_int_t age = json_integer_value(json_object_get(json, "made_at")), made_at;

    if (!json_is_object(json))
        return json;
    if ((flags & AGE) && !__builtin_sub_overflow((json_int_t)time(NULL), age, &made_at))
        must(json_object_set_new(json, "made_at", json_integer(made_at)) == 0);
    if (kinds[1] <= A_LINK)
        tell_truth(json_object_get(json, "state"), KEY ".state", flags & STATE_IDENTITY,
                   flags & STATE_DIGEST);
    if (kinds[2] <= A_LINK)
        tell_truth(json_object_get(json, "memory"), KEY ".memory", flags & MEMORY_IDENTITY,
                   flags & MEMORY_DIGEST);
    return json;
}

static void put_json(enum kind kind, struct input text, const json_t *json)
{
    cleanup_free char *dumped = json_is_object(json) ? json_dumps(json, JSON_COMPACT) : NULL;

    put(KEY ".json", kind, dumped ? (struct input){dumped, strlen(dumped)} : text);
}

/* ---- what must hold -------------------------------------------------------------------------- */

/* A copy of the file that nobody can change. */
static void check_copy(int copy, const char *name, const json_t *part)
{
    const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    cleanup_close int fd = open_part(name);
    char there[4096], here[4096];
    ssize_t size = pread(fd, there, sizeof there, 0);
    struct stat status;

    must(fcntl(copy, F_GET_SEALS) == seals);
    must(pread(copy, here, sizeof here, 0) == size && memcmp(here, there, (size_t)size) == 0);
    must(fstat(fd, &status) == 0 && status.st_size <= MEMORY_MB << 20);
    must(json_integer_value(json_object_get(part, "size_bytes")) == status.st_size);
}

static void check_state_digest(const json_t *state)
{
    cleanup_close int fd = open_part(KEY ".state");
    char hex[FVM_SHA256_HEX_SIZE];
    struct stat status;

    must(fstat(fd, &status) == 0);
    must(fvm_sparse_digest(fd, (uint64_t)status.st_size, hex) == 0);
    must(strcmp(hex, json_string_value(json_object_get(state, "sha256"))) == 0);
}

static void check_load(const json_t *json, const enum kind kinds[3])
{
    struct fvm_snapshot snapshot = {-2, -2};
    int64_t made_at, now = time(NULL);
    int found =
        fvm_template_cache_load(scratch_directory(), KEY, MEMORY_MB, &snapshot, &made_at, NULL);

    must(found == 0 || found == 1);
    if (found == 0) {
        must(snapshot.memory_fd == -2 && snapshot.state_fd == -2);
        return;
    }
    must(kinds[0] == A_FILE && kinds[1] == A_FILE && kinds[2] == A_FILE);
    must(made_at <= now + 1 && made_at >= now - FVM_TEMPLATE_SECONDS_MAX);
    check_copy(snapshot.state_fd, KEY ".state", json_object_get(json, "state"));
    check_copy(snapshot.memory_fd, KEY ".memory", json_object_get(json, "memory"));
    check_state_digest(json_object_get(json, "state"));
    close(snapshot.state_fd);
    close(snapshot.memory_fd);
}

static void check_list(const json_t *json)
{
    struct fvm_template_info *infos;
    size_t count;

    must(fvm_template_cache_list(scratch_directory(), &infos, &count, NULL) == 0);
    must(count <= 1);
    if (count == 1) {
        const char *image = json_string_value(json_object_get(json, "image"));

        must(strcmp(infos[0].key, KEY) == 0 && infos[0].engine && infos[0].accelerator);
        must(strcmp(infos[0].image, image) == 0);
    }
    fvm_template_infos_free(infos, count);
}

static bool has_directory(const char *name, const enum kind kinds[3])
{
    return (kinds[0] == A_DIRECTORY && strcmp(name, KEY ".json") == 0) ||
           (kinds[1] == A_DIRECTORY && strcmp(name, KEY ".state") == 0) ||
           (kinds[2] == A_DIRECTORY && strcmp(name, KEY ".memory") == 0);
}

/* Remove the file that a link led to. */
static void check_outside(const char *name, enum kind kind)
{
    cleanup_free char *target = fvm_format("../outside/%s", name);

    must(target && (kind != A_LINK || unlinkat(directory_fd, target, 0) == 0));
}

/* No file is left, and directories, which may hold something of value, stay. */
static void check_clear(const enum kind kinds[3])
{
    cleanup_free char *path = scratch_path("templates");
    cleanup_dir DIR *directory = opendir(path);
    uint64_t freed_bytes = 0;
    struct dirent *entry;

    must(fvm_template_cache_clear(scratch_directory(), &freed_bytes, NULL) == 0);
    check_outside(KEY ".json", kinds[0]);
    check_outside(KEY ".state", kinds[1]);
    check_outside(KEY ".memory", kinds[2]);
    must(directory);
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        must(has_directory(entry->d_name, kinds));
        must(unlinkat(directory_fd, entry->d_name, AT_REMOVEDIR) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    uint8_t flags = input_byte(&input), three = input_byte(&input);
    const enum kind kinds[3] = {three & 3, three >> 2 & 3, three >> 4 & 3};
    struct input text = input_text(&input);
    cleanup_json json_t *json = NULL;

    put(KEY ".state", kinds[1], input_part(&input, input_byte(&input)));
    put(KEY ".memory", kinds[2], input);
    json = make_json(text, flags, kinds);
    put_json(kinds[0], text, json);
    check_load(json, kinds);
    check_list(json);
    check_clear(kinds);
    return 0;
}
