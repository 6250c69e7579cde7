/* SPDX-License-Identifier: MIT */
/* Reading an OCI image layout: which image is found, and what is refused. */
#include "image_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"
#define CONFIG_TYPE   "application/vnd.oci.image.config.v1+json"

static void add_a_layer(struct fixture *fixture)
{
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "hello", "hello\n");
    fixture_add_layer(fixture, &tar, GZIP);
}

/* The parts of a layout, each to be changed before the next is made of it. */
static json_t *add_manifest(struct fixture *fixture)
{
    cleanup_json json_t *config = fixture_config(fixture);
    cleanup_json json_t *config_descriptor = fixture_add_json(fixture, CONFIG_TYPE, config);
    cleanup_json json_t *manifest = fixture_manifest(fixture, config_descriptor);

    return fixture_add_json(fixture, MANIFEST_TYPE, manifest);
}

/* As a manifest of other content, so that its digest differs. */
static json_t *add_other_manifest(struct fixture *fixture)
{
    cleanup_json json_t *config = fixture_config(fixture);
    cleanup_json json_t *config_descriptor = fixture_add_json(fixture, CONFIG_TYPE, config);
    cleanup_json json_t *manifest = fixture_manifest(fixture, config_descriptor);

    json_object_set_new(manifest, "annotations", json_pack("{s:s}", "other", "yes"));
    return fixture_add_json(fixture, MANIFEST_TYPE, manifest);
}

static json_t *platform(const char *os, const char *architecture)
{
    return json_pack("{s:s, s:s}", "os", os, "architecture", architecture);
}

static int find(struct fixture *fixture, struct fvm_descriptor *ret_manifest)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};

    if (fvm_oci_open(fixture->layout, &oci, &fixture->error) < 0)
        return -1;
    return fvm_oci_find(&oci, "python-basic", NULL, ret_manifest, &fixture->error);
}

/* Find and load, and give the result up. */
static int load(struct fixture *fixture)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    struct fvm_descriptor manifest;

    if (fvm_oci_open(fixture->layout, &oci, &fixture->error) < 0 ||
        fvm_oci_find(&oci, "python-basic", NULL, &manifest, &fixture->error) < 0)
        return -1;
    return fvm_oci_load(&oci, &manifest, &image, &fixture->error);
}

static void index_of(struct fixture *fixture, json_t *descriptor)
{
    cleanup_json json_t *index = fixture_index(descriptor, "python-basic");

    fixture_write_index(fixture, index);
}

/* A layout whose manifest is this one. */
static void layout_of_manifest(struct fixture *fixture, const json_t *manifest)
{
    cleanup_json json_t *descriptor = fixture_add_json(fixture, MANIFEST_TYPE, manifest);

    index_of(fixture, descriptor);
}

static void layout_of_config(struct fixture *fixture, const json_t *config)
{
    cleanup_json json_t *descriptor = fixture_add_json(fixture, CONFIG_TYPE, config);
    cleanup_json json_t *manifest = fixture_manifest(fixture, descriptor);

    layout_of_manifest(fixture, manifest);
}

static json_t *good_manifest(struct fixture *fixture)
{
    cleanup_json json_t *config = fixture_config(fixture);
    cleanup_json json_t *descriptor = fixture_add_json(fixture, CONFIG_TYPE, config);

    return fixture_manifest(fixture, descriptor);
}

static void a_layout_gives_layers_and_config(void **state)
{
    struct fixture *fixture = *state;
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    add_a_layer(fixture);
    fixture_write_layout(fixture);
    assert_int_equal(fvm_oci_open(fixture->layout, &oci, &fixture->error), 0);
    assert_int_equal(fvm_oci_find(&oci, "python-basic", NULL, &manifest, &fixture->error), 0);
    assert_int_equal(fvm_oci_load(&oci, &manifest, &image, &fixture->error), 0);
    assert_string_equal(image.manifest.digest, manifest.digest);
    assert_int_equal(image.layer_count, 2);
    assert_true(fvm_digest_is_valid(image.layers[1].diff_id));
    assert_string_equal(image.config.env[0], "PATH=/usr/bin:/bin");
    assert_string_equal(image.config.env[1], "LANG=C.UTF-8");
    assert_null(image.config.env[2]);
    assert_string_equal(image.config.working_dir, "/work");
    assert_string_equal(image.config.user, "1000:1000");
}

static void a_missing_layout_or_name_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor manifest;
    cleanup_json json_t *descriptor = NULL;
    cleanup_json json_t *index = NULL;

    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_NOT_FOUND, "oci-layout");
    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    index = fixture_index(descriptor, "python-other");
    fixture_write_index(fixture, index);
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_NOT_FOUND, "names no image \"python-basic\"");
}

