/* SPDX-License-Identifier: MIT */
/* What an image can be called. */
#include "assertions.h"

#include "base/cleanup.h"
#include "image/name.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

static void names_have_a_kind_and_parts(void **state)
{
    static const struct {
        const char *image;
        enum fvm_image_kind kind;
        const char *reference, *path, *ref_name, *digest;
    } cases[] = {
        {NULL, FVM_IMAGE_EMBEDDED, "localhost/flashvm:python-basic", NULL, NULL, ""},
        {"localhost/flashvm:python-basic", FVM_IMAGE_EMBEDDED, "localhost/flashvm:python-basic",
         NULL, NULL, ""},
        {"localhost/flashvm:python-basic@" DIGEST, FVM_IMAGE_EMBEDDED,
         "localhost/flashvm:python-basic", NULL, NULL, DIGEST},
        {"oci:/a/b", FVM_IMAGE_LAYOUT, "oci:/a/b", "/a/b", NULL, ""},
        {"oci:/a/b/:x", FVM_IMAGE_LAYOUT, "oci:/a/b:x", "/a/b", "x", ""},
        {"oci:/", FVM_IMAGE_LAYOUT, "oci:/", "/", NULL, ""},
        {"oci:/a:registry:5000/x:y", FVM_IMAGE_LAYOUT, "oci:/a:registry:5000/x:y", "/a",
         "registry:5000/x:y", ""},
        {"oci:/a@b:x@y", FVM_IMAGE_LAYOUT, "oci:/a@b:x@y", "/a@b", "x@y", ""},
        {"oci:/a:x@" DIGEST, FVM_IMAGE_LAYOUT, "oci:/a:x", "/a", "x", DIGEST},
        {"oci:/a@" DIGEST, FVM_IMAGE_LAYOUT, "oci:/a", "/a", NULL, DIGEST},
        {"oci:/a b\xff:x", FVM_IMAGE_LAYOUT, "oci:/a b\xff:x", "/a b\xff", "x", ""},
        {DIGEST, FVM_IMAGE_CACHED, "", NULL, NULL, DIGEST},
        {"python:3", FVM_IMAGE_CACHED, "python:3", NULL, NULL, ""},
        {"host:5000/a/b_c:v1.2-x@" DIGEST, FVM_IMAGE_CACHED, "host:5000/a/b_c:v1.2-x", NULL, NULL,
         DIGEST},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_image_name struct fvm_image_name name = {0};
        struct flashvm_error error = {0};

        assert_success(fvm_image_name_parse(cases[i].image, &name, &error), &error);
        assert_int_equal(name.kind, cases[i].kind);
        assert_string_equal(name.reference, cases[i].reference);
        assert_string_equal(name.path ?: "-", cases[i].path ?: "-");
        assert_string_equal(name.ref_name ?: "-", cases[i].ref_name ?: "-");
        assert_string_equal(name.digest, cases[i].digest);
    }
}

static void other_forms_are_refused(void **state)
{
    static const struct {
        const char *image, *message;
    } cases[] = {
        {"", "\"\": it is empty; leave it out for the embedded image"},
        {"oci:", "\"oci:\": it has no path"},
        {"oci::x", "it has no path"},
        {"oci:/a:", "nothing behind its last \":\""},
        {"docker://python:3",
         "\"docker://python:3\": flashVM fetches no images, but `skopeo copy`"},
        {"containers-storage:x", "`skopeo copy` makes an OCI image layout"},
        {"oci-archive:/a.tar", "`skopeo copy` makes an OCI image layout"},
        {"a b", "that is no reference; it can be oci:PATH:REF"},
        {"a@sha256:123", "its digest has not the 64 hexadecimal digits of one"},
        {"sha256:" HEX "0", "its digest has not the 64 hexadecimal digits of one"},
        {"oci:/a@sha256:" HEX "g", "its digest has not the 64 hexadecimal digits of one"},
        {"sha256:" HEX "0@" DIGEST "x", "its digest has not the 64 hexadecimal digits of one"},
        {"caf\xc3\xa9", "that is no reference"},
        {"x\033[2Jy", "\"x?[2Jy\": that is no reference"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct fvm_image_name name = {.path = (char *)"untouched"};
        struct flashvm_error error = {0};

        assert_failure(fvm_image_name_parse(cases[i].image, &name, &error), &error,
                       FLASHVM_INVALID_ARGUMENT, cases[i].message);
        assert_string_equal(name.path, "untouched");
    }
}

static void an_endless_name_is_refused(void **state)
{
    char image[5000];
    struct fvm_image_name name;
    struct flashvm_error error = {0};

    (void)state;
    memset(image, 'a', sizeof image);
    image[sizeof image - 1] = '\0';
    assert_failure(fvm_image_name_parse(image, &name, &error), &error, FLASHVM_INVALID_ARGUMENT,
                   "that is too long");
}

static void a_relative_path_becomes_absolute(void **state)
{
    char *directory = make_own_tmpdir();
    cleanup_free char *with_colon = fvm_format("%s/a:b", directory);
    cleanup_free char *before = getcwd(NULL, 0);
    cleanup_free char *reference = fvm_format("oci:%s/images/python:3", directory);
    struct flashvm_error error = {0};
    cleanup_image_name struct fvm_image_name name = {0};
    struct fvm_image_name other;

    (void)state;
    assert_int_equal(chdir(directory), 0);
    assert_success(fvm_image_name_parse("oci:images/python:3", &name, &error), &error);
    assert_string_equal(name.reference, reference);
    assert_success(fvm_make_directories(with_colon, 0700, &error), &error);
    assert_int_equal(chdir(with_colon), 0);
    assert_failure(fvm_image_name_parse("oci:images:3", &other, &error), &error,
                   FLASHVM_INVALID_ARGUMENT, "the current directory has a \":\"");
    assert_int_equal(chdir(before), 0);
    remove_own_tmpdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_a_kind_and_parts),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(an_endless_name_is_refused),
        cmocka_unit_test(a_relative_path_becomes_absolute),
    };

    return cmocka_run_group_tests_name("image_name", tests, NULL, NULL);
}
