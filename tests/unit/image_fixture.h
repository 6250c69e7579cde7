/* SPDX-License-Identifier: MIT */
/*
 * What the tests of src/image share: a temporary directory, tars, OCI layouts, and a reader of what
 * came out. Everything asserts by itself.
 */
#pragma once

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "image/oci.h"
#include "image/rootfs.h"

struct fixture {
    char *dir;      /* temporary, removed at the end */
    char *data_dir; /* DIR/data, which holds oci/ */
    char *layout;   /* DIR/data/oci */
    char *cache;    /* DIR/cache */
    char *rootfs;   /* DIR/rootfs.squashfs, of fixture_build() */
    json_t *layers; /* descriptors */
    json_t *diff_ids;
    struct flashvm_error error; /* of the last call of the code under test */
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define fixture_test(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

void assert_error(struct fixture *fixture, enum flashvm_status status, const char *part);

/* ---- tars: begin, entries, then fixture_add_layer() ------------------------------------------ */

struct tar {
    struct archive *archive;
    struct fvm_buffer bytes;
};

void tar_begin(struct tar *tar); /* pax, in the C locale */
void tar_file(struct tar *tar, const char *name, const char *text);
void tar_bytes(struct tar *tar, const char *name, const void *data, size_t size, mode_t mode);
void tar_directory(struct tar *tar, const char *name, mode_t mode);
void tar_symlink(struct tar *tar, const char *name, const char *target);
void tar_hard_link(struct tar *tar, const char *name, const char *target);
void tar_device(struct tar *tar, const char *name, mode_t type, unsigned major, unsigned minor);
void tar_owned_file(struct tar *tar, const char *name, int64_t uid, int64_t gid, int64_t mtime);
/* A file that is a hole but for "end" in its last three bytes. */
void tar_sparse_file(struct tar *tar, const char *name, uint64_t size);
/* A header block and padded content as they stand, for what a tar writer would not write. */
void tar_raw_header(struct tar *tar, char type, const char *name, size_t size);
void tar_raw_data(struct tar *tar, const char *data, size_t size);
void tar_end(struct tar *tar);
void tar_finish(struct tar *tar);

/* ---- layouts --------------------------------------------------------------------------------- */

enum compression { PLAIN, GZIP, ZSTD };

/* Add a blob. Return: its descriptor, a new reference. */
json_t *fixture_add_blob(struct fixture *fixture, const char *media_type, const void *data,
                         size_t size);
json_t *fixture_add_json(struct fixture *fixture, const char *media_type, const json_t *json);

/* End the tar and make it the next layer. */
void fixture_add_layer(struct fixture *fixture, struct tar *tar, enum compression compression);

/* The documents as they should be, to be changed by a test; new references. */
json_t *fixture_config(const struct fixture *fixture);
json_t *fixture_manifest(const struct fixture *fixture, json_t *config_descriptor);
json_t *fixture_index(json_t *manifest_descriptor, const char *ref_name);
void fixture_write_index(const struct fixture *fixture, const json_t *index);

/* Config, manifest and index.json for the layers that were added. */
void fixture_write_layout(struct fixture *fixture);

/* fixture_write_layout(), then find, load and flatten it into fixture->rootfs. Return: 0 or -1. */
int fixture_build(struct fixture *fixture);
int fixture_build_limited(struct fixture *fixture, const struct fvm_image_limits *limits);

/* Layers: one file "x"; and dir/a, dir/b, dir/sub/c and file. */
void add_single_file(struct fixture *fixture, const char *name);
void add_lower_layer(struct fixture *fixture);
void fixture_forget_layers(struct fixture *fixture);

void must_build(struct fixture *fixture);
void assert_refused(struct fixture *fixture, const char *part); /* FLASHVM_IMAGE_INVALID */

void write_text(const char *path, const char *text);

/* ---- what came out --------------------------------------------------------------------------- */

struct rootfs_entry {
    mode_t mode; /* 0: there is none */
    uint32_t uid, gid, mtime, links, number;
    uint32_t device;
    uint64_t size;
    char *data; /* a file's bytes or a symlink's target, NUL-terminated; to be freed */
};

/* @path: "" for the root. */
struct rootfs_entry rootfs_get(const char *rootfs, const char *path);
void rootfs_entry_finish(struct rootfs_entry *entry);
#define cleanup_entry __attribute__((cleanup(rootfs_entry_finish)))

bool rootfs_has(const struct fixture *fixture, const char *path);
void assert_text(const struct fixture *fixture, const char *path, const char *text);

/* The names in a directory, as they are stored, with a space between them. */
void assert_names(const struct fixture *fixture, const char *path, const char *names);