static void the_manifest_of_this_platform_is_chosen(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *mine = NULL;
    cleanup_json json_t *other = NULL;
    cleanup_json json_t *nested = NULL;
    cleanup_json json_t *nested_descriptor = NULL;
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    mine = add_manifest(fixture);
    other = add_other_manifest(fixture);
    json_object_set_new(mine, "platform", platform("linux", "amd64"));
    json_object_set_new(other, "platform", platform("linux", "arm64"));
    nested = json_pack("{s:i, s:s, s:[O, O]}", "schemaVersion", 2, "mediaType", INDEX_TYPE,
                       "manifests", other, mine);
    nested_descriptor = fixture_add_json(fixture, INDEX_TYPE, nested);
    index_of(fixture, nested_descriptor);
    assert_int_equal(find(fixture, &manifest), 0);
    assert_string_equal(manifest.digest, json_string_value(json_object_get(mine, "digest")));
}

static void another_platform_alone_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    json_object_set_new(descriptor, "platform", platform("linux", "arm64"));
    index_of(fixture, descriptor);
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_NOT_FOUND, "for linux/amd64");
}

static void one_name_for_two_images_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *one = NULL;
    cleanup_json json_t *two = NULL;
    cleanup_json json_t *index = NULL;
    cleanup_json json_t *more = NULL;
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    one = add_manifest(fixture);
    two = add_other_manifest(fixture);
    index = fixture_index(one, "python-basic");
    more = fixture_index(two, "python-basic");
    json_array_extend(json_object_get(index, "manifests"), json_object_get(more, "manifests"));
    fixture_write_index(fixture, index);
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "two different images");
}

static void indexes_nested_without_end_are_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    for (int depth = 0; depth < 6; depth++) {
        cleanup_json json_t *index =
            json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", steal_pointer(descriptor));

        descriptor = fixture_add_json(fixture, INDEX_TYPE, index);
    }
    index_of(fixture, descriptor);
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "nested too deeply");
}

static void many_indexes_are_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *empty = json_pack("{s:i, s:[]}", "schemaVersion", 2, "manifests");
    cleanup_json json_t *nested = fixture_add_json(fixture, INDEX_TYPE, empty);
    cleanup_json json_t *entries = json_array();
    cleanup_json json_t *wide = NULL;
    cleanup_json json_t *descriptor = NULL;
    struct fvm_descriptor manifest;

    for (int i = 0; i < 100; i++)
        json_array_append(entries, nested);
    wide = json_pack("{s:i, s:O}", "schemaVersion", 2, "manifests", entries);
    descriptor = fixture_add_json(fixture, INDEX_TYPE, wide);
    index_of(fixture, descriptor);
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "nested too deeply");
}

static void a_manifest_with_another_digest_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;
    cleanup_free char *path = NULL;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    index_of(fixture, descriptor);
    path = fvm_format("%s/blobs/sha256/%s", fixture->layout,
                      json_string_value(json_object_get(descriptor, "digest")) + 7);
    {
        cleanup_free char *text = NULL;
        size_t size;

        assert_int_equal(fvm_read_file(path, 1 << 20, &text, &size, NULL), 0);
        text[size - 1] = ' '; /* of the same size */
        write_text(path, text);
    }
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "its content has the digest");
}

static void a_size_that_differs_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    json_object_set_new(descriptor, "size", json_integer(17));
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "its descriptor says 17");
    json_object_set_new(descriptor, "size", json_integer(-1));
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "no valid size");
}

static void a_digest_that_is_a_path_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    json_object_set_new(descriptor, "digest", json_string("sha256:../../index.json"));
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "64 lower-case hex digits");
}

static void unknown_media_types_are_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *manifest = NULL;
    cleanup_json json_t *descriptor = NULL;

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    json_object_set_new(descriptor, "mediaType", json_string("application/json"));
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "not that of an image");

    manifest = good_manifest(fixture);
    json_object_set_new(json_object_get(manifest, "config"), "mediaType",
                        json_string("application/vnd.oci.empty.v1+json"));
    layout_of_manifest(fixture, manifest);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "its config is not that of an image");

    json_decref(manifest);
    manifest = good_manifest(fixture);
    json_object_set_new(json_array_get(json_object_get(manifest, "layers"), 0), "mediaType",
                        json_string("application/vnd.oci.image.layer.v1.tar+xz"));
    layout_of_manifest(fixture, manifest);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "layer.v1.tar+xz\", which flashVM cannot unpack");
}

static void a_document_must_be_what_its_descriptor_says(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *manifest = NULL;

    add_a_layer(fixture);
    manifest = good_manifest(fixture);
    json_object_set_new(manifest, "mediaType", json_string(INDEX_TYPE));
    layout_of_manifest(fixture, manifest);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "contradicts the descriptor");
    json_object_del(manifest, "mediaType"); /* it is optional */
    layout_of_manifest(fixture, manifest);
    assert_int_equal(load(fixture), 0);
    json_object_set_new(manifest, "schemaVersion", json_integer(1));
    layout_of_manifest(fixture, manifest);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "schemaVersion is not 2");
}

