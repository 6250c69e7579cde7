/* SPDX-License-Identifier: MIT */
#include "flatten.h"

#include <sys/stat.h>
#include <unistd.h>

#include <sqfs/compressor.h>
#include <sqfs/data_reader.h>
#include <sqfs/dir_reader.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>

#include "base/cleanup.h"
#include "image/rootfs.h"

static const struct fvm_image_limits limits = {
    .entries = 60,
    .depth = 20,
    .content_bytes = 512 << 10, /* a file of several blocks, but for its holes */
    .unpacked_bytes = 256 << 10,
};

static struct fvm_oci oci;
static char *rootfs_path;
static int rootfs_fd;
static sqfs_compressor_t *compressor; /* libsquashfs wants one, even if nothing is compressed */

void flatten_prepare(void)
{
    sqfs_compressor_config_t config;

    oci = (struct fvm_oci){.path = (char *)scratch_directory(), .fd = scratch_make_layout()};
    rootfs_path = scratch_path("rootfs");
    rootfs_fd = scratch_open("rootfs");
    must(sqfs_compressor_config_init(&config, SQFS_COMP_GZIP, FVM_SQUASHFS_BLOCK_SIZE,
                                     SQFS_COMP_FLAG_UNCOMPRESS) == 0);
    must(sqfs_compressor_create(&config, &compressor) == 0);
}

/* ---- what came out --------------------------------------------------------------------------- */

struct reading {
    sqfs_data_reader_t *content;
    uint32_t nodes;
    uint64_t content_bytes;
};

static void check_content(struct reading *reading, const sqfs_inode_generic_t *inode)
{
    static char block[FVM_SQUASHFS_BLOCK_SIZE];
    uint64_t size;

    must(sqfs_inode_get_file_size(inode, &size) == 0 && size <= limits.content_bytes);
    for (uint64_t offset = 0; offset < size; offset += sizeof block) {
        uint64_t left = size - offset;
        sqfs_u32 part = left < sizeof block ? (sqfs_u32)left : sizeof block;

        must(sqfs_data_reader_read(reading->content, inode, offset, block, part) == (sqfs_s32)part);
    }
}

static void check_node(struct reading *reading, const sqfs_tree_node_t *node, uint32_t depth)
{
    const char *name = (const char *)node->name, *before = NULL;

    must(++reading->nodes <= limits.entries && depth <= limits.depth);
    must((*name != '\0') == (depth > 0) && strchr(name, '/') == NULL);
    must(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    if (S_ISREG(node->inode->base.mode))
        check_content(reading, node->inode);
    must(node->children == NULL || S_ISDIR(node->inode->base.mode));
    for (const sqfs_tree_node_t *child = node->children; child; child = child->next) {
        must(before == NULL || strcmp(before, (const char *)child->name) < 0);
        before = (const char *)child->name;
        check_node(reading, child, depth + 1);
    }
}

static void check_rootfs(void)
{
    sqfs_file_t *file = sqfs_open_file(rootfs_path, SQFS_FILE_OPEN_READ_ONLY);
    sqfs_id_table_t *ids = sqfs_id_table_create(0);
    struct reading reading = {0};
    sqfs_dir_reader_t *directories;
    sqfs_tree_node_t *root = NULL;
    sqfs_super_t super;

    must(file && ids && file->get_size(file) % 4096 == 0);
    must(sqfs_super_read(&super, file) == 0);
    must(sqfs_id_table_read(ids, file, &super, compressor) == 0);
    directories = sqfs_dir_reader_create(&super, compressor, file, 0);
    reading.content = sqfs_data_reader_create(file, super.block_size, compressor, 0);
    must(directories && reading.content);
    must(sqfs_dir_reader_get_full_hierarchy(directories, ids, NULL, 0, &root) == 0);
    check_node(&reading, root, 0);
    sqfs_dir_tree_destroy(root);
    sqfs_destroy(reading.content);
    sqfs_destroy(directories);
    sqfs_destroy(ids);
    sqfs_destroy(file);
}

void flatten(struct fvm_oci_layer *layers, size_t count)
{
    const struct fvm_oci_image image = {.layers = layers, .layer_count = count};
    struct flashvm_error error = {0};

    scratch_fill(rootfs_fd, NULL, 0);
    if (fvm_rootfs_write(&oci, &image, rootfs_fd, &limits, NULL, &error) == 0)
        check_rootfs();
    else
        must(error.status == FLASHVM_IMAGE_INVALID && error.message && error.message[0]);
    flashvm_error_finish(&error);
}
