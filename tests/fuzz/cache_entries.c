/* SPDX-License-Identifier: MIT */
/*
 * An entry of the cache as it may be found there: damaged, half written, or of another time. It is
 * taken with all that a run needs, or not at all.
 *
 * Input: the JSON file, NUL, the squashfs file. One that has a super block is filled up to 4096
 * bytes, as the writer would do it.
 */
#include "scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/rootfs.h"
#include "image/rootfs_cache.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

enum { SUPER_BLOCK_SIZE = 96, PADDED_SIZE = 4096 };

static struct fvm_rootfs_cache cache;
static int json_fd, rootfs_fd;

static int open_part(const char *suffix)
{
    cleanup_free char *name = fvm_format("rootfs/" HEX "-v%d.%s", FVM_ROOTFS_FORMAT, suffix);

    return scratch_open(name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    must(fvm_rootfs_cache_open(scratch_directory(), true, &cache, NULL) == 0);
    json_fd = open_part("json");
    rootfs_fd = open_part("squashfs");
    return 0;
}

/* The JSON as it would be if the file system's file were the one that it is about. */
static void fill_json(struct input text)
{
    cleanup_json json_t *json = json_loadb(text.next, text.left, JSON_REJECT_DUPLICATES, NULL);
    char identity[FVM_FILE_IDENTITY_SIZE];
    cleanup_free char *dumped = NULL;
    struct stat status;

    must(fstat(rootfs_fd, &status) == 0);
    fvm_file_identity(&status, identity);
    if (json_is_object(json)) {
        must(json_object_set_new(json, "rootfs_identity", json_string(identity)) == 0);
        dumped = json_dumps(json, JSON_COMPACT);
    }
    if (dumped)
        scratch_fill(json_fd, dumped, strlen(dumped));
    else
        scratch_fill(json_fd, text.next, text.left);
}

static void check_entry(const struct fvm_rootfs_entry *entry, struct input text)
{
    cleanup_json json_t *json = json_loadb(text.next, text.left, JSON_REJECT_DUPLICATES, NULL);
    const struct fvm_image *image = &entry->image;
    struct stat status;

    must(json_integer_value(json_object_get(json, "rootfs_size_bytes")) == PADDED_SIZE);
    must(json_array_size(entry->references) > 0 && entry->size_bytes == PADDED_SIZE);
    must(image->reference && image->python[0] == '/');
    must(strcmp(image->digest, "sha256:" HEX) == 0);
    must(strncmp(image->rootfs_path, cache.path, strlen(cache.path)) == 0);
    must(fstat(image->rootfs_fd, &status) == 0 && status.st_size == PADDED_SIZE);
    must(image->config.working_dir && image->config.user);
    for (char **entry = image->config.env; *entry; entry++)
        must(strchr(*entry, '=') > *entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input rootfs = input_of(data, size), json = input_text(&rootfs);
    struct fvm_rootfs_entry entry;
    int found;

    scratch_fill(rootfs_fd, rootfs.next, rootfs.left);
    if (rootfs.left >= SUPER_BLOCK_SIZE)
        must(ftruncate(rootfs_fd, PADDED_SIZE) == 0);
    fill_json(json);
    found = fvm_rootfs_cache_load(&cache, "sha256:" HEX, &entry, NULL);
    must(found == 0 || found == 1);
    if (found == 1) {
        check_entry(&entry, json);
        fvm_rootfs_entry_finish(&entry);
    }
    return 0;
}
