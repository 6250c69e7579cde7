/* SPDX-License-Identifier: MIT */
#include "image/tree.h"

#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* As Linux does when it resolves a path. */
enum { MAX_SYMLINKS = 40 };

struct fvm_inode *fvm_inode_create(uint32_t mode)
{
    struct fvm_inode *inode = calloc(1, sizeof *inode);

    if (inode)
        inode->mode = mode;
    return inode;
}

void fvm_inode_release(struct fvm_inode *inode)
{
    if (inode == NULL || inode->links > 0)
        return;
    free(inode->target);
    free(inode->data.block_sizes);
    free(inode);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct fvm_node *)left)->name, ((const struct fvm_node *)right)->name);
}

static struct fvm_node *create_node(const char *name, struct fvm_inode *inode)
{
    size_t name_size = strlen(name) + 1;
    struct fvm_node *node = calloc(1, sizeof *node + name_size);

    if (node == NULL)
        return NULL;
    node->name = memcpy(node + 1, name, name_size);
    node->inode = inode;
    inode->links++;
    return node;
}

/* Recursive, but no deeper than max_depth. */
static void free_node(void *pointer)
{
    struct fvm_node *node = pointer;

    tdestroy(node->children, free_node);
    node->inode->links--;
    fvm_inode_release(node->inode);
    free(node);
}

int fvm_tree_init(struct fvm_tree *tree, uint32_t max_nodes, uint32_t max_depth,
                  struct flashvm_error *error)
{
    cleanup_inode struct fvm_inode *inode = fvm_inode_create(S_IFDIR | 0755);
    struct fvm_node *root = inode ? create_node("", inode) : NULL;

    if (root == NULL)
        return fvm_fail_no_memory(error);
    root->parent = root;
    *tree = (struct fvm_tree){
        .root = root, .node_count = 1, .max_nodes = max_nodes, .max_depth = max_depth};
    return 0;
}

void fvm_tree_finish(struct fvm_tree *tree)
{
    if (tree->root)
        free_node(tree->root);
    *tree = (struct fvm_tree){0};
}

struct fvm_node *fvm_tree_child(const struct fvm_node *directory, const char *name)
{
    struct fvm_node key = {.name = name};
    struct fvm_node **found = tfind(&key, &directory->children, compare_names);

    return found ? *found : NULL;
}

static uint32_t count_nodes(const struct fvm_node *node);

static void count_child(const void *position, VISIT visit, void *total)
{
    if (visit == postorder || visit == leaf)
        *(uint32_t *)total += count_nodes(*(struct fvm_node *const *)position);
}

static uint32_t count_nodes(const struct fvm_node *node)
{
    uint32_t total = 1;

    twalk_r(node->children, count_child, &total);
    return total;
}

static void remove_node(struct fvm_tree *tree, struct fvm_node *node)
{
    tree->node_count -= count_nodes(node);
    node->parent->child_count--;
    tdelete(node, &node->parent->children, compare_names);
    free_node(node);
}

static int add_node(struct fvm_tree *tree, struct fvm_node *directory, const char *name,
                    struct fvm_inode *inode, struct fvm_node **ret_node,
                    struct flashvm_error *error)
{
    struct fvm_node *node;

    if (tree->node_count >= tree->max_nodes)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image has more than %u files",
                        tree->max_nodes);
    if (directory->depth >= tree->max_depth)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "directories are nested deeper than %u",
                        tree->max_depth);
    node = create_node(name, inode);
    if (node == NULL)
        return fvm_fail_no_memory(error);
    if (tsearch(node, &directory->children, compare_names) == NULL) {
        inode->links--; /* it stays with the caller */
        free(node);
        return fvm_fail_no_memory(error);
    }
    node->parent = directory;
    node->depth = directory->depth + 1;
    node->layer = tree->layer;
    directory->child_count++;
    tree->node_count++;
    if (ret_node)
        *ret_node = node;
    return 0;
}

static int make_directory(struct fvm_tree *tree, struct fvm_node *directory, const char *name,
                          struct fvm_node **ret_node, struct flashvm_error *error)
{
    cleanup_inode struct fvm_inode *inode = fvm_inode_create(S_IFDIR | 0755);

    if (inode == NULL)
        return fvm_fail_no_memory(error);
    return add_node(tree, directory, name, inode, ret_node, error);
}

/* ---- paths ----------------------------------------------------------------------------------- */

struct walk {
    struct fvm_tree *tree;
    struct fvm_node *directory; /* where it stands; NULL: nowhere, there is no such directory */
    bool make;
    bool any_kind; /* `directory` may also be a file, at the end of the path */
    unsigned symlinks_left;
};

static int walk_path(struct walk *walk, const char *path, struct flashvm_error *error);

