/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqfs/compressor.h>
#include <sqfs/data_reader.h>
#include <sqfs/dir.h>
#include <sqfs/dir_reader.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"

/* ---- the directory --------------------------------------------------------------------------- */

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    cleanup_free char *blobs = NULL;

    assert_non_null(fixture);
    fixture->dir = fvm_format("%s/flashvm-image-XXXXXX", getenv("TMPDIR") ?: "/tmp");
    assert_non_null(mkdtemp(fixture->dir));
    fixture->data_dir = fvm_format("%s/data", fixture->dir);
    fixture->layout = fvm_format("%s/data/oci", fixture->dir);
    fixture->cache = fvm_format("%s/cache", fixture->dir);
    fixture->rootfs = fvm_format("%s/rootfs.squashfs", fixture->dir);
    fixture->layers = json_array();
    fixture->diff_ids = json_array();
    blobs = fvm_format("%s/blobs/sha256", fixture->layout);
    assert_int_equal(fvm_make_directories(blobs, 0755, NULL), 0);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    fvm_remove_tree(fixture->dir);
    free(fixture->dir);
    free(fixture->data_dir);
    free(fixture->layout);
    free(fixture->cache);
    free(fixture->rootfs);
    json_decref(fixture->layers);
    json_decref(fixture->diff_ids);
    flashvm_error_finish(&fixture->error);
    free(fixture);
    return 0;
}

void assert_error(struct fixture *fixture, enum flashvm_status status, const char *part)
{
    if (fixture->error.message == NULL || strstr(fixture->error.message, part) == NULL)
        fail_msg("the error \"%s\" does not say \"%s\"", fixture->error.message ?: "(none)", part);
    assert_int_equal(fixture->error.status, status);
    flashvm_error_finish(&fixture->error);
}

void write_text(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, text, strlen(text)), 0);
}

/* ---- tars ------------------------------------------------------------------------------------ */

static la_ssize_t append_bytes(struct archive *archive, void *buffer, const void *data, size_t size)
{
    (void)archive;
    assert_int_equal(fvm_buffer_append(buffer, data, size), 0);
    return (la_ssize_t)size;
}

void tar_begin(struct tar *tar)
{
    *tar = (struct tar){.archive = archive_write_new()};
    assert_int_equal(archive_write_set_format_pax_restricted(tar->archive), ARCHIVE_OK);
    assert_int_equal(archive_write_open(tar->archive, &tar->bytes, NULL, append_bytes, NULL),
                     ARCHIVE_OK);
}

static struct archive_entry *new_entry(const char *name, mode_t mode)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, mode);
    archive_entry_set_mtime(entry, 1000, 0);
    archive_entry_set_size(entry, 0);
    return entry;
}

static void write_entry(struct tar *tar, struct archive_entry *entry)
{
    assert_int_equal(archive_write_header(tar->archive, entry), ARCHIVE_OK);
    archive_entry_free(entry);
}

void tar_bytes(struct tar *tar, const char *name, const void *data, size_t size, mode_t mode)
{
    struct archive_entry *entry = new_entry(name, AE_IFREG | mode);

    archive_entry_set_size(entry, (la_int64_t)size);
    write_entry(tar, entry);
    assert_int_equal(archive_write_data(tar->archive, data, size), (la_ssize_t)size);
}

void tar_file(struct tar *tar, const char *name, const char *text)
{
    tar_bytes(tar, name, text, strlen(text), 0644);
}

void tar_directory(struct tar *tar, const char *name, mode_t mode)
{
    write_entry(tar, new_entry(name, AE_IFDIR | mode));
}

void tar_symlink(struct tar *tar, const char *name, const char *target)
{
    struct archive_entry *entry = new_entry(name, AE_IFLNK | 0777);

    archive_entry_set_symlink(entry, target);
    write_entry(tar, entry);
}

