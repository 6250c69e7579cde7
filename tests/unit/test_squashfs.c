/* SPDX-License-Identifier: MIT */
/* The squashfs itself: sizes around the block size, big directories, and bytes that do not change.
 */
#include "image_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqfs/super.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/squashfs.h"

enum { BLOCK = FVM_SQUASHFS_BLOCK_SIZE };

/* Bytes that differ from block to block, and are never a block of zeros. */
static char *make_content(size_t size)
{
    char *content = malloc(size + 1);

    assert_non_null(content);
    for (size_t i = 0; i < size; i++)
        content[i] = (char)(i * 31 + i / 257 + 1);
    return content;
}

static void files_around_the_block_size_are_whole(void **state)
{
    static const size_t sizes[] = {0,         1,         4095,          4096,      BLOCK - 1,
                                   BLOCK,     BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1,
                                   9 * BLOCK, 777777};
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cleanup_free char *content = make_content(sizes[i]);
        cleanup_free char *name = fvm_format("file-%zu", sizes[i]);

        tar_bytes(&tar, name, content, sizes[i], 0644);
    }
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_int_equal(fixture_build(fixture), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cleanup_free char *content = make_content(sizes[i]);
        cleanup_free char *name = fvm_format("file-%zu", sizes[i]);
        cleanup_entry struct rootfs_entry entry = rootfs_get(fixture->rootfs, name);

        assert_int_equal(entry.size, sizes[i]);
        assert_memory_equal(entry.data, content, sizes[i]);
    }
}

static void zeros_between_content_are_kept(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *content = calloc(5, BLOCK);
    struct tar tar;

    content[BLOCK - 1] = 'a';      /* block 0 ends in it, block 1 is zeros */
    content[2 * BLOCK] = 'b';      /* block 2 begins with it, block 3 is zeros */
    content[4 * BLOCK + 10] = 'c'; /* and a tail */
    tar_begin(&tar);
    tar_bytes(&tar, "holes", content, 4 * BLOCK + 11, 0644);
    tar_bytes(&tar, "zeros", content + 3 * BLOCK, BLOCK, 0644);
    tar_bytes(&tar, "few-zeros", content, 7, 0644);
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_int_equal(fixture_build(fixture), 0);
    {
        cleanup_entry struct rootfs_entry holes = rootfs_get(fixture->rootfs, "holes");
        cleanup_entry struct rootfs_entry zeros = rootfs_get(fixture->rootfs, "zeros");
        cleanup_entry struct rootfs_entry few = rootfs_get(fixture->rootfs, "few-zeros");
        struct stat status;

        assert_int_equal(holes.size, 4 * BLOCK + 11);
        assert_memory_equal(holes.data, content, 4 * BLOCK + 11);
        assert_int_equal(zeros.size, BLOCK);
        assert_memory_equal(zeros.data, content + 3 * BLOCK, BLOCK);
        assert_int_equal(few.size, 7);
        assert_memory_equal(few.data, "\0\0\0\0\0\0\0", 7);
        assert_int_equal(stat(fixture->rootfs, &status), 0);
        assert_true(status.st_size < 2 * BLOCK + 8192);
    }
}

static void a_directory_may_have_thousands_of_names(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    for (int i = 0; i < 3000; i++) {
        char name[100];

        snprintf(name, sizeof name, "big/a-name-that-is-long-enough-to-fill-blocks-%04d", i);
        tar_file(&tar, name, name + 44);
    }
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_int_equal(fixture_build(fixture), 0);
    assert_text(fixture, "big/a-name-that-is-long-enough-to-fill-blocks-0000", "s-0000");
    assert_text(fixture, "big/a-name-that-is-long-enough-to-fill-blocks-1777", "s-1777");
    assert_text(fixture, "big/a-name-that-is-long-enough-to-fill-blocks-2999", "s-2999");
    assert_false(rootfs_has(fixture, "big/a-name-that-is-long-enough-to-fill-blocks-3000"));
}

