/* SPDX-License-Identifier: MIT */
/* Where an entry lands by its name, and the names that are refused. */
#include "image_fixture.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"

/* An empty file whose name is in a pax header, without a hdrcharset. */
static void add_pax_file(struct tar *tar, const char *name)
{
    char record[400];
    size_t size = strlen(name) + strlen("00 path=\n");

    snprintf(record, sizeof record, "%02zu path=%s\n", size, name);
    tar_raw_header(tar, 'x', "pax", size);
    tar_raw_data(tar, record, size);
    tar_raw_header(tar, '0', "short", 0);
}

static void end_raw(struct tar *tar)
{
    static const char zeros[1024];

    tar_raw_data(tar, zeros, sizeof zeros);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void a_layer_cannot_escape_through_dotdot(void **state)
{
    static const char *const names[] = {"../evil", "a/../../evil", "/../evil", "a/..", ".."};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cleanup_free char *expected = fvm_format("entry \"%s\": its path has a \"..\"", names[i]);

        add_single_file(fixture, names[i]);
        assert_refused(fixture, expected);
        fixture_forget_layers(fixture);
    }
}

static void a_hard_link_cannot_escape_through_dotdot(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_hard_link(&tar, "passwd", "../../../etc/passwd");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "the target \"../../../etc/passwd\" of the hard link: its path has a");
}

static void a_symlinked_parent_is_followed_inside_the_tree(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_directory(&tar, "usr/lib", 0755);
    tar_symlink(&tar, "lib", "usr/lib");
    tar_symlink(&tar, "usr/up", "../../../../../lib"); /* a chroot's root is its own parent */
    tar_symlink(&tar, "abs", "/usr");
    tar_symlink(&tar, "dangling", "var/run");
    tar_file(&tar, "lib/one", "1");
    tar_file(&tar, "usr/up/two", "2");
    tar_file(&tar, "abs/lib/three", "3");
    tar_file(&tar, "dangling/four", "4");
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    assert_names(fixture, "", "abs dangling lib usr var");
    assert_names(fixture, "usr/lib", "one three two");
    assert_text(fixture, "var/run/four", "4");
    {
        cleanup_entry struct rootfs_entry lib = rootfs_get(fixture->rootfs, "lib");

        assert_int_equal(lib.mode & S_IFMT, S_IFLNK); /* still */
    }
}

static void a_symlink_loop_ends(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_symlink(&tar, "a", "b");
    tar_symlink(&tar, "b", "a");
    tar_file(&tar, "a/file", "x");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "entry \"a/file\": its path leads through too many symlinks");
}

static void a_file_is_no_directory(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "a", "x");
    tar_file(&tar, "a/b", "y");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "entry \"a/b\": a part of its path is not a directory");
}

static void a_symlink_is_replaced_not_followed(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "target", "untouched");
    tar_symlink(&tar, "a", "target");
    tar_file(&tar, "a", "new");
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    assert_text(fixture, "target", "untouched");
    assert_text(fixture, "a", "new");
}

static void names_of_255_bytes_are_kept(void **state)
{
    struct fixture *fixture = *state;
    char name[257];

    memset(name, 'n', sizeof name);
    name[255] = '\0';
    add_single_file(fixture, name);
    must_build(fixture);
    assert_text(fixture, name, "x");
    name[255] = 'n';
    name[256] = '\0';
    add_single_file(fixture, name);
    assert_refused(fixture, "a name has more than 255 bytes");
}

static void deep_paths_are_kept_up_to_a_limit(void **state)
{
    struct fixture *fixture = *state;
    cleanup_buffer struct fvm_buffer path = {0};

    for (int i = 0; i < 255; i++)
        fvm_buffer_append(&path, "directory/", strlen("directory/"));
    fvm_buffer_append(&path, "file", 4);
    add_single_file(fixture, path.data);
    must_build(fixture);
    assert_text(fixture, path.data, "x");
    fvm_buffer_append(&path, "/file", 5);
    fixture_forget_layers(fixture);
    add_single_file(fixture, path.data);
    assert_refused(fixture, "nested deeper than 256");
}

/* libarchive would compose them, or replace what is not UTF-8; and its warnings depend on the
 * locale. */
static void names_are_bytes_in_every_locale(void **state)
{
    static const char *const names[] = {
        "caf\xc3\xa9",
        "cafe\xcc\x81",
        "latin-\xe9",
        "\xf0\x9f\x98\x80",
    };
    static const char *const locales[] = {"C", "C.UTF-8"};
    struct fixture *fixture = *state;

    for (size_t l = 0; l < sizeof locales / sizeof locales[0]; l++) {
        struct tar tar = {0};

        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            add_pax_file(&tar, names[i]);
        end_raw(&tar);
        fixture_add_layer(fixture, &tar, PLAIN);
        assert_non_null(setlocale(LC_ALL, locales[l]));
        must_build(fixture);
        assert_string_equal(setlocale(LC_ALL, NULL), locales[l]);
        setlocale(LC_ALL, "C");
        assert_names(fixture, "", "cafe\xcc\x81 caf\xc3\xa9 latin-\xe9 \xf0\x9f\x98\x80");
        fixture_forget_layers(fixture);
    }
}

static void messages_have_no_control_characters(void **state)
{
    struct fixture *fixture = *state;

    add_single_file(fixture, "\x1b[2J/../x");
    assert_refused(fixture, "entry \"?[2J/../x\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_layer_cannot_escape_through_dotdot),
        fixture_test(a_hard_link_cannot_escape_through_dotdot),
        fixture_test(a_symlinked_parent_is_followed_inside_the_tree),
        fixture_test(a_symlink_loop_ends),
        fixture_test(a_file_is_no_directory),
        fixture_test(a_symlink_is_replaced_not_followed),
        fixture_test(names_of_255_bytes_are_kept),
        fixture_test(deep_paths_are_kept_up_to_a_limit),
        fixture_test(names_are_bytes_in_every_locale),
        fixture_test(messages_have_no_control_characters),
    };

    return cmocka_run_group_tests_name("layer names", tests, NULL, NULL);
}
