/* SPDX-License-Identifier: MIT */
/* What layers do to the root file system: read back from the squashfs that came out. */
#include "image_fixture.h"

#include <archive_entry.h>
#include <string.h>

/* ---- entries --------------------------------------------------------------------------------- */

static void a_layer_becomes_a_tree(void **state)
{
    struct fixture *fixture = *state;

    for (enum compression compression = PLAIN; compression <= ZSTD; compression++) {
        struct tar tar;

        tar_begin(&tar);
        tar_directory(&tar, "./", 0750);
        tar_directory(&tar, "./dir", 01777);
        tar_file(&tar, "./dir/file", "content\n");
        tar_bytes(&tar, "tool", "#!", 2, 04755);
        tar_symlink(&tar, "link", "dir/file");
        tar_bytes(&tar, "empty", "", 0, 0600);
        fixture_add_layer(fixture, &tar, compression);
        must_build(fixture);
        assert_names(fixture, "", "dir empty link tool");
        assert_text(fixture, "dir/file", "content\n");
        assert_text(fixture, "empty", "");
        {
            cleanup_entry struct rootfs_entry root = rootfs_get(fixture->rootfs, "");
            cleanup_entry struct rootfs_entry dir = rootfs_get(fixture->rootfs, "dir");
            cleanup_entry struct rootfs_entry tool = rootfs_get(fixture->rootfs, "tool");
            cleanup_entry struct rootfs_entry link = rootfs_get(fixture->rootfs, "link");

            assert_int_equal(root.mode, S_IFDIR | 0750);
            assert_int_equal(root.links, 3);
            assert_int_equal(dir.mode, S_IFDIR | 01777);
            assert_int_equal(dir.mtime, 1000);
            assert_int_equal(tool.mode, S_IFREG | 04755);
            assert_string_equal(link.data, "dir/file");
        }
        fixture_forget_layers(fixture);
    }
}

static void owners_modes_and_times_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_owned_file(&tar, "a", 1000, 4000000000, 1754697600);
    tar_owned_file(&tar, "old", 0, 0, -5);
    tar_owned_file(&tar, "new", 0, 0, 1LL << 40);
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    {
        cleanup_entry struct rootfs_entry a = rootfs_get(fixture->rootfs, "a");
        cleanup_entry struct rootfs_entry old = rootfs_get(fixture->rootfs, "old");
        cleanup_entry struct rootfs_entry new = rootfs_get(fixture->rootfs, "new");

        assert_int_equal(a.uid, 1000);
        assert_int_equal(a.gid, 4000000000);
        assert_int_equal(a.mtime, 1754697600);
        assert_int_equal(a.mode, S_IFREG | 04755);
        assert_int_equal(old.mtime, 0);
        assert_int_equal(new.mtime, UINT32_MAX);
    }
}

static void devices_and_fifos_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_device(&tar, "null", AE_IFCHR, 1, 3);
    tar_device(&tar, "disk", AE_IFBLK, 259, 0x12345);
    tar_device(&tar, "pipe", AE_IFIFO, 0, 0);
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    {
        cleanup_entry struct rootfs_entry null = rootfs_get(fixture->rootfs, "null");
        cleanup_entry struct rootfs_entry disk = rootfs_get(fixture->rootfs, "disk");
        cleanup_entry struct rootfs_entry fifo = rootfs_get(fixture->rootfs, "pipe");

        assert_int_equal(null.mode, S_IFCHR | 0600);
        assert_int_equal(null.device, 1 << 8 | 3);
        assert_int_equal(disk.mode, S_IFBLK | 0600);
        assert_int_equal(disk.device, 0x45 | 259 << 8 | 0x123 << 20);
        assert_int_equal(fifo.mode, S_IFIFO | 0600);
    }
}

static void parents_that_are_not_listed_are_made(void **state)
{
    struct fixture *fixture = *state;

    add_single_file(fixture, "/a//b/./c");
    must_build(fixture);
    assert_text(fixture, "a/b/c", "x");
    {
        cleanup_entry struct rootfs_entry made = rootfs_get(fixture->rootfs, "a/b");

        assert_int_equal(made.mode, S_IFDIR | 0755);
        assert_int_equal(made.uid, 0);
        assert_int_equal(made.mtime, 0);
    }
}

