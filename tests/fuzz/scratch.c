/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <fcntl.h>
#include <nettle/sha2.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"

static char *directory;

static void remove_directory(void)
{
    fvm_remove_tree(directory);
    free(steal_pointer(directory));
}

const char *scratch_directory(void)
{
    if (directory == NULL) {
        directory = fvm_format("%s/flashvm-fuzz-XXXXXX", getenv("TMPDIR") ?: "/dev/shm");
        must(directory && mkdtemp(directory));
        atexit(remove_directory);
    }
    return directory;
}

char *scratch_path(const char *name)
{
    char *path = fvm_format("%s/%s", scratch_directory(), name);

    must(path);
    return path;
}

int scratch_open(const char *name)
{
    cleanup_free char *path = scratch_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(fd >= 0);
    return fd;
}

void scratch_fill(int fd, const void *data, size_t size)
{
    must(ftruncate(fd, 0) == 0);
    must(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
}

int scratch_make_layout(void)
{
    static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    cleanup_free char *blobs = scratch_path("blobs/sha256");
    cleanup_close int version_fd = scratch_open("oci-layout");
    int fd = open(scratch_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    must(fd >= 0 && fvm_make_directories(blobs, 0700, NULL) == 0);
    scratch_fill(version_fd, version, sizeof version - 1);
    return fd;
}

static char *blob_name(const struct fvm_descriptor *descriptor)
{
    char *name = fvm_format("blobs/sha256/%s", descriptor->digest + strlen("sha256:"));

    must(name);
    return name;
}

void scratch_add_blob(const void *data, size_t size, struct fvm_descriptor *ret_descriptor)
{
    cleanup_free char *name = NULL;
    cleanup_close int fd = -1;
    struct sha256_ctx sha256;

    sha256_init(&sha256);
    sha256_update(&sha256, size, data);
    fvm_digest_finish(&sha256, ret_descriptor->digest);
    ret_descriptor->size_bytes = size;
    name = blob_name(ret_descriptor);
    fd = scratch_open(name);
    must(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
}

void scratch_remove_blob(const struct fvm_descriptor *descriptor)
{
    cleanup_free char *name = blob_name(descriptor);
    cleanup_free char *path = scratch_path(name);

    unlink(path); /* two blobs of the same bytes are one file */
}
