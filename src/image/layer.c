/* SPDX-License-Identifier: MIT */
#include "image/layer.h"

#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/tar_stream.h"

#define WHITEOUT_PREFIX ".wh."
#define OPAQUE_MARKER   ".wh..wh..opq"
#define AUFS_PREFIX     ".wh..wh." /* aufs's own bookkeeping, none of the image's content */

const struct fvm_image_limits fvm_image_default_limits = {
    .entries = 1000000,
    .depth = 256,
    .content_bytes = 16ull << 30,
    .unpacked_bytes = 20ull << 30, /* the content, headers and padding */
};

struct layer_apply {
    struct fvm_image_limits *left;
    struct fvm_tree *tree;
    struct fvm_squashfs *squashfs;
    struct archive *tar;
    struct fvm_tar_stream *stream;
    bool is_ended; /* libarchive cannot go on, and need not */
};

/* ---- names ----------------------------------------------------------------------------------- */

/*
 * Check a name of the tar and bring it into the form "a/b/c", "" for the root.
 * @ret_path: to be freed.
 */
static int normalize(const char *name, char **ret_path, struct flashvm_error *error)
{
    cleanup_free char *path = malloc(strlen(name) + 1);
    size_t size = 0;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    while (*name) {
        size_t length = strcspn(name, "/");

        if (length > NAME_MAX)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "a name has more than %d bytes",
                            NAME_MAX);
        if (length == 2 && memcmp(name, "..", 2) == 0)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its path has a \"..\"");
        if (length > 0 && !(length == 1 && *name == '.')) {
            if (size > 0)
                path[size++] = '/';
            memcpy(path + size, name, length);
            size += length;
        }
        name += length + (name[length] == '/');
    }
    path[size] = '\0';
    *ret_path = steal_pointer(path);
    return 0;
}

/* Cut a normalized path in two: the return value is its last component, `path` what is before. */
static const char *split(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* ---- kinds of entries ------------------------------------------------------------------------ */

static int apply_whiteout(struct layer_apply *apply, const char *parent, const char *name,
                          struct flashvm_error *error)
{
    const char *hidden = name + strlen(WHITEOUT_PREFIX);
    struct fvm_node *directory;
    struct fvm_node *node;

    if (strcmp(name, OPAQUE_MARKER) != 0 && has_prefix(name, AUFS_PREFIX))
        return 0;
    if (*hidden == '\0' || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it is a whiteout of nothing");
    if (fvm_tree_directory(apply->tree, parent, false, &directory, error) < 0)
        return -1;
    /* Nothing there to hide. umoci hides one by one the children of what it makes a file, too. */
    if (directory == NULL)
        return 0;
    if (strcmp(name, OPAQUE_MARKER) == 0)
        return fvm_tree_hide_children(apply->tree, directory, error);
    node = fvm_tree_child(directory, hidden);
    return node ? fvm_tree_hide(apply->tree, node, error) : 0;
}

static int find_link_target(struct layer_apply *apply, const char *target,
                            struct fvm_inode **ret_inode, struct flashvm_error *error)
{
    cleanup_free char *shown = fvm_printable(target);
    cleanup_free char *path = NULL;
    struct fvm_node *directory;
    struct fvm_node *node = NULL;
    const char *name;

    if (normalize(target, &path, error) < 0)
        return fvm_fail_context(error, "the target \"%s\" of the hard link", shown ? shown : "");
    name = split(path);
    if (fvm_tree_directory(apply->tree, name ? path : "", false, &directory, error) < 0)
        return fvm_fail_context(error, "the target \"%s\" of the hard link", shown ? shown : "");
    if (directory)
        node = fvm_tree_child(directory, name ? name : path);
    if (node == NULL || S_ISDIR(node->inode->mode))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the target \"%s\" of the hard link is %s",
                        shown ? shown : "", node ? "a directory" : "missing");
    *ret_inode = node->inode;
    return 0;
}

static int copy_content(struct layer_apply *apply, struct archive_entry *entry,
                        struct fvm_inode *inode, struct flashvm_error *error)
{
    uint64_t size = (uint64_t)archive_entry_size(entry);
    uint64_t written = 0;
    const void *data;
    size_t part;
    la_int64_t offset;
    int result;

    if (archive_entry_size(entry) < 0 || size > apply->left->content_bytes)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image's files are too large together");
    apply->left->content_bytes -= size;
    fvm_squashfs_begin_file(apply->squashfs);
    while ((result = archive_read_data_block(apply->tar, &data, &part, &offset)) == ARCHIVE_OK) {
        /* Of a sparse file only the parts between the holes come, in order. */
        if (offset < 0 || (uint64_t)offset < written || (uint64_t)offset > size ||
            part > size - (uint64_t)offset)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its content is not within its size");
        if (fvm_squashfs_skip(apply->squashfs, (uint64_t)offset - written, error) < 0 ||
            fvm_squashfs_write(apply->squashfs, data, part, error) < 0)
            return -1;
        written = (uint64_t)offset + part;
    }
    /* umoci's last file lacks the padding behind it, and the tar's end marker. All of it is here.
     */
    apply->is_ended = result == ARCHIVE_FATAL && written == size && apply->stream->is_unpacked;
    if (result != ARCHIVE_EOF && !apply->is_ended)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its content cannot be read: %s",
                        archive_error_string(apply->tar) ?: "unknown cause");
    if (fvm_squashfs_skip(apply->squashfs, size - written, error) < 0)
        return -1;
    return fvm_squashfs_end_file(apply->squashfs, &inode->data, error);
}

