/* SPDX-License-Identifier: MIT */
/* Digests as strings, and blobs that are believed only when theirs is right. */
#include "image_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/blob.h"

#define HEX63 "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b"

static void only_lower_case_sha256_is_a_digest(void **state)
{
    static const char *const bad[] = {
        "",
        "sha256:",
        HEX63 "7",
        "sha256:" HEX63,
        "sha256:" HEX63 "70",
        "sha256:" HEX63 "A",
        "sha256:" HEX63 "g",
        "sha256:" HEX63 "/",
        "SHA256:" HEX63 "7",
        "sha512:" HEX63 "7",
        " sha256:" HEX63 "7",
        "sha256:" HEX63 "7\n",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/passwd0",
    };

    (void)state;
    assert_true(fvm_digest_is_valid("sha256:" HEX63 "7"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (fvm_digest_is_valid(bad[i]))
            fail_msg("\"%s\" passed", bad[i]);
}

/* Add a blob. Return: its descriptor as the code under test knows it. */
static struct fvm_descriptor add_text(struct fixture *fixture, const char *text)
{
    cleanup_json json_t *json = fixture_add_blob(fixture, "text/plain", text, strlen(text));
    struct fvm_descriptor descriptor = {.size_bytes = strlen(text)};

    strcpy(descriptor.digest, json_string_value(json_object_get(json, "digest")));
    return descriptor;
}

static char *blob_path(const struct fixture *fixture, const struct fvm_descriptor *descriptor)
{
    return fvm_format("%s/blobs/sha256/%s", fixture->layout, descriptor->digest + 7);
}

static int load(struct fixture *fixture, const struct fvm_descriptor *descriptor, size_t limit,
                char **ret_data)
{
    cleanup_close int fd = open(fixture->layout, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fvm_blob_load(fd, descriptor, limit, ret_data, &fixture->error);
}

static void a_blob_with_the_right_digest_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    struct fvm_descriptor empty = add_text(fixture, "");
    cleanup_free char *data = NULL;
    cleanup_free char *nothing = NULL;

    assert_int_equal(load(fixture, &descriptor, 100, &data), 0);
    assert_string_equal(data, "content");
    assert_int_equal(load(fixture, &empty, 100, &nothing), 0);
    assert_string_equal(nothing, "");
}

static void a_changed_blob_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    cleanup_free char *path = blob_path(fixture, &descriptor);
    char *data = NULL;

    write_text(path, "kontent");
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "its content has the digest sha256:");
    assert_null(data);
}

static void a_truncated_or_grown_blob_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    cleanup_free char *path = blob_path(fixture, &descriptor);
    char *data = NULL;

    assert_int_equal(truncate(path, 6), 0);
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "it has 6 bytes, its descriptor says 7");
    write_text(path, "content and more");
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "it has 16 bytes");
}

static void a_blob_that_shrinks_while_it_is_read_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    cleanup_free char *path = blob_path(fixture, &descriptor);
    cleanup_close int fd = open(fixture->layout, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_blob struct fvm_blob blob = {.fd = -1};

    assert_int_equal(fvm_blob_open(fd, &descriptor, &blob, &fixture->error), 0);
    assert_int_equal(truncate(path, 3), 0);
    assert_int_equal(fvm_blob_verify(&blob, &fixture->error), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "is damaged");
}

static void a_blob_over_the_limit_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    char *data = NULL;

    assert_int_equal(load(fixture, &descriptor, 6, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "the limit is 6");
}

static void a_blob_must_be_a_regular_file(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = add_text(fixture, "content");
    cleanup_free char *path = blob_path(fixture, &descriptor);
    cleanup_free char *aside = fvm_format("%s/aside", fixture->dir);
    char *data = NULL;

    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "is missing");
    assert_int_equal(symlink(aside, path), 0); /* the content would even be right */
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "is missing");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID, "not a regular file");
}

static void an_unchecked_digest_opens_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_descriptor descriptor = {.digest = "sha256:../../oci-layout", .size_bytes = 1};
    char *data = NULL;

    assert_int_equal(load(fixture, &descriptor, 100, &data), -1);
    assert_error(fixture, FLASHVM_INTERNAL, "unchecked digest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_lower_case_sha256_is_a_digest),
        fixture_test(a_blob_with_the_right_digest_is_read),
        fixture_test(a_changed_blob_is_refused),
        fixture_test(a_truncated_or_grown_blob_is_refused),
        fixture_test(a_blob_that_shrinks_while_it_is_read_is_refused),
        fixture_test(a_blob_over_the_limit_is_not_read),
        fixture_test(a_blob_must_be_a_regular_file),
        fixture_test(an_unchecked_digest_opens_nothing),
    };

    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