void tar_hard_link(struct tar *tar, const char *name, const char *target)
{
    struct archive_entry *entry = new_entry(name, AE_IFREG | 0644);

    archive_entry_set_hardlink(entry, target);
    write_entry(tar, entry);
}

void tar_device(struct tar *tar, const char *name, mode_t type, unsigned major, unsigned minor)
{
    struct archive_entry *entry = new_entry(name, type | 0600);

    archive_entry_set_rdevmajor(entry, major);
    archive_entry_set_rdevminor(entry, minor);
    write_entry(tar, entry);
}

void tar_owned_file(struct tar *tar, const char *name, int64_t uid, int64_t gid, int64_t mtime)
{
    struct archive_entry *entry = new_entry(name, AE_IFREG | 04755);

    archive_entry_set_uid(entry, uid);
    archive_entry_set_gid(entry, gid);
    archive_entry_set_mtime(entry, mtime, 0);
    write_entry(tar, entry);
}

void tar_sparse_file(struct tar *tar, const char *name, uint64_t size)
{
    struct archive_entry *entry = new_entry(name, AE_IFREG | 0644);
    static const char zeros[4096];
    uint64_t hole = size - 3;

    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_sparse_add_entry(entry, (la_int64_t)hole, 3);
    write_entry(tar, entry);
    while (hole > 0) {
        size_t part = hole < sizeof zeros ? (size_t)hole : sizeof zeros;

        assert_int_equal(archive_write_data(tar->archive, zeros, part), (la_ssize_t)part);
        hole -= part;
    }
    assert_int_equal(archive_write_data(tar->archive, "end", 3), 3);
}

void tar_raw_header(struct tar *tar, char type, const char *name, size_t size)
{
    char block[512] = {0};
    unsigned sum = 8 * ' ';

    strncpy(block, name, 100);
    snprintf(block + 100, 8, "%07o", 0644);
    snprintf(block + 108, 8, "%07o", 0);
    snprintf(block + 116, 8, "%07o", 0);
    snprintf(block + 124, 12, "%011zo", size);
    snprintf(block + 136, 12, "%011o", 1000);
    block[156] = type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < sizeof block; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    assert_int_equal(fvm_buffer_append(&tar->bytes, block, sizeof block), 0);
}

void tar_raw_data(struct tar *tar, const char *data, size_t size)
{
    static const char zeros[512];

    assert_int_equal(fvm_buffer_append(&tar->bytes, data, size), 0);
    assert_int_equal(fvm_buffer_append(&tar->bytes, zeros, (512 - size % 512) % 512), 0);
}

void tar_end(struct tar *tar)
{
    if (tar->archive)
        assert_int_equal(archive_write_free(tar->archive), ARCHIVE_OK);
    tar->archive = NULL;
}

void tar_finish(struct tar *tar)
{
    tar_end(tar);
    fvm_buffer_finish(&tar->bytes);
}

static void compress_bytes(const struct fvm_buffer *plain, enum compression compression,
                           struct fvm_buffer *ret_packed)
{
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = new_entry("data", AE_IFREG | 0644);

    assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(archive, compression == GZIP ? ARCHIVE_FILTER_GZIP
                                                                           : ARCHIVE_FILTER_ZSTD),
                     ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(archive, 1);
    assert_int_equal(archive_write_open(archive, ret_packed, NULL, append_bytes, NULL), ARCHIVE_OK);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, plain->data, plain->size),
                     (la_ssize_t)plain->size);
    archive_entry_free(entry);
    assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
}

/* ---- layouts --------------------------------------------------------------------------------- */

static void digest_of(const void *data, size_t size, char ret_digest[FVM_DIGEST_SIZE])
{
    struct sha256_ctx sha256;

    sha256_init(&sha256);
    sha256_update(&sha256, size, data);
    fvm_digest_finish(&sha256, ret_digest);
}