static void everything_is_stored_uncompressed(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *content = calloc(1, 3 * BLOCK);
    cleanup_close int fd = -1;
    sqfs_super_t super;
    struct stat status;
    struct tar tar;

    memset(content, 'a', 3 * BLOCK);
    tar_begin(&tar);
    tar_bytes(&tar, "a", content, 3 * BLOCK, 0644);
    fixture_add_layer(fixture, &tar, ZSTD);
    assert_int_equal(fixture_build(fixture), 0);
    fd = open(fixture->rootfs, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, &super, sizeof super, 0), sizeof super);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_size > 3 * BLOCK);
    assert_int_equal(status.st_size % 4096, 0);
    assert_int_equal(super.compression_id, SQFS_COMP_GZIP);
    assert_int_equal(super.modification_time, 0);
    assert_int_equal(super.flags, SQFS_FLAG_UNCOMPRESSED_INODES | SQFS_FLAG_UNCOMPRESSED_DATA |
                                      SQFS_FLAG_UNCOMPRESSED_FRAGMENTS |
                                      SQFS_FLAG_UNCOMPRESSED_IDS | SQFS_FLAG_NO_FRAGMENTS |
                                      SQFS_FLAG_NO_XATTRS);
}

static void add_varied_layer(struct fixture *fixture, enum compression compression)
{
    struct tar tar;

    tar_begin(&tar);
    tar_directory(&tar, "z/y/x", 0755);
    tar_file(&tar, "z/y/file", "content");
    tar_hard_link(&tar, "a", "z/y/file");
    tar_symlink(&tar, "m", "z");
    fixture_add_layer(fixture, &tar, compression);
}

static void the_same_layers_give_the_same_bytes(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *first = NULL;
    cleanup_free char *second = NULL;
    size_t first_size;
    size_t second_size;

    add_varied_layer(fixture, GZIP);
    assert_int_equal(fixture_build(fixture), 0);
    assert_int_equal(fvm_read_file(fixture->rootfs, 1 << 20, &first, &first_size, NULL), 0);
    json_array_clear(fixture->layers);
    json_array_clear(fixture->diff_ids);
    add_varied_layer(fixture, ZSTD); /* even if they are compressed in another way */
    assert_int_equal(fixture_build(fixture), 0);
    assert_int_equal(fvm_read_file(fixture->rootfs, 1 << 20, &second, &second_size, NULL), 0);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
}

static void an_empty_tree_is_a_file_system(void **state)
{
    struct fixture *fixture = *state;
    struct tar tar;

    tar_begin(&tar);
    fixture_add_layer(fixture, &tar, PLAIN);
    assert_int_equal(fixture_build(fixture), 0);
    assert_names(fixture, "", "");
}

static void a_file_that_was_not_ended_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int fd = open(fixture->rootfs, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cleanup_squashfs struct fvm_squashfs *squashfs = NULL;
    cleanup_tree struct fvm_tree tree = {0};
    struct fvm_inode *inode = fvm_inode_create(S_IFREG | 0644);

    assert_int_equal(fvm_tree_init(&tree, 10, 10, NULL), 0);
    assert_int_equal(fvm_squashfs_create(fd, &squashfs, NULL), 0);
    fvm_squashfs_begin_file(squashfs);
    assert_int_equal(fvm_squashfs_write(squashfs, "abandoned", 9, NULL), 0);
    fvm_squashfs_begin_file(squashfs);
    assert_int_equal(fvm_squashfs_write(squashfs, "kept", 4, NULL), 0);
    assert_int_equal(fvm_squashfs_end_file(squashfs, &inode->data, NULL), 0);
    assert_int_equal(fvm_tree_put(&tree, tree.root, "file", inode, NULL), 0);
    assert_int_equal(fvm_squashfs_finish(squashfs, &tree, &fixture->error), 0);
    assert_text(fixture, "file", "kept");
}

static void a_full_disk_is_said(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    cleanup_squashfs struct fvm_squashfs *squashfs = NULL;
    cleanup_tree struct fvm_tree tree = {0};

    assert_int_equal(fvm_tree_init(&tree, 10, 10, NULL), 0);
    assert_int_equal(fvm_squashfs_create(fd, &squashfs, NULL), 0);
    assert_int_equal(fvm_squashfs_finish(squashfs, &tree, &fixture->error), -1);
    assert_error(fixture, FLASHVM_IO, "No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(files_around_the_block_size_are_whole),
        fixture_test(zeros_between_content_are_kept),
        fixture_test(a_directory_may_have_thousands_of_names),
        fixture_test(everything_is_stored_uncompressed),
        fixture_test(the_same_layers_give_the_same_bytes),
        fixture_test(an_empty_tree_is_a_file_system),
        fixture_test(a_file_that_was_not_ended_leaves_nothing),
        fixture_test(a_full_disk_is_said),
    };

    return cmocka_run_group_tests_name("squashfs", tests, NULL, NULL);
}