/* Device numbers as squashfs keeps them: Linux's new_encode_dev(). */
static int encode_device(struct archive_entry *entry, uint32_t *ret_device,
                         struct flashvm_error *error)
{
    uint64_t major = (uint64_t)archive_entry_rdevmajor(entry);
    uint64_t minor = (uint64_t)archive_entry_rdevminor(entry);

    if (major >= 1 << 12 || minor >= 1 << 20)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its device number is out of range");
    *ret_device = (uint32_t)((minor & 0xff) | (major << 8) | ((minor & ~0xffull) << 12));
    return 0;
}

static int make_inode(struct layer_apply *apply, struct archive_entry *entry,
                      struct fvm_inode **ret_inode, struct flashvm_error *error)
{
    cleanup_inode struct fvm_inode *inode = NULL;
    const char *target = archive_entry_symlink(entry) ?: "";
    la_int64_t uid = archive_entry_uid(entry);
    la_int64_t gid = archive_entry_gid(entry);
    time_t mtime = archive_entry_mtime(entry);
    mode_t type = archive_entry_filetype(entry);

    if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK && type != AE_IFCHR &&
        type != AE_IFBLK && type != AE_IFIFO)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it is of an unknown type");
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its owner's id is out of range");
    inode = fvm_inode_create((archive_entry_mode(entry) & 07777) | type);
    if (inode == NULL)
        return fvm_fail_no_memory(error);
    inode->uid = (uint32_t)uid;
    inode->gid = (uint32_t)gid;
    inode->mtime = mtime < 0 ? 0 : mtime > UINT32_MAX ? UINT32_MAX : (uint32_t)mtime;
    if (type == AE_IFLNK) {
        if (*target == '\0' || strlen(target) >= PATH_MAX)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                            "the symlink's target is empty or too long");
        inode->target = strdup(target);
        if (inode->target == NULL)
            return fvm_fail_no_memory(error);
    }
    if ((type == AE_IFCHR || type == AE_IFBLK) && encode_device(entry, &inode->device, error) < 0)
        return -1;
    if (type == AE_IFREG && copy_content(apply, entry, inode, error) < 0)
        return -1;
    *ret_inode = steal_pointer(inode);
    return 0;
}

/* ---- a layer --------------------------------------------------------------------------------- */

static int apply_root(struct layer_apply *apply, struct archive_entry *entry,
                      struct flashvm_error *error)
{
    cleanup_inode struct fvm_inode *inode = NULL;

    if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFDIR)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it would replace the root directory");
    if (make_inode(apply, entry, &inode, error) < 0)
        return -1;
    fvm_tree_take_metadata(apply->tree, apply->tree->root, inode);
    return 0;
}

static int apply_entry(struct layer_apply *apply, struct archive_entry *entry, const char *raw_name,
                       struct flashvm_error *error)
{
    const char *link_target = archive_entry_hardlink(entry);
    cleanup_inode struct fvm_inode *inode = NULL;
    cleanup_free char *path = NULL;
    struct fvm_node *directory;
    const char *parent;
    const char *name;

