/* SPDX-License-Identifier: MIT */
/* Layers that are damaged, or ask for too much. */
#include "image_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"

/* ---- damage ---------------------------------------------------------------------------------- */

static char *layer_path(const struct fixture *fixture)
{
    const json_t *layer = json_array_get(fixture->layers, 0);

    return fvm_format("%s/blobs/sha256/%s", fixture->layout,
                      json_string_value(json_object_get(layer, "digest")) + 7);
}

static void flip_byte(const char *path, off_t offset)
{
    FILE *file = fopen(path, "r+");
    int byte;

    assert_non_null(file);
    assert_int_equal(fseeko(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseeko(file, -1, SEEK_CUR), 0);
    fputc(byte ^ 0x20, file);
    assert_int_equal(fclose(file), 0);
}

static void a_layer_with_another_digest_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const off_t offsets[] = {0, 3, 520, -1}; /* in the name, the content, and the padding */

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        for (enum compression compression = PLAIN; compression <= ZSTD; compression++) {
            cleanup_free char *path = NULL;
            char content[4096];
            struct tar tar;

            for (size_t j = 0; j < sizeof content; j++)
                content[j] = (char)rand();
            tar_begin(&tar);
            tar_bytes(&tar, "hello", content, sizeof content, 0644);
            fixture_add_layer(fixture, &tar, compression);
            path = layer_path(fixture);
            flip_byte(path, offsets[i]);
            assert_refused(fixture, "its content has the digest");
            fixture_forget_layers(fixture);
        }
}

static void a_truncated_layer_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *path = NULL;

    add_lower_layer(fixture);
    path = layer_path(fixture);
    assert_int_equal(truncate(path, 100), 0);
    assert_refused(fixture, "it has 100 bytes");
}

static void a_layer_with_another_diff_id_is_refused(void **state)
{
    struct fixture *fixture = *state;

    add_lower_layer(fixture);
    json_array_set_new(fixture->diff_ids, 0,
                       json_string("sha256:"
                                   "0000000000000000000000000000000000000000"
                                   "000000000000000000000000"));
    assert_refused(fixture, "but the config's diff_id is sha256:00");
}

static void a_layer_that_ends_in_the_middle_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "hello", "content that is cut off");
    tar_end(&tar);
    tar.bytes.size = 520; /* its digests will be right */
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_refused(fixture, "entry \"hello\": its content cannot be read");
}

/* As umoci's `insert` ends it: nothing is missing but what no entry needs. */
static void a_last_file_without_padding_is_whole(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "hello", "content");
    tar_end(&tar);
    tar.bytes.size = 512 + strlen("content");
    fixture_add_layer(fixture, &tar, GZIP);
    tar_begin(&tar);
    tar_file(&tar, "more", "of the next layer");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_text(fixture, "hello", "content");
    assert_text(fixture, "more", "of the next layer");
}

static void what_is_no_tar_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar = {0};

    assert_int_equal(fvm_buffer_append(&tar.bytes, "this is no tar, whatever it says", 32), 0);
    fixture_add_layer(fixture, &tar, GZIP);
    assert_refused(fixture, "layer 1 of 1 (sha256:");
}

