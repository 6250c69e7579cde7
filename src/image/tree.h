/* SPDX-License-Identifier: MIT */
/*
 * A file system's tree in memory, without the content of its files: what layers are applied to and
 * what a squashfs is written from. Names are raw bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Where the squashfs writer put a file's content. */
struct fvm_file_data {
    uint64_t start;
    uint64_t size_bytes;
    uint64_t sparse_bytes;
    uint32_t *block_sizes; /* as squashfs stores them; 0: a block of zeros */
    uint32_t block_count;
};

/* What hard links share. Directories have one name only. */
struct fvm_inode {
    uint32_t links; /* names in the tree; the last one that goes frees the inode */
    uint32_t mode;  /* type and permissions, as st_mode */
    uint32_t uid;
    uint32_t gid;
    uint32_t mtime;
    uint32_t device;           /* of devices, as squashfs stores it */
    char *target;              /* of symlinks */
    struct fvm_file_data data; /* of regular files */
    /* for the squashfs writer: */
    uint32_t number; /* 0: not numbered yet */
    bool is_written;
    uint64_t reference; /* where it was written */
};

struct fvm_node {
    const char *name; /* "" for the root */
    struct fvm_inode *inode;
    struct fvm_node *parent; /* the root's is itself */
    void *children;          /* a tsearch(3) tree of struct fvm_node */
    uint32_t child_count;
    uint32_t depth;     /* of the root: 0 */
    uint32_t layer;     /* the last layer that had an entry for it */
    uint32_t hidden_in; /* the last layer that hid what lower ones put below it */
};

struct fvm_tree {
    struct fvm_node *root;
    uint32_t layer; /* being applied; the caller counts, from 1 */
    uint32_t node_count;
    uint32_t max_nodes;
    uint32_t max_depth;
};

int fvm_tree_init(struct fvm_tree *tree, uint32_t max_nodes, uint32_t max_depth,
                  struct flashvm_error *error);
void fvm_tree_finish(struct fvm_tree *tree);
#define cleanup_tree __attribute__((cleanup(fvm_tree_finish)))

/* A new inode without a name. Return: NULL when memory is exhausted. */
struct fvm_inode *fvm_inode_create(uint32_t mode);

/* Free an inode that no name refers to; others and NULL are left alone. */
void fvm_inode_release(struct fvm_inode *inode);
static inline void fvm_cleanup_inode(struct fvm_inode **inode)
{
    fvm_inode_release(*inode);
}
#define cleanup_inode __attribute__((cleanup(fvm_cleanup_inode)))

/* Return: the child, or NULL. */
struct fvm_node *fvm_tree_child(const struct fvm_node *directory, const char *name);

/*
 * Find a directory by its path, following symlinks as a process whose root is the tree's root
 * would: nothing leads out of the tree.
 * @make: make missing directories (root's, 0755); otherwise a missing one gives *ret_directory
 * NULL.
 */
int fvm_tree_directory(struct fvm_tree *tree, const char *path, bool make,
                       struct fvm_node **ret_directory, struct flashvm_error *error);

/*
 * Find what a path leads to, following symlinks likewise, the last component's too.
 * Return: NULL when there is no such thing.
 */
struct fvm_node *fvm_tree_find(struct fvm_tree *tree, const char *path);

/*
 * Give `inode` a name. What had the name before is removed with all below it, except that a
 * directory over a directory keeps its children and takes the new owner, mode and time. The tree
 * holds the inode from here on; on failure it stays with the caller.
 */
int fvm_tree_put(struct fvm_tree *tree, struct fvm_node *directory, const char *name,
                 struct fvm_inode *inode, struct flashvm_error *error);

/* Give an existing directory (the root, say) another one's owner, mode and time. */
void fvm_tree_take_metadata(const struct fvm_tree *tree, struct fvm_node *directory,
                            const struct fvm_inode *inode);

/* Remove what lower layers put there: `node` itself (but never the root), or only what is below it.
 */
int fvm_tree_hide(struct fvm_tree *tree, struct fvm_node *node, struct flashvm_error *error);
int fvm_tree_hide_children(struct fvm_tree *tree, struct fvm_node *directory,
                           struct flashvm_error *error);

/*
 * The children of a directory, sorted by strcmp() as squashfs wants them.
 * Return: an array of child_count pointers, to be freed, or NULL when memory is exhausted.
 */
struct fvm_node **fvm_tree_children(const struct fvm_node *directory);
