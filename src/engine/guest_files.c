/* SPDX-License-Identifier: MIT */
#include "engine/guest_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"

#define MANIFEST "manifest.json"

enum { MANIFEST_MAX = 1 << 20, KEPT_MAX = 4096 };

/* The files, and the manifest's part that describes each. */
static const struct {
    const char *name;
    const char *part;
} files[] = {
    {FVM_GUEST_KERNEL, "kernel"},
    {FVM_GUEST_INITRAMFS, "initramfs"},
};

/* ---- what was found right before ---- */

/* The identities of all files; to be freed. */
static char *make_key(const char *data_dir, struct flashvm_error *error)
{
    static const char *const names[] = {MANIFEST, FVM_GUEST_KERNEL, FVM_GUEST_INITRAMFS};
    char *key = strdup("guest-files 2\n");

    for (size_t i = 0; key && i < sizeof names / sizeof names[0]; i++) {
        cleanup_free char *before = key;
        cleanup_free char *path = fvm_format("%s/%s", data_dir, names[i]);
        char identity[FVM_FILE_IDENTITY_SIZE];
        struct stat status;

        if (path && stat(path, &status) < 0) {
            fvm_fail(error, FLASHVM_NOT_FOUND,
                     "the guest's kernel or initramfs is missing in %s: no %s there (%s)", data_dir,
                     names[i], strerrordesc_np(errno));
            return NULL;
        }
        fvm_file_identity(&status, identity);
        key = path ? fvm_format("%s%s %s\n", before, names[i], identity) : NULL;
    }
    if (key == NULL)
        fvm_fail_no_memory(error);
    return key;
}

/* Return: the digests that go with the key; to be freed. NULL: they are not kept. */
static char *find_kept(const char *path, const char *key)
{
    cleanup_free char *kept = NULL;
    size_t length = strlen(key);

    if (fvm_read_file(path, KEPT_MAX, &kept, NULL, NULL) < 0 || strncmp(kept, key, length) != 0)
        return NULL;
    return strdup(kept + length);
}

/* ---- looking at them ---- */

static int fail_damaged(const char *path, const char *how, struct flashvm_error *error)
{
    return fvm_fail(error, FLASHVM_IMAGE_INVALID, "%s is damaged: %s", path, how);
}

static int load_manifest(const char *data_dir, json_t **ret_manifest, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/" MANIFEST, data_dir);
    cleanup_free char *text = NULL;
    size_t size;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_read_file(path, MANIFEST_MAX, &text, &size, error) < 0)
        return -1;
    *ret_manifest = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    return *ret_manifest ? 0 : fail_damaged(path, "it is no valid JSON", error);
}

static int verify_file(const char *path, const char *expected, struct flashvm_error *error)
{
    /* Not blocking, or a fifo in its place would hang the caller. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char hex[FVM_SHA256_HEX_SIZE];
    struct stat status;
    uint64_t size;

    if (fd < 0 || fstat(fd, &status) < 0)
        return fvm_fail_errno(error, errno, "cannot read %s", path);
    if (!S_ISREG(status.st_mode))
        return fail_damaged(path, "it is not a regular file", error);
    if (fvm_sha256_file(fd, path, &size, hex, error) < 0)
        return -1;
    if (strcmp(hex, expected) != 0)
        return fail_damaged(path, "its content is not what " MANIFEST " beside it says", error);
    return 0;
}

/* Return: what the manifest says of a file; NULL with the error set. */
static const char *digest_of(json_t *manifest, const char *data_dir, size_t file,
                             struct flashvm_error *error)
{
    const char *digest;

    if (json_unpack(manifest, "{s:{s:{s:s}}}", files[file].part, files[file].name, "sha256",
                    &digest) == 0)
        return digest;
    fvm_fail(error, FLASHVM_IMAGE_INVALID, "%s/" MANIFEST " does not describe %s", data_dir,
             files[file].name);
    return NULL;
}

/* Return: the digests of all; to be freed. */
static char *verify_all(const char *data_dir, struct flashvm_error *error)
{
    cleanup_json json_t *manifest = NULL;
    char *digests = strdup("");

    if (load_manifest(data_dir, &manifest, error) < 0) {
        free(digests);
        return NULL;
    }
    for (size_t i = 0; digests && i < sizeof files / sizeof files[0]; i++) {
        cleanup_free char *path = fvm_format("%s/%s", data_dir, files[i].name);
        cleanup_free char *before = digests;
        const char *expected = digest_of(manifest, data_dir, i, error);

        digests = NULL;
        if (path == NULL || expected == NULL || verify_file(path, expected, error) < 0)
            break;
        digests = fvm_format("%s%s %s\n", before, files[i].part, expected);
    }
    if (digests == NULL && (error == NULL || error->status == FLASHVM_OK))
        fvm_fail_no_memory(error);
    return digests;
}

char *fvm_guest_files_verify(const char *data_dir, const char *cache_dir,
                             struct flashvm_error *error)
{
    cleanup_free char *key = make_key(data_dir, error);
    cleanup_free char *path = cache_dir ? fvm_format("%s/guest-files", cache_dir) : NULL;
    cleanup_free char *record = NULL;
    char *digests;

    if (key == NULL)
        return NULL;
    digests = path ? find_kept(path, key) : NULL;
    if (digests)
        return digests;
    digests = verify_all(data_dir, error);
    record = digests ? fvm_format("%s%s", key, digests) : NULL;
    if (path && record)
        fvm_replace_file(path, record); /* best effort: without it the next process looks again */
    return digests;
}

bool fvm_guest_files_are_whole(const char *data_dir, const char *cache_dir,
                               struct flashvm_error *error)
{
    cleanup_free char *digests = fvm_guest_files_verify(data_dir, cache_dir, error);

    return digests != NULL;
}

int fvm_guest_file_open(const char *data_dir, const char *name, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/%s", data_dir, name);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        fvm_fail_errno(error, errno, "cannot open the guest's %s in %s (make it with: make guest)",
                       name, data_dir);
    return fd;
}
