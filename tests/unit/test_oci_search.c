/* SPDX-License-Identifier: MIT */
/* Which image of a layout is meant, and what an error tells of those that there are. */
#include "image_fixture.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"
#define CONFIG_TYPE   "application/vnd.oci.image.config.v1+json"

/* An index.json entry for an image of its own. A new reference. */
static json_t *add_entry(struct fixture *fixture, const char *name)
{
    cleanup_json json_t *config = fixture_config(fixture);
    cleanup_json json_t *config_descriptor = fixture_add_json(fixture, CONFIG_TYPE, config);
    cleanup_json json_t *manifest = fixture_manifest(fixture, config_descriptor);
    json_t *entry;

    json_object_set_new(manifest, "annotations", json_pack("{s:s}", "note", name));
    entry = fixture_add_json(fixture, MANIFEST_TYPE, manifest);
    if (*name)
        json_object_set_new(entry, "annotations",
                            json_pack("{s:s}", "org.opencontainers.image.ref.name", name));
    return entry;
}

static void set_platform(json_t *entry, const char *os, const char *architecture)
{
    json_object_set_new(entry, "platform",
                        json_pack("{s:s, s:s}", "os", os, "architecture", architecture));
}

/* @entries: given up. */
static void write_index(struct fixture *fixture, json_t *entries)
{
    cleanup_json json_t *index = json_pack("{s:i, s:o}", "schemaVersion", 2, "manifests", entries);

    fixture_write_index(fixture, index);
}

static int find(struct fixture *fixture, const char *ref_name, const char *digest,
                struct fvm_descriptor *ret_manifest)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};

    if (fvm_oci_open(fixture->layout, &oci, &fixture->error) < 0)
        return -1;
    return fvm_oci_find(&oci, ref_name, digest, ret_manifest, &fixture->error);
}

static const char *digest_of_entry(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "digest"));
}

static void assert_found(struct fixture *fixture, const char *ref_name, const char *digest,
                         const json_t *entry)
{
    struct fvm_descriptor manifest;

    if (find(fixture, ref_name, digest, &manifest) < 0)
        fail_msg("%s", fixture->error.message);
    assert_string_equal(manifest.digest, digest_of_entry(entry));
}

static void assert_not_found(struct fixture *fixture, const char *ref_name, const char *digest,
                             enum flashvm_status status, const char *part)
{
    struct fvm_descriptor manifest;

    assert_int_equal(find(fixture, ref_name, digest, &manifest), -1);
    assert_error(fixture, status, part);
}

static void the_only_image_needs_no_name(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *mine = add_entry(fixture, "");
    cleanup_json json_t *other = add_entry(fixture, "arm");
    cleanup_json json_t *signature = add_entry(fixture, "signature");
    cleanup_json json_t *odd = add_entry(fixture, "odd");

    set_platform(other, "linux", "arm64");
    json_object_set_new(signature, "artifactType", json_string("application/x-signature"));
    json_object_set_new(odd, "mediaType", json_string("application/x-odd"));
    write_index(fixture, json_pack("[O, O, O, O, O]", other, signature, odd, mine, mine));
    assert_found(fixture, NULL, NULL, mine);
    json_object_set_new(mine, "platform", json_null()); /* some tool's way of leaving it out */
    write_index(fixture, json_pack("[O, O]", other, mine));
    assert_found(fixture, NULL, NULL, mine);
}

static void without_a_name_there_must_be_one_image(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *slim = add_entry(fixture, "slim");
    cleanup_json json_t *full = add_entry(fixture, "full\n");

    write_index(fixture, json_pack("[O, O]", slim, full));
    assert_not_found(fixture, NULL, NULL, FLASHVM_INVALID_ARGUMENT,
                     "has more than one image for linux/amd64; say which one, by its name: slim, "
                     "full?");
    assert_found(fixture, "slim", NULL, slim);
    assert_found(fixture, "full\n", NULL, full);
    json_object_del(slim, "annotations");
    json_object_del(full, "annotations");
    write_index(fixture, json_pack("[O, O]", slim, full));
    assert_not_found(fixture, NULL, NULL, FLASHVM_INVALID_ARGUMENT, "none has one");
    assert_found(fixture, NULL, digest_of_entry(full), full);
}

static void an_error_lists_the_names_and_platforms(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *slim = add_entry(fixture, "slim");
    cleanup_json json_t *arm = add_entry(fixture, "arm");
    json_t *many = json_array();

    set_platform(arm, "linux", "arm64");
    write_index(fixture, json_pack("[O, O]", slim, arm));
    assert_not_found(fixture, "slimm", NULL, FLASHVM_NOT_FOUND,
                     "names no image \"slimm\" for linux/amd64; its names are: slim, arm");
    assert_not_found(fixture, "arm", NULL, FLASHVM_NOT_FOUND, "; there is one for linux/arm64");
    write_index(fixture, json_array());
    assert_not_found(fixture, NULL, NULL, FLASHVM_NOT_FOUND,
                     "names no image for linux/amd64; it names none");
    for (int i = 0; i < 30; i++)
        json_array_append(many, slim);
    write_index(fixture, many);
    assert_not_found(fixture, "x", NULL, FLASHVM_NOT_FOUND, "slim, slim, …");
}

static void a_digest_finds_a_manifest_wherever_it_is(void **state)
{
    struct fixture *fixture = *state;
    cleanup_json json_t *one = add_entry(fixture, "one");
    cleanup_json json_t *two = add_entry(fixture, "two");
    cleanup_json json_t *arm = add_entry(fixture, "arm");
    cleanup_json json_t *index = NULL;
    cleanup_json json_t *nested = NULL;

    set_platform(arm, "linux", "arm64");
    index = json_pack("{s:i, s:[O, O]}", "schemaVersion", 2, "manifests", arm, two);
    nested = fixture_add_json(fixture, INDEX_TYPE, index);
    write_index(fixture, json_pack("[O, O]", one, nested));
    assert_found(fixture, NULL, digest_of_entry(one), one);
    assert_found(fixture, NULL, digest_of_entry(two), two);
    assert_found(fixture, NULL, digest_of_entry(nested), two); /* of an index: what it leads to */
    assert_not_found(fixture, NULL, digest_of_entry(arm), FLASHVM_NOT_FOUND, "linux/arm64");
    assert_not_found(fixture, NULL,
                     "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                     FLASHVM_NOT_FOUND, "no image sha256:0000");
}

static void layers_of_every_media_type_are_taken(void **state)
{
    static const char *const types[] = {
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        add_single_file(fixture, "x");
        json_object_set_new(json_array_get(fixture->layers, i), "mediaType", json_string(types[i]));
    }
    must_build(fixture);
    assert_text(fixture, "x", "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_only_image_needs_no_name),
        fixture_test(without_a_name_there_must_be_one_image),
        fixture_test(an_error_lists_the_names_and_platforms),
        fixture_test(a_digest_finds_a_manifest_wherever_it_is),
        fixture_test(layers_of_every_media_type_are_taken),
    };

    return cmocka_run_group_tests_name("oci_search", tests, NULL, NULL);
}
