/* SPDX-License-Identifier: MIT */
#include "artifacts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "glob.h"

enum { DEPTH_MAX = 128 };

struct collection {
    struct channel *channel;
    const struct request *request;
    uint64_t deadline_us; /* of the search */
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t sent, sent_bytes;
    uint64_t over_count, over_bytes, special, too_deep, unreadable; /* left out */
    bool broken_off;
};

static bool is_time_over(struct collection *collection)
{
    collection->broken_off |= fvm_now_us() >= collection->deadline_us;
    return collection->broken_off;
}

static bool any_glob(const struct collection *collection,
                     bool (*test)(const char *pattern, const char *path))
{
    for (size_t i = 0; collection->request->expect[i]; i++)
        if (test(collection->request->expect[i], collection->path))
            return true;
    return false;
}

/* ---- a directory's entries -------------------------------------------------------------------
 *
 * A snippet may make millions of them, so they are kept as one run of bytes. A directory has a
 * slash behind its name: sorted like that, a walk meets all paths in the order of strcmp().
 */

enum kind { REGULAR = 'f', DIRECTORY = 'd', SPECIAL = 's' };

struct listing {
    struct fvm_buffer entries; /* of each the kind, the name, and a NUL */
    size_t *offsets;
    size_t count, capacity;
};

static void listing_finish(struct listing *listing)
{
    fvm_buffer_finish(&listing->entries);
    free(listing->offsets);
}

/* Return: 0, or -1 when memory is exhausted. */
static int add_entry(struct listing *listing, enum kind kind, const char *name)
{
    const char letter = (char)kind, *end = kind == DIRECTORY ? "/" : "";
    size_t offset = listing->entries.size;

    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
        size_t *grown = reallocarray(listing->offsets, capacity, sizeof *grown);

        if (grown == NULL)
            return -1;
        listing->offsets = grown;
        listing->capacity = capacity;
    }
    if (fvm_buffer_append(&listing->entries, &letter, 1) < 0 ||
        fvm_buffer_append(&listing->entries, name, strlen(name)) < 0 ||
        fvm_buffer_append(&listing->entries, end, strlen(end) + 1) < 0)
        return -1;
    listing->offsets[listing->count++] = offset;
    return 0;
}

static enum kind kind_of(int directory, const struct dirent *entry)
{
    unsigned char type = entry->d_type;
    struct stat status;