    if (apply->left->entries == 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image has too many entries");
    apply->left->entries--;
    if (normalize(raw_name, &path, error) < 0)
        return -1;
    if (*path == '\0')
        return apply_root(apply, entry, error);
    name = split(path);
    parent = name ? path : "";
    name = name ? name : path;
    if (has_prefix(parent, AUFS_PREFIX) || strstr(parent, "/" AUFS_PREFIX))
        return 0;
    if (has_prefix(parent, WHITEOUT_PREFIX) || strstr(parent, "/" WHITEOUT_PREFIX))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it lies below a whiteout");
    if (has_prefix(name, WHITEOUT_PREFIX))
        return apply_whiteout(apply, parent, name, error);
    if (fvm_tree_directory(apply->tree, parent, true, &directory, error) < 0)
        return -1;
    if (link_target) {
        struct fvm_inode *target = NULL;

        if (find_link_target(apply, link_target, &target, error) < 0)
            return -1;
        if (fvm_tree_put(apply->tree, directory, name, target, error) < 0) {
            fvm_inode_release(target); /* it may have lost its last name */
            return -1;
        }
        return 0;
    }
    if (make_inode(apply, entry, &inode, error) < 0 ||
        fvm_tree_put(apply->tree, directory, name, inode, error) < 0)
        return -1;
    inode = NULL; /* the tree's now */
    return 0;
}

/*
 * libarchive converts the names of pax headers from UTF-8 to the locale's charset, and to Unicode's
 * composed form, so that the image would depend on the caller's locale and lose names. In the C
 * locale it cannot convert any but ASCII names, warns, and hands out the bytes as they are: what is
 * wanted.
 */
static bool is_harmless(struct archive *tar, int result)
{
    const char *message = archive_error_string(tar) ?: "";

    return result == ARCHIVE_OK ||
           (result == ARCHIVE_WARN && strstr(message, "can't be converted from") != NULL);
}

static int apply_entries(struct layer_apply *apply, struct flashvm_error *error)
{
    struct archive_entry *entry;
    int result;

    while (!apply->is_ended &&
           (result = fvm_tar_stream_next(apply->stream, &entry)) != ARCHIVE_EOF) {
        const char *name;
        cleanup_free char *shown = NULL;

        if (!is_harmless(apply->tar, result))
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its tar is damaged: %s",
                            archive_error_string(apply->tar) ?: "unknown cause");
        name = archive_entry_pathname(entry);
        if (name == NULL)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "an entry of its tar has no name");
        shown = fvm_printable(name);
        if (apply_entry(apply, entry, name, error) < 0)
            return fvm_fail_context(error, "entry \"%s\"", shown ? shown : "");
    }
    return 0;
}

static int apply_in_c_locale(struct layer_apply *apply, struct flashvm_error *error)
{
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t kept;
    int result;

    if (c_locale == (locale_t)0)
        return fvm_fail_no_memory(error);
    kept = uselocale(c_locale); /* of this thread only */
    result = apply_entries(apply, error);
    uselocale(kept);
    freelocale(c_locale);
    return result;
}

int fvm_layer_apply(const struct fvm_oci *oci, const struct fvm_oci_layer *layer,
                    struct fvm_image_limits *left, struct fvm_tree *tree,
                    struct fvm_squashfs *squashfs, struct flashvm_error *error)
{
    struct layer_apply apply = {.left = left, .tree = tree, .squashfs = squashfs};
    cleanup_tar_stream struct fvm_tar_stream *stream = NULL;
    int result;

    if (fvm_tar_stream_open(oci, layer, left->unpacked_bytes, &stream, error) < 0)
        return -1;
    apply.tar = stream->tar;
    apply.stream = stream;
    result = apply_in_c_locale(&apply, error);
    if (result == 0)
        result = fvm_tar_stream_verify_tar(stream, layer, error);
    /* Last, and also after a failure: that the blob is damaged explains everything before. */
    if (fvm_tar_stream_verify_blob(stream, error) < 0)
        return -1;
    left->unpacked_bytes -= stream->unpacked_bytes;
    return result;
}