static void docker_media_types_are_understood(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *manifest = NULL;
    cleanup_json json_t *descriptor = NULL;

    add_a_layer(fixture);
    manifest = good_manifest(fixture);
    json_object_set_new(manifest, "mediaType",
                        json_string("application/vnd.docker.distribution.manifest.v2+json"));
    json_object_set_new(json_object_get(manifest, "config"), "mediaType",
                        json_string("application/vnd.docker.container.image.v1+json"));
    json_object_set_new(json_array_get(json_object_get(manifest, "layers"), 0), "mediaType",
                        json_string("application/vnd.docker.image.rootfs.diff.tar.gzip"));
    descriptor =
        fixture_add_json(fixture, "application/vnd.docker.distribution.manifest.v2+json", manifest);
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), 0);
}

static void a_config_for_another_platform_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *config = NULL;

    add_a_layer(fixture);
    config = fixture_config(fixture);
    json_object_set_new(config, "architecture", json_string("arm64"));
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "it is for \"linux/arm64\"");
}

static void diff_ids_must_match_the_layers(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *config = NULL;
    json_t *diff_ids;

    add_a_layer(fixture);
    config = fixture_config(fixture);
    diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    json_array_append(diff_ids, json_array_get(diff_ids, 0));
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "do not match the 1 layers");
    json_array_remove(diff_ids, 1);
    json_array_set_new(diff_ids, 0, json_string("sha256:0"));
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "entry 0 of its diff_ids is no digest");
}

static void an_image_without_layers_is_refused(void **state)
{
    struct fixture *fixture = *state;

    fixture_write_layout(fixture);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "it has 0 layers");
}

static void a_config_may_leave_things_out(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *config = NULL;

    add_a_layer(fixture);
    config = fixture_config(fixture);
    json_object_set_new(json_object_get(config, "config"), "Env", json_null());
    json_object_del(json_object_get(config, "config"), "User");
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), 0);
    json_object_del(config, "config");
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), 0);
}

static void a_config_with_a_bad_environment_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *config = NULL;

    add_a_layer(fixture);
    config = fixture_config(fixture);
    json_object_set_new(json_object_get(config, "config"), "Env", json_pack("[s]", "=value"));
    layout_of_config(fixture, config);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "entry 0 of \"Env\"");
}

static void json_that_can_be_read_in_two_ways_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *path = fvm_format("%s/index.json", fixture->layout);
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    fixture_write_layout(fixture);
    write_text(path, "{\"schemaVersion\": 2, \"manifests\": [], \"manifests\": []}");
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "invalid JSON");
    write_text(path, "{\"schemaVersion\": 2, ");
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "invalid JSON");
    write_text(path, "[]");
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "not an object");
}

static void an_enormous_json_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *descriptor = NULL;
    cleanup_free char *path = fvm_format("%s/index.json", fixture->layout);

    add_a_layer(fixture);
    descriptor = add_manifest(fixture);
    json_object_set_new(descriptor, "size", json_integer((4 << 20) + 1));
    index_of(fixture, descriptor);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "the limit is 4194304");
    assert_int_equal(truncate(path, (4 << 20) + 1), 0);
    assert_int_equal(load(fixture), -1);
    assert_error(fixture, FLASHVM_IO, "the limit is 4194304");
}

static void an_unknown_layout_version_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *path = fvm_format("%s/oci-layout", fixture->layout);
    struct fvm_descriptor manifest;

    add_a_layer(fixture);
    fixture_write_layout(fixture);
    write_text(path, "{\"imageLayoutVersion\": \"2.0.0\"}");
    assert_int_equal(find(fixture, &manifest), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "imageLayoutVersion is not 1.0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_layout_gives_layers_and_config),
        fixture_test(a_missing_layout_or_name_is_not_found),
        fixture_test(the_manifest_of_this_platform_is_chosen),
        fixture_test(another_platform_alone_is_not_found),
        fixture_test(one_name_for_two_images_is_refused),
        fixture_test(indexes_nested_without_end_are_refused),
        fixture_test(many_indexes_are_refused),
        fixture_test(a_manifest_with_another_digest_is_refused),
        fixture_test(a_size_that_differs_is_refused),
        fixture_test(a_digest_that_is_a_path_is_refused),
        fixture_test(unknown_media_types_are_refused),
        fixture_test(a_document_must_be_what_its_descriptor_says),
        fixture_test(docker_media_types_are_understood),
        fixture_test(a_config_for_another_platform_is_refused),
        fixture_test(diff_ids_must_match_the_layers),
        fixture_test(an_image_without_layers_is_refused),
        fixture_test(a_config_may_leave_things_out),
        fixture_test(a_config_with_a_bad_environment_is_refused),
        fixture_test(json_that_can_be_read_in_two_ways_is_refused),
        fixture_test(an_enormous_json_is_not_read),
        fixture_test(an_unknown_layout_version_is_refused),
    };

    return cmocka_run_group_tests_name("oci", tests, NULL, NULL);
}
