/* SPDX-License-Identifier: MIT */
/*
 * Content goes out as plain blocks without libsquashfs: its block processor is threads, queues and
 * checksums for the sake of compression and deduplication, of which there is none here. There are
 * no fragments either: they pack the tails of several files into one block, and reading one file
 * would read the others. Inodes, directories and tables are libsquashfs's.
 */
#include "image/squashfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqfs/block.h>
#include <sqfs/compressor.h>
#include <sqfs/dir_writer.h>
#include <sqfs/error.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/meta_writer.h>
#include <sqfs/super.h>

#include "base/cleanup.h"

enum {
    BLOCK_UNCOMPRESSED = 1 << 24, /* in a block's size */
    PADDING = 4096,               /* of the whole file: block devices come in such units */
    MAX_IDS = 65535,              /* libsquashfs writes one more, as 0 */
};

struct fvm_squashfs {
    sqfs_file_t file; /* the first member: libsquashfs hands it back to the functions below */
    int fd;
    uint64_t size_bytes;
    int write_errno; /* libsquashfs knows only SQFS_ERROR_IO */

    /* the file that is being written */
    struct fvm_file_data current;
    uint32_t block_capacity;
    uint32_t block_fill;
    uint8_t block[FVM_SQUASHFS_BLOCK_SIZE];

    /* the tree that is being written */
    sqfs_id_table_t *ids;
    sqfs_meta_writer_t *inode_writer;
    sqfs_meta_writer_t *directory_table;
    sqfs_dir_writer_t *directory_writer;
    uint32_t inode_count;
};

/* ---- libsquashfs's view of the output -------------------------------------------------------- */

static int file_read_at(sqfs_file_t *file, sqfs_u64 offset, void *buffer, size_t size)
{
    (void)file, (void)offset, (void)buffer, (void)size;
    return SQFS_ERROR_UNSUPPORTED;
}

static int file_write_at(sqfs_file_t *file, sqfs_u64 offset, const void *buffer, size_t size)
{
    struct fvm_squashfs *squashfs = (struct fvm_squashfs *)file;
    const uint8_t *next = buffer;

    while (size > 0) {
        ssize_t count = pwrite(squashfs->fd, next, size, (off_t)offset);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            squashfs->write_errno = errno;
            return SQFS_ERROR_IO;
        }
        next += count;
        offset += (sqfs_u64)count;
        size -= (size_t)count;
    }
    if (offset > squashfs->size_bytes)
        squashfs->size_bytes = offset;
    return 0;
}

static sqfs_u64 file_get_size(const sqfs_file_t *file)
{
    return ((const struct fvm_squashfs *)file)->size_bytes;
}

static int file_truncate(sqfs_file_t *file, sqfs_u64 size)
{
    (void)file, (void)size;
    return SQFS_ERROR_UNSUPPORTED;
}

static sqfs_s32 store_block(sqfs_compressor_t *compressor, const sqfs_u8 *in, sqfs_u32 size,
                            sqfs_u8 *out, sqfs_u32 out_size)
{
    (void)compressor, (void)in, (void)size, (void)out, (void)out_size;
    return 0; /* "it did not shrink": the block is then stored as it is */
}

static int fail_squashfs(const struct fvm_squashfs *squashfs, int result,
                         struct flashvm_error *error)
{
    if (result == SQFS_ERROR_ALLOC)
        return fvm_fail_no_memory(error);
    if (result == SQFS_ERROR_IO && squashfs->write_errno)
        return fvm_fail_errno(error, squashfs->write_errno,
                              "cannot write the root file system's file");
    return fvm_fail(error, FLASHVM_INTERNAL, "libsquashfs failed with error %d", result);
}

int fvm_squashfs_create(int fd, struct fvm_squashfs **ret_squashfs, struct flashvm_error *error)
{
    struct fvm_squashfs *squashfs = calloc(1, sizeof *squashfs);

    if (squashfs == NULL)
        return fvm_fail_no_memory(error);
    squashfs->file = (sqfs_file_t){.read_at = file_read_at,
                                   .write_at = file_write_at,
                                   .get_size = file_get_size,
                                   .truncate = file_truncate};
    squashfs->fd = fd;
    squashfs->size_bytes =
        sizeof(sqfs_super_t); /* written at the very end: a mark of completeness */
    *ret_squashfs = squashfs;
    return 0;
}

void fvm_squashfs_destroy(struct fvm_squashfs *squashfs)
{
    if (squashfs == NULL)
        return;
    sqfs_destroy(squashfs->directory_writer);
    sqfs_destroy(squashfs->directory_table);
    sqfs_destroy(squashfs->inode_writer);
    sqfs_destroy(squashfs->ids);
    free(squashfs->current.block_sizes);
    free(squashfs);
}

