/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "glob.h"
#include "log.h"

#define WORK "/work"

enum { DEPTH_MAX = 128 };

static int make_owned(int directory_fd, const char *path, const struct account *account)
{
    if (mkdirat(directory_fd, path, 0755) < 0)
        return errno == EEXIST ? 0 : -1;
    return fchownat(directory_fd, path, account->uid, account->gid, AT_SYMLINK_NOFOLLOW);
}

void work_directory_make(const struct account *account)
{
    if (chown(WORK, account->uid, account->gid) < 0 || chmod(WORK, 0755) < 0 ||
        make_owned(AT_FDCWD, WORK "/out", account) < 0)
        agent_die_errno("cannot make " WORK "/out");
}

/* With the account's rights to files, which the agent then has for a moment. */
static int try_to_enter(const char *workdir, const struct account *account)
{
    int outcome, saved_errno;

    setfsgid(account->gid);
    setfsuid(account->uid);
    outcome = chdir(workdir);
    saved_errno = errno;
    setfsuid(0);
    setfsgid(0);
    if (chdir("/") < 0)
        agent_die_errno("cannot go back to /");
    errno = saved_errno;
    return outcome;
}

int workdir_prepare(const char *workdir, const struct account *account)
{
    cleanup_free char *partial = strdup(workdir);

    if (partial == NULL)
        return -1;
    for (char *slash = partial + 1; *slash; slash++) {
        if (*slash != '/')
            continue;
        *slash = '\0';
        if (make_owned(AT_FDCWD, partial, account) < 0)
            return -1;
        *slash = '/';
    }
    if (make_owned(AT_FDCWD, partial, account) < 0)
        return -1;
    return try_to_enter(workdir, account);
}

/* Nothing of the snippet runs yet, so the path's parents cannot be exchanged meanwhile. */
static int create_file(int work_fd, char *path, const struct account *account)
{
    int fd;

    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_owned(work_fd, path, account) < 0)
            return -1;
        *slash = '/';
    }
    fd = openat(work_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0 && fchown(fd, account->uid, account->gid) < 0)
        fvm_cleanup_close(&fd), fd = -1;
    return fd;
}

const char *receiver_take(struct receiver *receiver, const struct fvm_frame *frame,
                          const struct account *account)
{
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t size;

    errno = 0;
    switch (frame->type) {
    case FVM_FRAME_FILE:
        if (receiver->file_fd >= 0 || fvm_frame_parse_file(frame, &size, path) < 0)
            return "the host sent a bad FILE frame";
        receiver->file_fd = create_file(receiver->work_fd, path, account);
        return receiver->file_fd < 0 ? "cannot create a file in " WORK : NULL;
    case FVM_FRAME_FILE_DATA:
        if (receiver->file_fd < 0)
            return "the host sent data without a file";
        for (size_t done = 0; done < frame->size;) {
            ssize_t count = write(receiver->file_fd, frame->payload + done, frame->size - done);

            if (count < 0 && errno == ENOSPC)
                return "files_in do not fit: files live in the guest's memory, and may take half "
                       "of it (memory_mb)";
            if (count < 0)
                return "cannot write a file in " WORK;
            done += (size_t)count;
        }
        return NULL;
    default: /* FILE_END */
        fvm_cleanup_close(&receiver->file_fd);
        receiver->file_fd = -1;
        return NULL;
    }
}

/* ---- artifacts ---- */

struct found {
    char *path;
    uint64_t size;
};

struct collection {
    const struct request *request;
    struct found *items;
    size_t count, capacity;
    uint64_t too_deep, unreadable, special;
};

static bool any_glob(const struct request *request, const char *path,
                     bool (*test)(const char *pattern, const char *path))
{
    for (size_t i = 0; request->expect[i]; i++)
        if (test(request->expect[i], path))
            return true;
    return false;
}

static void add(struct collection *collection, const char *path, uint64_t size)
{
    if (collection->count == collection->capacity) {
        size_t capacity = collection->capacity ? 2 * collection->capacity : 64;
        struct found *grown = reallocarray(collection->items, capacity, sizeof *grown);

        if (grown == NULL) {
            collection->unreadable++;
            return;
        }
        collection->items = grown;
        collection->capacity = capacity;
    }
    collection->items[collection->count] = (struct found){strdup(path), size};
    collection->count += collection->items[collection->count].path != NULL;
}