json_t *fixture_add_blob(struct fixture *fixture, const char *media_type, const void *data,
                         size_t size)
{
    char digest[FVM_DIGEST_SIZE];
    cleanup_free char *path = NULL;
    cleanup_close int fd = -1;

    digest_of(data, size, digest);
    path = fvm_format("%s/blobs/sha256/%s", fixture->layout, digest + strlen("sha256:"));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, data, size), 0);
    return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest, "size",
                     (json_int_t)size);
}

json_t *fixture_add_json(struct fixture *fixture, const char *media_type, const json_t *json)
{
    cleanup_free char *text = json_dumps(json, 0);

    return fixture_add_blob(fixture, media_type, text, strlen(text));
}

void fixture_add_layer(struct fixture *fixture, struct tar *tar, enum compression compression)
{
    static const char *const types[] = {
        [PLAIN] = "application/vnd.oci.image.layer.v1.tar",
        [GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
        [ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    cleanup_buffer struct fvm_buffer packed = {0};
    char diff_id[FVM_DIGEST_SIZE];

    tar_end(tar);
    digest_of(tar->bytes.data, tar->bytes.size, diff_id);
    if (compression == PLAIN)
        assert_int_equal(fvm_buffer_append(&packed, tar->bytes.data, tar->bytes.size), 0);
    else
        compress_bytes(&tar->bytes, compression, &packed);
    json_array_append_new(fixture->layers, fixture_add_blob(fixture, types[compression],
                                                            packed.data ?: "", packed.size));
    json_array_append_new(fixture->diff_ids, json_string(diff_id));
    tar_finish(tar);
}

json_t *fixture_config(const struct fixture *fixture)
{
    return json_pack("{s:s, s:s, s:{s:[s,s], s:s, s:s}, s:{s:s, s:o}}", "architecture", "amd64",
                     "os", "linux", "config", "Env", "PATH=/usr/bin:/bin", "LANG=C.UTF-8",
                     "WorkingDir", "/work", "User", "1000:1000", "rootfs", "type", "layers",
                     "diff_ids", json_deep_copy(fixture->diff_ids));
}

json_t *fixture_manifest(const struct fixture *fixture, json_t *config_descriptor)
{
    return json_pack("{s:i, s:s, s:O, s:o}", "schemaVersion", 2, "mediaType",
                     "application/vnd.oci.image.manifest.v1+json", "config", config_descriptor,
                     "layers", json_deep_copy(fixture->layers));
}

json_t *fixture_index(json_t *manifest_descriptor, const char *ref_name)
{
    json_t *entry = json_copy(manifest_descriptor);

    json_object_set_new(entry, "annotations",
                        json_pack("{s:s}", "org.opencontainers.image.ref.name", ref_name));
    return json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", entry);
}

void fixture_write_index(const struct fixture *fixture, const json_t *index)
{
    cleanup_free char *index_path = fvm_format("%s/index.json", fixture->layout);
    cleanup_free char *layout_path = fvm_format("%s/oci-layout", fixture->layout);
    cleanup_free char *text = json_dumps(index, 0);

    write_text(index_path, text);
    write_text(layout_path, "{\"imageLayoutVersion\": \"1.0.0\"}");
}

void fixture_write_layout(struct fixture *fixture)
{
    cleanup_json json_t *config = fixture_config(fixture);
    cleanup_json json_t *config_descriptor =
        fixture_add_json(fixture, "application/vnd.oci.image.config.v1+json", config);
    cleanup_json json_t *manifest = fixture_manifest(fixture, config_descriptor);
    cleanup_json json_t *manifest_descriptor =
        fixture_add_json(fixture, "application/vnd.oci.image.manifest.v1+json", manifest);
    cleanup_json json_t *index = fixture_index(manifest_descriptor, "python-basic");

    fixture_write_index(fixture, index);
}

int fixture_build_limited(struct fixture *fixture, const struct fvm_image_limits *limits)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    cleanup_close int fd = open(fixture->rootfs, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    struct fvm_descriptor manifest;

    fixture_write_layout(fixture);
    if (fvm_oci_open(fixture->layout, &oci, &fixture->error) < 0 ||
        fvm_oci_find(&oci, "python-basic", NULL, &manifest, &fixture->error) < 0 ||
        fvm_oci_load(&oci, &manifest, &image, &fixture->error) < 0)
        return -1;
    return fvm_rootfs_write(&oci, &image, fd, limits, NULL, &fixture->error);
}

int fixture_build(struct fixture *fixture)
{
    int result = fixture_build_limited(fixture, NULL);

    if (result < 0)
        print_message("%s\n", fixture->error.message);
    return result;
}

void must_build(struct fixture *fixture)
{
    assert_int_equal(fixture_build(fixture), 0);
}

void assert_refused(struct fixture *fixture, const char *part)
{
    assert_int_equal(fixture_build_limited(fixture, NULL), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, part);
}

/* A tar of one file only. */
void add_single_file(struct fixture *fixture, const char *name)
{
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, name, "x");
    fixture_add_layer(fixture, &tar, PLAIN);
}

void add_lower_layer(struct fixture *fixture)
{
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "dir/a", "lower a");
    tar_file(&tar, "dir/b", "lower b");
    tar_file(&tar, "dir/sub/c", "lower c");
    tar_file(&tar, "file", "lower");
    fixture_add_layer(fixture, &tar, GZIP);
}

void fixture_forget_layers(struct fixture *fixture)
{
    json_array_clear(fixture->layers);
    json_array_clear(fixture->diff_ids);
}

/* ---- what came out --------------------------------------------------------------------------- */

struct reader {
    sqfs_super_t super;
    sqfs_file_t *file;
    sqfs_compressor_t *compressor;
    sqfs_id_table_t *ids;
    sqfs_dir_reader_t *directories;
};

static void reader_open(struct reader *reader, const char *rootfs)
{
    sqfs_compressor_config_t config;

    reader->file = sqfs_open_file(rootfs, SQFS_FILE_OPEN_READ_ONLY);
    assert_non_null(reader->file);
    assert_int_equal(sqfs_super_read(&reader->super, reader->file), 0);
    assert_int_equal(sqfs_compressor_config_init(&config, SQFS_COMP_GZIP, reader->super.block_size,
                                                 SQFS_COMP_FLAG_UNCOMPRESS),
                     0);
    assert_int_equal(sqfs_compressor_create(&config, &reader->compressor), 0);
    reader->ids = sqfs_id_table_create(0);
    assert_int_equal(
        sqfs_id_table_read(reader->ids, reader->file, &reader->super, reader->compressor), 0);
    reader->directories =
        sqfs_dir_reader_create(&reader->super, reader->compressor, reader->file, 0);
    assert_non_null(reader->directories);
}

static void reader_close(struct reader *reader)
{
    sqfs_destroy(reader->directories);
    sqfs_destroy(reader->ids);
    sqfs_destroy(reader->compressor);
    sqfs_destroy(reader->file);
}

/* Return: NULL when there is no such path. */
static sqfs_inode_generic_t *reader_find(struct reader *reader, const char *path)
{
    sqfs_inode_generic_t *inode = NULL;

    if (*path == '\0')
        assert_int_equal(sqfs_dir_reader_get_root_inode(reader->directories, &inode), 0);
    else if (sqfs_dir_reader_find_by_path(reader->directories, NULL, path, &inode) != 0)
        return NULL;
    return inode;
}

static char *read_content(struct reader *reader, const sqfs_inode_generic_t *inode, uint64_t size)
{
    sqfs_data_reader_t *data =
        sqfs_data_reader_create(reader->file, reader->super.block_size, reader->compressor, 0);
    char *content = malloc(size + 1);

    assert_non_null(data);
    assert_non_null(content);
    for (uint64_t offset = 0; offset < size;) {
        uint64_t part = size - offset < 1 << 20 ? size - offset : 1 << 20;
        sqfs_s32 count =
            sqfs_data_reader_read(data, inode, offset, content + offset, (sqfs_u32)part);

        assert_true(count > 0);
        offset += (uint64_t)count;
    }
    content[size] = '\0';
    sqfs_destroy(data);
    return content;
}

/* What depends on the kind of inode. */
static void describe_inode(struct reader *reader, const sqfs_inode_generic_t *inode,
                           struct rootfs_entry *entry)
{
    switch (inode->base.type) {
    case SQFS_INODE_DIR:
        entry->links = inode->data.dir.nlink;
        break;
    case SQFS_INODE_EXT_DIR:
        entry->links = inode->data.dir_ext.nlink;
        break;
    case SQFS_INODE_FILE:
    case SQFS_INODE_EXT_FILE:
        entry->links = inode->base.type == SQFS_INODE_FILE ? 1 : inode->data.file_ext.nlink;
        assert_int_equal(sqfs_inode_get_file_size(inode, &entry->size), 0);
        entry->data = read_content(reader, inode, entry->size);
        break;
    case SQFS_INODE_SLINK:
        entry->links = inode->data.slink.nlink;
        entry->size = inode->data.slink.target_size;
        entry->data = strndup((const char *)inode->extra, entry->size);
        break;
    case SQFS_INODE_BDEV:
    case SQFS_INODE_CDEV:
        entry->links = inode->data.dev.nlink;
        entry->device = inode->data.dev.devno;
        break;
    case SQFS_INODE_FIFO:
        entry->links = inode->data.ipc.nlink;
        break;
    default:
        fail_msg("an inode of type %d", inode->base.type);
    }
}

struct rootfs_entry rootfs_get(const char *rootfs, const char *path)
{
    struct rootfs_entry entry = {0};
    struct reader reader;
    sqfs_inode_generic_t *inode;

    reader_open(&reader, rootfs);
    inode = reader_find(&reader, path);
    if (inode) {
        entry.mode = inode->base.mode;
        entry.mtime = inode->base.mod_time;
        entry.number = inode->base.inode_number;
        assert_int_equal(sqfs_id_table_index_to_id(reader.ids, inode->base.uid_idx, &entry.uid), 0);
        assert_int_equal(sqfs_id_table_index_to_id(reader.ids, inode->base.gid_idx, &entry.gid), 0);
        describe_inode(&reader, inode, &entry);
        sqfs_free(inode);
    }
    reader_close(&reader);
    return entry;
}

void rootfs_entry_finish(struct rootfs_entry *entry)
{
    free(entry->data);
}

bool rootfs_has(const struct fixture *fixture, const char *path)
{
    cleanup_entry struct rootfs_entry entry = rootfs_get(fixture->rootfs, path);

    return entry.mode != 0;
}

void assert_text(const struct fixture *fixture, const char *path, const char *text)
{
    cleanup_entry struct rootfs_entry entry = rootfs_get(fixture->rootfs, path);

    if (!S_ISREG(entry.mode))
        fail_msg("%s is not a regular file in the rootfs", path);
    assert_string_equal(entry.data, text);
    assert_int_equal(entry.size, strlen(text));
}

void assert_names(const struct fixture *fixture, const char *path, const char *names)
{
    cleanup_buffer struct fvm_buffer found = {0};
    sqfs_dir_entry_t *entry;
    struct reader reader;
    sqfs_inode_generic_t *inode;

    reader_open(&reader, fixture->rootfs);
    inode = reader_find(&reader, path);
    assert_non_null(inode);
    assert_int_equal(sqfs_dir_reader_open_dir(reader.directories, inode, 0), 0);
    while (sqfs_dir_reader_read(reader.directories, &entry) == 0) {
        fvm_buffer_append(&found, " ", found.size > 0);
        fvm_buffer_append(&found, entry->name, entry->size + 1u);
        sqfs_free(entry);
    }
    assert_string_equal(found.data ?: "", names);
    sqfs_free(inode);
    reader_close(&reader);
}