static void hard_links_share_an_inode(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "a", "shared");
    tar_symlink(&tar, "dir", "real");
    tar_directory(&tar, "real", 0755);
    tar_hard_link(&tar, "dir/b", "./a");
    tar_hard_link(&tar, "a", "a"); /* to itself: nothing happens */
    fixture_add_layer(fixture, &tar, PLAIN);
    tar_begin(&tar);
    tar_hard_link(&tar, "c", "dir/b"); /* into a lower layer, through a symlink */
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    {
        cleanup_entry struct rootfs_entry a = rootfs_get(fixture->rootfs, "a");
        cleanup_entry struct rootfs_entry b = rootfs_get(fixture->rootfs, "real/b");
        cleanup_entry struct rootfs_entry c = rootfs_get(fixture->rootfs, "c");

        assert_int_equal(a.links, 3);
        assert_int_equal(a.number, b.number);
        assert_int_equal(a.number, c.number);
        assert_string_equal(b.data, "shared");
    }
}

static void an_overwritten_hard_link_leaves_the_others(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "a", "old");
    tar_hard_link(&tar, "b", "a");
    fixture_add_layer(fixture, &tar, PLAIN);
    tar_begin(&tar);
    tar_file(&tar, "a", "new");
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    assert_text(fixture, "a", "new");
    assert_text(fixture, "b", "old");
}

static void a_hard_link_may_replace_the_directory_of_its_target(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_file(&tar, "a/b", "content");
    tar_hard_link(&tar, "a", "a/b");
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    assert_text(fixture, "a", "content");
}

static void a_hard_link_needs_a_file_as_target(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_hard_link(&tar, "link", "nowhere");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "entry \"link\": the target \"nowhere\" of the hard link is missing");
    fixture_forget_layers(fixture);
    tar_begin(&tar);
    tar_directory(&tar, "dir", 0755);
    tar_hard_link(&tar, "link", "dir");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "is a directory");
}

static void a_sparse_file_is_read_with_its_holes(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t size = 5 * 1024 * 1024 + 3;
    struct tar tar;

    tar_begin(&tar);
    tar_sparse_file(&tar, "sparse", size);
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    {
        cleanup_entry struct rootfs_entry sparse = rootfs_get(fixture->rootfs, "sparse");
        struct stat status;

        assert_int_equal(sparse.size, size);
        assert_string_equal(sparse.data + size - 3, "end");
        for (uint64_t i = 0; i < size - 3; i++)
            assert_int_equal(sparse.data[i], 0);
        assert_int_equal(stat(fixture->rootfs, &status), 0);
        assert_true(status.st_size < 16 * 1024);
    }
}

static void an_empty_blob_is_an_empty_layer(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar = {0};

    add_single_file(fixture, "a");
    fixture_add_layer(fixture, &tar, PLAIN);
    must_build(fixture);
    assert_names(fixture, "", "a");
}

/* ---- whiteouts ------------------------------------------------------------------------------- */

static void a_whiteout_removes_what_lower_layers_have(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, "dir/.wh.a", "");
    tar_file(&tar, "dir/.wh.sub", "");
    tar_file(&tar, ".wh.file", "");
    tar_file(&tar, ".wh.nothing", "");
    tar_file(&tar, "nowhere/.wh.nothing", "");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "", "dir");
    assert_names(fixture, "dir", "b");
}

static void a_whiteout_spares_its_own_layer(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, "dir/a", "upper a"); /* before its whiteout */
    tar_file(&tar, "dir/.wh.a", "");
    tar_file(&tar, "dir/.wh.b", "");
    tar_file(&tar, "dir/b", "upper b"); /* after it */
    tar_file(&tar, "dir/sub/d", "upper d");
    tar_file(&tar, "dir/.wh.sub", "");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "dir", "a b sub");
    assert_text(fixture, "dir/a", "upper a");
    assert_text(fixture, "dir/b", "upper b");
    assert_names(fixture, "dir/sub", "d");
}