    if (type == DT_UNKNOWN && fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        type = IFTODT(status.st_mode);
    return type == DT_REG ? REGULAR : type == DT_DIR ? DIRECTORY : SPECIAL;
}

static int compare_entries(const void *a, const void *b, void *bytes)
{
    const char *entries = bytes;

    return strcmp(entries + *(const size_t *)a + 1, entries + *(const size_t *)b + 1);
}

/* What cannot be listed for want of memory is counted as not readable. */
static void list(struct collection *collection, DIR *directory, struct listing *listing)
{
    struct dirent *entry;

    while (!is_time_over(collection) && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (add_entry(listing, kind_of(dirfd(directory), entry), entry->d_name) < 0)
            collection->unreadable++;
    }
    if (listing->count > 0)
        qsort_r(listing->offsets, listing->count, sizeof *listing->offsets, compare_entries,
                listing->entries.data);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void send_bytes(struct collection *collection, int fd, uint64_t size)
{
    static char chunk[FVM_FRAME_MAX_PAYLOAD];
    char payload[FVM_FILE_PAYLOAD_MAX];
    uint64_t begin = fvm_now_us();
    ssize_t count;

    channel_send(collection->channel, FVM_FRAME_FILE, payload,
                 fvm_frame_format_file(size, false, collection->path, payload));
    for (uint64_t left = size; left > 0; left -= (uint64_t)count) {
        count = read(fd, chunk, left < sizeof chunk ? left : sizeof chunk);
        if (count <= 0)
            break; /* and the host notices that bytes are missing */
        channel_send(collection->channel, FVM_FRAME_FILE_DATA, chunk, (size_t)count);
    }
    channel_send(collection->channel, FVM_FRAME_FILE_END, NULL, 0);
    collection->deadline_us += fvm_now_us() - begin;
}

static void take_file(struct collection *collection, int directory, const char *name)
{
    cleanup_close int fd = -1;
    struct stat status;

    if (collection->sent >= collection->request->max_artifacts) {
        collection->over_count++;
        return;
    }
    fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        collection->unreadable++;
        return;
    }
    if ((uint64_t)status.st_size >
        collection->request->max_artifact_bytes - collection->sent_bytes) {
        collection->over_bytes++;
        return;
    }
    send_bytes(collection, fd, (uint64_t)status.st_size);
    collection->sent++;
    collection->sent_bytes += (uint64_t)status.st_size;
}

static void walk(struct collection *collection, int fd, int depth);

/* An entry of the directory whose path has `length` bytes. The path is restored on return. */
static void take_entry(struct collection *collection, int directory, char *entry, size_t length,
                       int depth)
{
    enum kind kind = (enum kind)entry[0];
    char *name = entry + 1;
    size_t size = strlen(name) - (kind == DIRECTORY);

    name[size] = '\0'; /* a directory's slash */
    if (length + 1 + size > FVM_FILE_PATH_MAX || depth >= DEPTH_MAX) {
        collection->too_deep++;
        return;
    }
    sprintf(collection->path + length, "%s%s", length ? "/" : "", name);
    if (kind == DIRECTORY && any_glob(collection, glob_may_match_below))
        walk(collection, openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
             depth + 1);
    else if (kind == REGULAR && any_glob(collection, glob_matches))
        take_file(collection, directory, name);
    else if (kind == SPECIAL && any_glob(collection, glob_matches))
        collection->special++;
    collection->path[length] = '\0';
}

/* Walk one directory. Takes over the descriptor. */
static void walk(struct collection *collection, int fd, int depth)
{
    __attribute__((cleanup(listing_finish))) struct listing listing = {0};
    cleanup_dir DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    size_t length = strlen(collection->path);

    if (directory == NULL) {
        fvm_cleanup_close(&fd);
        collection->unreadable++;
        return;
    }
    list(collection, directory, &listing);
    for (size_t i = 0; i < listing.count && !is_time_over(collection); i++)
        take_entry(collection, dirfd(directory), listing.entries.data + listing.offsets[i], length,
                   depth);
}

/* ---- what was left out ----------------------------------------------------------------------- */

static void note(struct fvm_buffer *text, uint64_t count, const char *what)
{
    char sentence[200];

    if (count == 0)
        return;
    snprintf(sentence, sizeof sentence, "%s%ju %s", text->size ? "; " : "", (uintmax_t)count, what);
    fvm_buffer_append(text, sentence, strlen(sentence));
}

void artifacts_send(struct channel *channel, int directory, const struct request *request,
                    unsigned search_ms, char **ret_left_out)
{
    struct collection collection = {
        .channel = channel,
        .request = request,
        .deadline_us = fvm_now_us() + (uint64_t)search_ms * 1000,
    };
    struct fvm_buffer left_out = {0};

    *ret_left_out = NULL;
    if (request->expect[0] == NULL)
        return;
    walk(&collection, openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
    note(&left_out, collection.over_count, "over the limit of artifacts");
    note(&left_out, collection.over_bytes, "over the limit of artifact bytes");
    note(&left_out, collection.special, "not regular files (symlinks, devices, pipes, sockets)");
    note(&left_out, collection.too_deep, "nested too deeply");
    note(&left_out, collection.unreadable, "not readable");
    if (collection.broken_off) {
        const char *sentence = "and there may be more: the search took too long";

        fvm_buffer_append(&left_out, "; ", left_out.size ? 2 : 0);
        fvm_buffer_append(&left_out, sentence, strlen(sentence));
    }
    *ret_left_out = left_out.data;
}