/* libarchive alone would undo any number of compressions. */
static void compression_inside_of_compression_is_refused(void **state)
{
    struct fixture *fixture = *state;

    for (enum compression inside = GZIP; inside <= ZSTD; inside++)
        for (enum compression outside = GZIP; outside <= ZSTD; outside++) {
            cleanup_free char *path = NULL;
            cleanup_free char *data = NULL;
            struct tar tar;
            size_t size;

            tar_begin(&tar);
            tar_file(&tar, "file", "content");
            fixture_add_layer(fixture, &tar, inside);
            path = layer_path(fixture);
            assert_int_equal(fvm_read_file(path, 1 << 20, &data, &size, NULL), 0);
            fixture_forget_layers(fixture);

            tar = (struct tar){0};
            assert_int_equal(fvm_buffer_append(&tar.bytes, data, size), 0);
            fixture_add_layer(fixture, &tar, outside);
            assert_refused(fixture, "it cannot be read as a tar");
            fixture_forget_layers(fixture);
        }
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Millions of holes, in a layer of a few kilobytes: libarchive would keep them all in memory. */
static void a_map_of_holes_has_a_limit(void **state)
{
    enum { HOLES = 3 << 20 };
    static const char sparse[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
                                 "26 GNU.sparse.name=sparse\n28 GNU.sparse.realsize=1000\n";
    struct fixture *fixture = *state;
    cleanup_buffer struct fvm_buffer map = {0};
    char count[20];
    struct tar tar;

    snprintf(count, sizeof count, "%d\n", HOLES);
    assert_int_equal(fvm_buffer_append(&map, count, strlen(count)), 0);
    for (int i = 0; i < HOLES; i++)
        fvm_buffer_append(&map, "1\n1\n", 4);
    tar_begin(&tar);
    tar_raw_header(&tar, 'x', "pax", sizeof sparse - 1);
    tar_raw_data(&tar, sparse, sizeof sparse - 1);
    tar_raw_header(&tar, '0', "bomb", map.size);
    tar_raw_data(&tar, map.data, map.size);
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_refused(fixture, "an entry's header has more than 8388608 bytes");
}

static void large_content_that_nobody_reads_is_no_header(void **state)
{
    enum { SIZE = 10 << 20 };
    struct fixture *fixture = *state;
    cleanup_free char *zeros = calloc(1, SIZE);
    struct tar tar;

    tar_begin(&tar);
    tar_bytes(&tar, ".wh..wh.aufs", zeros, SIZE, 0644);
    tar_file(&tar, "after", "x");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "", "after");
}

static void limits_hold_for_all_layers_together(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_image_limits limits = fvm_image_default_limits;

    add_lower_layer(fixture);
    add_lower_layer(fixture);
    limits.entries = 7;
    assert_int_equal(fixture_build_limited(fixture, &limits), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "layer 2 of 2");
    limits = fvm_image_default_limits;
    limits.content_bytes = 30; /* 26 each */
    assert_int_equal(fixture_build_limited(fixture, &limits), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "too large together");
    limits = fvm_image_default_limits;
    limits.unpacked_bytes = 15000; /* 10240 each */
    assert_int_equal(fixture_build_limited(fixture, &limits), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "it unpacks to too many bytes");
    limits = fvm_image_default_limits;
    limits.entries = 8; /* in the tars; in the tree there are as many nodes */
    assert_int_equal(fixture_build_limited(fixture, &limits), 0);
}

static void a_symlink_target_has_a_limit(void **state)
{
    struct fixture *fixture = *state;
    char target[4097];
    struct tar tar;

    memset(target, 't', sizeof target);
    target[4095] = '\0';
    tar_begin(&tar);
    tar_symlink(&tar, "link", target);
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    target[4095] = 't';
    target[4096] = '\0';
    tar_begin(&tar);
    tar_symlink(&tar, "link", target);
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "empty or too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_layer_with_another_digest_is_refused),
        fixture_test(a_truncated_layer_is_refused),
        fixture_test(a_layer_with_another_diff_id_is_refused),
        fixture_test(a_layer_that_ends_in_the_middle_is_refused),
        fixture_test(a_last_file_without_padding_is_whole),
        fixture_test(what_is_no_tar_is_refused),
        fixture_test(compression_inside_of_compression_is_refused),
        fixture_test(a_map_of_holes_has_a_limit),
        fixture_test(large_content_that_nobody_reads_is_no_header),
        fixture_test(limits_hold_for_all_layers_together),
        fixture_test(a_symlink_target_has_a_limit),
    };

    return cmocka_run_group_tests_name("layer damage", tests, NULL, NULL);
}