static void an_opaque_directory_hides_lower_children_only(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, "dir/new", "first");
    tar_file(&tar, "dir/.wh..wh..opq", "");
    tar_file(&tar, "dir/sub/new", "second");
    tar_file(&tar, "dir/.wh..wh..opq", "");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "dir", "new sub");
    assert_names(fixture, "dir/sub", "new");
    assert_text(fixture, "file", "lower");
}

static void an_opaque_root_hides_everything_below(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, ".wh..wh..opq", "");
    tar_file(&tar, "only", "this");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "", "only");
}

static void a_later_layer_may_hide_again(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    for (int i = 0; i < 2; i++) {
        tar_begin(&tar);
        tar_file(&tar, "dir/.wh..wh..opq", "");
        tar_file(&tar, i ? "dir/third" : "dir/second", "");
        fixture_add_layer(fixture, &tar, GZIP);
    }
    must_build(fixture);
    assert_names(fixture, "dir", "third");
}

/* As umoci writes it. */
static void children_of_a_directory_that_became_a_file_may_be_hidden(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, "dir", "now a file");
    tar_file(&tar, "dir/.wh.a", "");
    tar_file(&tar, "dir/sub/.wh.c", "");
    tar_file(&tar, "dir/.wh..wh..opq", "");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_text(fixture, "dir", "now a file");
}

static void odd_whiteouts_are_refused_or_ignored(void **state)
{
    static const char *const refused[] = {".wh.", ".wh..", ".wh...", "dir/.wh.", ".wh.dir/file"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        add_single_file(fixture, refused[i]);
        assert_refused(fixture, "whiteout");
        fixture_forget_layers(fixture);
    }
    add_single_file(fixture, ".wh..wh.plnk/123.456"); /* of aufs */
    add_single_file(fixture, ".wh..wh.aufs");
    must_build(fixture);
    assert_names(fixture, "", "");
}

/* ---- replacing ------------------------------------------------------------------------------- */

static void a_file_may_replace_a_directory_and_the_reverse(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_file(&tar, "dir", "now a file");
    tar_directory(&tar, "file", 0700);
    tar_file(&tar, "file/inside", "x");
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "", "dir file");
    assert_text(fixture, "dir", "now a file");
    assert_text(fixture, "file/inside", "x");
}

static void a_directory_listed_again_keeps_its_children(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    add_lower_layer(fixture);
    tar_begin(&tar);
    tar_directory(&tar, "dir", 0711);
    fixture_add_layer(fixture, &tar, GZIP);
    must_build(fixture);
    assert_names(fixture, "dir", "a b sub");
    {
        cleanup_entry struct rootfs_entry dir = rootfs_get(fixture->rootfs, "dir");

        assert_int_equal(dir.mode, S_IFDIR | 0711);
        assert_int_equal(dir.mtime, 1000);
    }
}

static void the_root_stays_a_directory(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    tar_symlink(&tar, "./", "/etc");
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_refused(fixture, "it would replace the root directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_layer_becomes_a_tree),
        fixture_test(owners_modes_and_times_are_kept),
        fixture_test(devices_and_fifos_are_kept),
        fixture_test(parents_that_are_not_listed_are_made),
        fixture_test(hard_links_share_an_inode),
        fixture_test(an_overwritten_hard_link_leaves_the_others),
        fixture_test(a_hard_link_may_replace_the_directory_of_its_target),
        fixture_test(a_hard_link_needs_a_file_as_target),
        fixture_test(a_sparse_file_is_read_with_its_holes),
        fixture_test(an_empty_blob_is_an_empty_layer),
        fixture_test(a_whiteout_removes_what_lower_layers_have),
        fixture_test(a_whiteout_spares_its_own_layer),
        fixture_test(an_opaque_directory_hides_lower_children_only),
        fixture_test(an_opaque_root_hides_everything_below),
        fixture_test(a_later_layer_may_hide_again),
        fixture_test(children_of_a_directory_that_became_a_file_may_be_hidden),
        fixture_test(odd_whiteouts_are_refused_or_ignored),
        fixture_test(a_file_may_replace_a_directory_and_the_reverse),
        fixture_test(a_directory_listed_again_keeps_its_children),
        fixture_test(the_root_stays_a_directory),
    };

    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
