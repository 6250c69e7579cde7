/* SPDX-License-Identifier: MIT */
#include "image/rootfs.h"

#include "base/cleanup.h"
#include "image/fitness.h"
#include "image/squashfs.h"
#include "image/tree.h"

int fvm_rootfs_write(const struct fvm_oci *oci, const struct fvm_oci_image *image, int fd,
                     const struct fvm_image_limits *limits, char **ret_python,
                     struct flashvm_error *error)
{
    struct fvm_image_limits left = limits ? *limits : fvm_image_default_limits;
    cleanup_squashfs struct fvm_squashfs *squashfs = NULL;
    cleanup_tree struct fvm_tree tree = {0};
    cleanup_free char *python = NULL;

    if (fvm_tree_init(&tree, left.entries, left.depth, error) < 0 ||
        fvm_squashfs_create(fd, &squashfs, error) < 0)
        return -1;
    for (size_t i = 0; i < image->layer_count; i++) {
        tree.layer++;
        if (fvm_layer_apply(oci, &image->layers[i], &left, &tree, squashfs, error) < 0)
            return fvm_fail_context(error, "layer %zu of %zu (%s)", i + 1, image->layer_count,
                                    image->layers[i].blob.digest);
    }
    if (ret_python && fvm_fitness_check(&tree, &image->config, &python, error) < 0)
        return -1;
    if (fvm_squashfs_finish(squashfs, &tree, error) < 0)
        return -1;
    if (ret_python)
        *ret_python = steal_pointer(python);
    return 0;
}
