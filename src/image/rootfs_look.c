/* SPDX-License-Identifier: MIT */
#include "image/rootfs_look.h"

#include <errno.h>
#include <sqfs/compressor.h>
#include <sqfs/dir_reader.h>
#include <sqfs/error.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* libsquashfs's view of a descriptor. */
struct input {
    sqfs_file_t file; /* the first member: libsquashfs hands it back to the functions below */
    int fd;
    sqfs_u64 size;
};

static int read_at(sqfs_file_t *file, sqfs_u64 offset, void *buffer, size_t size)
{
    const struct input *input = (const struct input *)file;

    for (char *next = buffer; size > 0;) {
        ssize_t count = pread(input->fd, next, size, (off_t)offset);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? SQFS_ERROR_IO : SQFS_ERROR_OUT_OF_BOUNDS;
        next += count;
        offset += (sqfs_u64)count;
        size -= (size_t)count;
    }
    return 0;
}

static sqfs_u64 get_size(const sqfs_file_t *file)
{
    return ((const struct input *)file)->size;
}

/* All that is read is stored as it is: there is nothing to uncompress. */
static sqfs_s32 cannot_uncompress(sqfs_compressor_t *compressor, const sqfs_u8 *in, sqfs_u32 size,
                                  sqfs_u8 *out, sqfs_u32 out_size)
{
    (void)compressor, (void)in, (void)size, (void)out, (void)out_size;
    return SQFS_ERROR_UNSUPPORTED;
}

static void cleanup_reader(sqfs_dir_reader_t **reader)
{
    sqfs_destroy(*reader); /* NULL is allowed */
}

int fvm_rootfs_find_type(int rootfs_fd, const char *path, mode_t *ret_type,
                         struct flashvm_error *error)
{
    struct input input = {
        .file = {.read_at = read_at, .get_size = get_size},
        .fd = rootfs_fd,
        .size = (sqfs_u64)lseek(rootfs_fd, 0, SEEK_END),
    };
    sqfs_compressor_t none = {.do_block = cannot_uncompress};
    __attribute__((cleanup(cleanup_reader))) sqfs_dir_reader_t *reader = NULL;
    cleanup_free sqfs_inode_generic_t *inode = NULL;
    sqfs_super_t super;
    int outcome = sqfs_super_read(&super, &input.file);

    if (outcome == 0) {
        reader = sqfs_dir_reader_create(&super, &none, &input.file, 0);
        if (reader == NULL)
            return fvm_fail_no_memory(error);
        outcome = sqfs_dir_reader_find_by_path(reader, NULL, path, &inode);
    }
    if (outcome == SQFS_ERROR_NO_ENTRY || outcome == SQFS_ERROR_NOT_DIR) {
        *ret_type = 0;
        return 0;
    }
    if (outcome != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the image's root file system in the cache is damaged: libsquashfs failed "
                        "with error %d at /%s",
                        outcome, path);
    *ret_type = inode->base.mode & S_IFMT;
    return 0;
}