/* ---- content --------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Write a block of the current file. @data: NULL for zeros. */
static int put_block(struct fvm_squashfs *squashfs, const uint8_t *data, uint32_t size,
                     struct flashvm_error *error)
{
    struct fvm_file_data *current = &squashfs->current;
    uint32_t stored_size = 0;

    if (current->block_count == squashfs->block_capacity) {
        uint32_t capacity =
            current->block_count < 8 ? current->block_count + 1 : 2 * current->block_count;
        uint32_t *grown = reallocarray(current->block_sizes, capacity, sizeof *grown);

        if (grown == NULL)
            return fvm_fail_no_memory(error);
        current->block_sizes = grown;
        squashfs->block_capacity = capacity;
    }
    if (data && !is_zero(data, size)) {
        int result = file_write_at(&squashfs->file, squashfs->size_bytes, data, size);

        if (result < 0)
            return fail_squashfs(squashfs, result, error);
        stored_size = size | BLOCK_UNCOMPRESSED;
    } else {
        current->sparse_bytes += size;
    }
    current->block_sizes[current->block_count++] = stored_size;
    current->size_bytes += size;
    return 0;
}

static int flush_block(struct fvm_squashfs *squashfs, struct flashvm_error *error)
{
    uint32_t size = squashfs->block_fill;

    squashfs->block_fill = 0;
    return size ? put_block(squashfs, squashfs->block, size, error) : 0;
}

void fvm_squashfs_begin_file(struct fvm_squashfs *squashfs)
{
    free(squashfs->current.block_sizes); /* of a file that was not ended */
    squashfs->current = (struct fvm_file_data){.start = squashfs->size_bytes};
    squashfs->block_capacity = 0;
    squashfs->block_fill = 0;
}

int fvm_squashfs_write(struct fvm_squashfs *squashfs, const void *data, size_t size,
                       struct flashvm_error *error)
{
    const uint8_t *next = data;