static int walk_component(struct walk *walk, const char *name, struct flashvm_error *error)
{
    struct fvm_node *child = fvm_tree_child(walk->directory, name);

    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        walk->directory = walk->directory->parent;
        return 0;
    }
    if (child == NULL && walk->make)
        return make_directory(walk->tree, walk->directory, name, &walk->directory, error);
    if (child == NULL || S_ISDIR(child->inode->mode)) {
        walk->directory = child;
        return 0;
    }
    if (!S_ISLNK(child->inode->mode) && !walk->make) {
        walk->directory = walk->any_kind ? child : NULL;
        return 0;
    }
    if (!S_ISLNK(child->inode->mode))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "a part of its path is not a directory");
    if (walk->symlinks_left-- == 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its path leads through too many symlinks");
    if (child->inode->target[0] == '/')
        walk->directory = walk->tree->root;
    return walk_path(walk, child->inode->target, error);
}

/* Recursive through symlinks, so no deeper than MAX_SYMLINKS. */
static int walk_path(struct walk *walk, const char *path, struct flashvm_error *error)
{
    char name[NAME_MAX + 1];

    while (walk->directory && *path) {
        size_t length = strcspn(path, "/");

        if (length > NAME_MAX)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "a name has more than %d bytes",
                            NAME_MAX);
        memcpy(name, path, length);
        name[length] = '\0';
        if (length > 0 && walk_component(walk, name, error) < 0)
            return -1;
        path += length + (path[length] == '/');
    }
    return 0;
}

int fvm_tree_directory(struct fvm_tree *tree, const char *path, bool make,
                       struct fvm_node **ret_directory, struct flashvm_error *error)
{
    struct walk walk = {
        .tree = tree, .directory = tree->root, .make = make, .symlinks_left = MAX_SYMLINKS};

    if (walk_path(&walk, path, error) < 0)
        return -1;
    *ret_directory = walk.directory;
    return 0;
}

struct fvm_node *fvm_tree_find(struct fvm_tree *tree, const char *path)
{
    struct walk walk = {
        .tree = tree, .directory = tree->root, .any_kind = true, .symlinks_left = MAX_SYMLINKS};

    return walk_path(&walk, path, NULL) < 0 ? NULL : walk.directory;
}

/* ---- changes --------------------------------------------------------------------------------- */

void fvm_tree_take_metadata(const struct fvm_tree *tree, struct fvm_node *directory,
                            const struct fvm_inode *inode)
{
    directory->inode->mode = inode->mode;
    directory->inode->uid = inode->uid;
    directory->inode->gid = inode->gid;
    directory->inode->mtime = inode->mtime;
    directory->layer = tree->layer;
}

int fvm_tree_put(struct fvm_tree *tree, struct fvm_node *directory, const char *name,
                 struct fvm_inode *inode, struct flashvm_error *error)
{
    struct fvm_node *old = fvm_tree_child(directory, name);

    if (old && S_ISDIR(old->inode->mode) && S_ISDIR(inode->mode)) {
        fvm_tree_take_metadata(tree, old, inode);
        fvm_inode_release(inode);
        return 0;
    }
    if (old && old->inode == inode) { /* a hard link to itself */
        old->layer = tree->layer;
        return 0;
    }
    inode->links++; /* a hard link may replace the directory that holds its target */
    if (old)
        remove_node(tree, old);
    inode->links--;
    return add_node(tree, directory, name, inode, NULL, error);
}

int fvm_tree_hide(struct fvm_tree *tree, struct fvm_node *node, struct flashvm_error *error)
{
    if (fvm_tree_hide_children(tree, node, error) < 0)
        return -1;
    /* A lower directory stays for what this layer put into it. */
    if (node->layer < tree->layer && node->child_count == 0 && node != tree->root)
        remove_node(tree, node);
    return 0;
}

/* Recursive through fvm_tree_hide(), but no deeper than max_depth. */
int fvm_tree_hide_children(struct fvm_tree *tree, struct fvm_node *directory,
                           struct flashvm_error *error)
{
    cleanup_free struct fvm_node **children = NULL;
    uint32_t count = directory->child_count;

    /* Once is enough: an image that asks again and again must not take forever. */
    if (count == 0 || directory->hidden_in == tree->layer)
        return 0;
    directory->hidden_in = tree->layer;
    children = fvm_tree_children(directory);
    if (children == NULL)
        return fvm_fail_no_memory(error);
    for (uint32_t i = 0; i < count; i++)
        if (fvm_tree_hide(tree, children[i], error) < 0)
            return -1;
    return 0;
}

/* ---- listing --------------------------------------------------------------------------------- */

static void collect_child(const void *position, VISIT visit, void *next)
{
    if (visit == postorder || visit == leaf)
        *(*(struct fvm_node ***)next)++ = *(struct fvm_node *const *)position;
}

struct fvm_node **fvm_tree_children(const struct fvm_node *directory)
{
    struct fvm_node **children = calloc(directory->child_count + 1, sizeof *children);
    struct fvm_node **next = children;

    if (children)
        twalk_r(directory->children, collect_child, &next);
    return children;
}