/* Walk one directory. `path` is relative to /work ("" for itself) and is restored on return. */
static void walk(struct collection *collection, int parent_fd, const char *name,
                 char path[FVM_FILE_PATH_MAX + 1], int depth)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_dir DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    size_t length = strlen(path);
    struct dirent *entry;

    if (directory == NULL) {
        fvm_cleanup_close(&fd);
        collection->unreadable++;
        return;
    }
    while ((entry = readdir(directory)) != NULL) {
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (length + 1 + strlen(entry->d_name) > FVM_FILE_PATH_MAX || depth >= DEPTH_MAX) {
            collection->too_deep++;
            continue;
        }
        sprintf(path + length, "%s%s", length ? "/" : "", entry->d_name);
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            collection->unreadable++;
        else if (S_ISDIR(status.st_mode) &&
                 any_glob(collection->request, path, glob_may_match_below))
            walk(collection, dirfd(directory), entry->d_name, path, depth + 1);
        else if (S_ISDIR(status.st_mode) || !any_glob(collection->request, path, glob_matches))
            ;
        else if (S_ISREG(status.st_mode))
            add(collection, path, (uint64_t)status.st_size);
        else
            collection->special++;
        path[length] = '\0';
    }
}

static int compare_found(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

/* Send one file's bytes. Return: false when it cannot be opened. */
static bool send_file(struct channel *channel, const struct found *found)
{
    char payload[8 + FVM_FILE_PATH_MAX];
    static char chunk[FVM_FRAME_MAX_PAYLOAD];
    cleanup_free char *full = NULL;
    cleanup_close int fd = -1;
    uint64_t left = found->size;
    ssize_t count;

    if (asprintf(&full, WORK "/%s", found->path) < 0)
        return false;
    fd = open(full, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    channel_send(channel, FVM_FRAME_FILE, payload,
                 fvm_frame_format_file(found->size, found->path, payload));
    while (left > 0 && (count = read(fd, chunk, left < sizeof chunk ? left : sizeof chunk)) > 0) {
        channel_send(channel, FVM_FRAME_FILE_DATA, chunk, (size_t)count);
        left -= (uint64_t)count;
    }
    channel_send(channel, FVM_FRAME_FILE_END, NULL, 0);
    return true;
}

static void note(struct fvm_buffer *text, uint64_t count, const char *what)
{
    char sentence[200];

    if (count == 0)
        return;
    snprintf(sentence, sizeof sentence, "%s%ju %s", text->size ? "; " : "", (uintmax_t)count, what);
    fvm_buffer_append(text, sentence, strlen(sentence));
}

void artifacts_send(struct channel *channel, const struct request *request, char **ret_left_out)
{
    struct collection collection = {.request = request};
    uint64_t over_count = 0, over_bytes = 0, bytes = 0, sent = 0;
    struct fvm_buffer left_out = {0};
    char path[FVM_FILE_PATH_MAX + 1] = "";

    *ret_left_out = NULL;
    if (request->expect[0] == NULL)
        return;
    walk(&collection, AT_FDCWD, WORK, path, 0);
    if (collection.count > 0)
        qsort(collection.items, collection.count, sizeof *collection.items, compare_found);
    for (size_t i = 0; i < collection.count; i++) {
        const struct found *found = &collection.items[i];

        if (sent >= request->max_artifacts)
            over_count++;
        else if (found->size > request->max_artifact_bytes - bytes)
            over_bytes++;
        else if (!send_file(channel, found))
            collection.unreadable++;
        else
            sent++, bytes += found->size;
        free(found->path);
    }
    free(collection.items);
    note(&left_out, over_count, "over the limit of artifacts");
    note(&left_out, over_bytes, "over the limit of artifact bytes");
    note(&left_out, collection.special, "not regular files (symlinks, devices, pipes, sockets)");
    note(&left_out, collection.too_deep, "nested too deeply");
    note(&left_out, collection.unreadable, "not readable");
    *ret_left_out = left_out.data;
}