    while (size > 0) {
        uint32_t room = FVM_SQUASHFS_BLOCK_SIZE - squashfs->block_fill;
        uint32_t part = size < room ? (uint32_t)size : room;

        memcpy(squashfs->block + squashfs->block_fill, next, part);
        squashfs->block_fill += part;
        next += part;
        size -= part;
        if (squashfs->block_fill == FVM_SQUASHFS_BLOCK_SIZE && flush_block(squashfs, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_squashfs_skip(struct fvm_squashfs *squashfs, uint64_t size, struct flashvm_error *error)
{
    while (size > 0) {
        uint32_t room = FVM_SQUASHFS_BLOCK_SIZE - squashfs->block_fill;
        uint32_t part = size < room ? (uint32_t)size : room;

        size -= part;
        if (part == FVM_SQUASHFS_BLOCK_SIZE) {
            if (put_block(squashfs, NULL, part, error) < 0)
                return -1;
            continue;
        }
        memset(squashfs->block + squashfs->block_fill, 0, part);
        squashfs->block_fill += part;
        if (squashfs->block_fill == FVM_SQUASHFS_BLOCK_SIZE && flush_block(squashfs, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_squashfs_end_file(struct fvm_squashfs *squashfs, struct fvm_file_data *ret_data,
                          struct flashvm_error *error)
{
    if (flush_block(squashfs, error) < 0)
        return -1;
    *ret_data = squashfs->current;
    squashfs->current = (struct fvm_file_data){0};
    return 0;
}

/* ---- the tree -------------------------------------------------------------------------------- */

/* Siblings get consecutive numbers: directory entries are stored as differences to the first one's.
 */
static int number_inodes(struct fvm_squashfs *squashfs, const struct fvm_node *directory,
                         struct flashvm_error *error)
{
    cleanup_free struct fvm_node **children = fvm_tree_children(directory);

    if (children == NULL)
        return fvm_fail_no_memory(error);
    for (uint32_t i = 0; i < directory->child_count; i++)
        if (children[i]->inode->number == 0)
            children[i]->inode->number = ++squashfs->inode_count;
    for (uint32_t i = 0; i < directory->child_count; i++)
        if (S_ISDIR(children[i]->inode->mode) && number_inodes(squashfs, children[i], error) < 0)
            return -1;
    return 0;
}

/* Basic inodes know no link count, sparse bytes or 64-bit places: extended ones do. */
static bool needs_extended_file(const struct fvm_inode *inode)
{
    return inode->links > 1 || inode->data.sparse_bytes > 0 || inode->data.start > UINT32_MAX ||
           inode->data.size_bytes > UINT32_MAX;
}

static sqfs_inode_generic_t *make_file(const struct fvm_inode *inode)
{
    const struct fvm_file_data *data = &inode->data;
    uint32_t payload = data->block_count * (uint32_t)sizeof *data->block_sizes;
    sqfs_inode_generic_t *raw = calloc(1, sizeof *raw + payload);

    if (raw == NULL)
        return NULL;
    raw->payload_bytes_available = raw->payload_bytes_used = payload;
    if (payload > 0)
        memcpy(raw->extra, data->block_sizes, payload);
    if (needs_extended_file(inode)) {
        raw->base.type = SQFS_INODE_EXT_FILE;
        raw->data.file_ext = (sqfs_inode_file_ext_t){.blocks_start = data->start,
                                                     .file_size = data->size_bytes,
                                                     .sparse = data->sparse_bytes,
                                                     .nlink = inode->links,
                                                     .fragment_idx = UINT32_MAX,
                                                     .fragment_offset = UINT32_MAX,
                                                     .xattr_idx = UINT32_MAX};
    } else {
        raw->base.type = SQFS_INODE_FILE;
        raw->data.file = (sqfs_inode_file_t){.blocks_start = (uint32_t)data->start,
                                             .fragment_index = UINT32_MAX,
                                             .fragment_offset = UINT32_MAX,
                                             .file_size = (uint32_t)data->size_bytes};
    }
    return raw;
}

static sqfs_inode_generic_t *make_symlink(const struct fvm_inode *inode)
{
    uint32_t length = (uint32_t)strlen(inode->target);
    sqfs_inode_generic_t *raw = calloc(1, sizeof *raw + length + 1);

    if (raw == NULL)
        return NULL;
    raw->base.type = SQFS_INODE_SLINK;
    raw->payload_bytes_available = raw->payload_bytes_used = length;
    raw->data.slink = (sqfs_inode_slink_t){.nlink = inode->links, .target_size = length};
    memcpy(raw->extra, inode->target, length);
    return raw;
}

static sqfs_inode_generic_t *make_special(const struct fvm_inode *inode)
{
    sqfs_inode_generic_t *raw = calloc(1, sizeof *raw);

    if (raw == NULL)
        return NULL;
    if (S_ISFIFO(inode->mode)) {
        raw->base.type = SQFS_INODE_FIFO;
        raw->data.ipc.nlink = inode->links;
    } else {
        raw->base.type = S_ISBLK(inode->mode) ? SQFS_INODE_BDEV : SQFS_INODE_CDEV;
        raw->data.dev = (sqfs_inode_dev_t){.nlink = inode->links, .devno = inode->device};
    }
    return raw;
}

/* @raw: taken over; NULL when memory was exhausted. */
static int write_inode(struct fvm_squashfs *squashfs, struct fvm_inode *inode,
                       sqfs_inode_generic_t *raw, struct flashvm_error *error)
{
    cleanup_free sqfs_inode_generic_t *owned = raw;
    uint64_t block;
    uint32_t offset;
    int result;

    if (owned == NULL)
        return fvm_fail_no_memory(error);
    owned->base.mode = (uint16_t)inode->mode;
    owned->base.mod_time = inode->mtime;
    owned->base.inode_number = inode->number;
    if ((result = sqfs_id_table_id_to_index(squashfs->ids, inode->uid, &owned->base.uid_idx)) < 0 ||
        (result = sqfs_id_table_id_to_index(squashfs->ids, inode->gid, &owned->base.gid_idx)) < 0)
        return fail_squashfs(squashfs, result, error);
    if (owned->base.uid_idx >= MAX_IDS || owned->base.gid_idx >= MAX_IDS)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image has more than %d user ids",
                        MAX_IDS);
    sqfs_meta_writer_get_position(squashfs->inode_writer, &block, &offset);
    inode->reference = block << 16 | offset;
    inode->is_written = true;
    result = sqfs_meta_writer_write_inode(squashfs->inode_writer, owned);
    return result < 0 ? fail_squashfs(squashfs, result, error) : 0;
}

static int write_directory(struct fvm_squashfs *squashfs, struct fvm_node *directory,
                           uint32_t parent_number, struct flashvm_error *error);

static int write_node(struct fvm_squashfs *squashfs, struct fvm_node *node,
                      struct flashvm_error *error)
{
    struct fvm_inode *inode = node->inode;

    if (inode->is_written) /* by the name of another hard link */
        return 0;
    if (S_ISDIR(inode->mode))
        return write_directory(squashfs, node, node->parent->inode->number, error);
    if (S_ISREG(inode->mode))
        return write_inode(squashfs, inode, make_file(inode), error);
    if (S_ISLNK(inode->mode))
        return write_inode(squashfs, inode, make_symlink(inode), error);
    return write_inode(squashfs, inode, make_special(inode), error);
}

/* A directory after all that is below it, whose places its entries tell. */
static int write_directory(struct fvm_squashfs *squashfs, struct fvm_node *directory,
                           uint32_t parent_number, struct flashvm_error *error)
{
    cleanup_free struct fvm_node **children = fvm_tree_children(directory);
    sqfs_inode_generic_t *raw;
    uint32_t links = 2;
    int result;

    if (children == NULL)
        return fvm_fail_no_memory(error);
    for (uint32_t i = 0; i < directory->child_count; i++) {
        if (write_node(squashfs, children[i], error) < 0)
            return -1;
        links += S_ISDIR(children[i]->inode->mode);
    }
    result = sqfs_dir_writer_begin(squashfs->directory_writer, 0);
    for (uint32_t i = 0; i < directory->child_count && result == 0; i++)
        result = sqfs_dir_writer_add_entry(
            squashfs->directory_writer, children[i]->name, children[i]->inode->number,
            children[i]->inode->reference, (uint16_t)children[i]->inode->mode);
    if (result == 0)
        result = sqfs_dir_writer_end(squashfs->directory_writer);
    if (result < 0)
        return fail_squashfs(squashfs, result, error);
    raw = sqfs_dir_writer_create_inode(squashfs->directory_writer, 0, UINT32_MAX, parent_number);
    if (raw && raw->base.type == SQFS_INODE_EXT_DIR)
        raw->data.dir_ext.nlink = links; /* libsquashfs counts files too */
    else if (raw)
        raw->data.dir.nlink = links;
    return write_inode(squashfs, directory->inode, raw, error);
}

static int write_tables(struct fvm_squashfs *squashfs, struct fvm_tree *tree,
                        sqfs_compressor_t *compressor, struct flashvm_error *error)
{
    static const uint8_t zeros[PADDING];
    sqfs_super_t super;
    int result = sqfs_super_init(&super, FVM_SQUASHFS_BLOCK_SIZE, 0, SQFS_COMP_GZIP);

    super.flags |= SQFS_FLAG_UNCOMPRESSED_INODES | SQFS_FLAG_UNCOMPRESSED_DATA |
                   SQFS_FLAG_UNCOMPRESSED_FRAGMENTS | SQFS_FLAG_UNCOMPRESSED_IDS;
    /* Linux reads this bit as "duplicates were removed". */
    super.flags &= (uint16_t)~SQFS_FLAG_NO_DUPLICATES;
    super.inode_table_start = squashfs->size_bytes;
    if (write_directory(squashfs, tree->root, squashfs->inode_count + 1, error) < 0)
        return -1;
    super.inode_count = squashfs->inode_count;
    super.root_inode_ref = tree->root->inode->reference;
    if (result == 0)
        result = sqfs_meta_writer_flush(squashfs->inode_writer);
    super.directory_table_start = squashfs->size_bytes;
    if (result == 0)
        result = sqfs_meta_writer_flush(squashfs->directory_table);
    if (result == 0)
        result = sqfs_meta_write_write_to_file(squashfs->directory_table);
    if (result == 0)
        result = sqfs_id_table_write(squashfs->ids, &squashfs->file, &super, compressor);
    super.bytes_used = squashfs->size_bytes;
    if (result == 0 && squashfs->size_bytes % PADDING != 0)
        result = file_write_at(&squashfs->file, squashfs->size_bytes, zeros,
                               PADDING - squashfs->size_bytes % PADDING);
    if (result == 0)
        result = sqfs_super_write(&super, &squashfs->file);
    return result < 0 ? fail_squashfs(squashfs, result, error) : 0;
}

int fvm_squashfs_finish(struct fvm_squashfs *squashfs, struct fvm_tree *tree,
                        struct flashvm_error *error)
{
    sqfs_compressor_t compressor = {.do_block = store_block};

    squashfs->ids = sqfs_id_table_create(0);
    squashfs->inode_writer = sqfs_meta_writer_create(&squashfs->file, &compressor, 0);
    squashfs->directory_table =
        sqfs_meta_writer_create(&squashfs->file, &compressor, SQFS_META_WRITER_KEEP_IN_MEMORY);
    if (squashfs->directory_table)
        squashfs->directory_writer = sqfs_dir_writer_create(squashfs->directory_table, 0);
    if (squashfs->ids == NULL || squashfs->inode_writer == NULL ||
        squashfs->directory_writer == NULL)
        return fvm_fail_no_memory(error);
    tree->root->inode->number = ++squashfs->inode_count;
    if (number_inodes(squashfs, tree->root, error) < 0)
        return -1;
    return write_tables(squashfs, tree, &compressor, error);
}
