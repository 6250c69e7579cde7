/* SPDX-License-Identifier: MIT */
/* Images by any name: from layouts and from the cache; what the cache lists, and its clearing. */
#include "assertions.h"
#include "image_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "image/image.h"
#include "image/rootfs_cache.h"

#define EMBEDDED "localhost/flashvm:python-basic"
#define NO_HEX   "0000000000000000000000000000000000000000000000000000000000000000"

/* Another image of the layout each time: one file more. */
static void add_image(struct fixture *fixture)
{
    struct tar tar;
    char *path = NULL;

    tar_begin(&tar);
    tar_bytes(&tar, "usr/bin/python3", "#!", 2, 0755);
    fixture_add_layer(fixture, &tar, GZIP);
    fixture_write_layout(fixture);
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
    free(path);
}

static void count_unpacking(void *count, const char *stage)
{
    *(int *)count += strcmp(stage, "unpacking the image") == 0;
}

/*
 * Prepare an image and give it back.
 * Return: its full name, to be freed. @ret_unpacked: may be NULL; was it not in the cache?
 */
static char *prepare(struct fixture *fixture, const char *image, bool *ret_unpacked)
{
    struct fvm_image ready;
    int count = 0;
    struct fvm_caller caller = {
        .progress = count_unpacking, .progress_data = &count, .interrupt_fd = -1};
    char *name;

    if (fvm_image_prepare(fixture->data_dir, fixture->cache, image, &caller, &ready,
                          &fixture->error) < 0)
        fail_msg("%s: %s", image ? image : "NULL", fixture->error.message);
    name = fvm_image_full_name(&ready);
    assert_string_equal(ready.python, "/usr/bin/python3");
    fvm_image_finish(&ready);
    if (ret_unpacked)
        *ret_unpacked = count > 0;
    return name;
}

static void assert_no_image(struct fixture *fixture, const char *image, enum flashvm_status status,
                            const char *part)
{
    struct fvm_caller caller = FVM_CALLER_NONE;
    struct fvm_image ready;

    assert_int_equal(fvm_image_prepare(fixture->data_dir, fixture->cache, image, &caller, &ready,
                                       &fixture->error),
                     -1);
    assert_error(fixture, status, part);
}

static void free_images(struct flashvm_cached_images **images)
{
    flashvm_cached_images_free(*images);
}
#define cleanup_images __attribute__((cleanup(free_images)))

static struct flashvm_cached_images *list(struct fixture *fixture)
{
    struct flashvm_cached_images *images = NULL;

    assert_success(fvm_cached_images_list(fixture->cache, &images, &fixture->error),
                   &fixture->error);
    return images;
}

static size_t count_images(struct fixture *fixture)
{
    cleanup_images struct flashvm_cached_images *images = list(fixture);

    return images->image_count;
}

static uint64_t clear(struct fixture *fixture)
{
    uint64_t freed_bytes = 0;

    assert_success(fvm_cached_images_clear(fixture->cache, &freed_bytes, &fixture->error),
                   &fixture->error);
    return freed_bytes;
}

/* A path in the directory of the entries; to be freed. */
static char *entry_path(const struct fixture *fixture, const char *full_name, const char *ending)
{
    return fvm_format("%s/rootfs/%s-v%d%s", fixture->cache, strrchr(full_name, ':') + 1,
                      FVM_ROOTFS_FORMAT, ending);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void what_a_run_used_can_be_asked_for_again(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *layout = fvm_format("oci:%s", fixture->layout);
    cleanup_free char *layout_ref = fvm_format("oci:%s:python-basic", fixture->layout);
    const char *const images[] = {NULL, EMBEDDED, layout, layout_ref};

    add_image(fixture);
    for (size_t i = 0; i < LENGTH(images); i++) {
        cleanup_free char *first = prepare(fixture, images[i], NULL);
        cleanup_free char *again = prepare(fixture, first, NULL);
        const char *expected = images[i] ? images[i] : EMBEDDED;

        assert_string_equal(first, again);
        assert_memory_equal(first, expected, strlen(expected));
        assert_memory_equal(first + strlen(expected), "@sha256:", 8);
    }
}

static void names_of_one_image_share_one_entry(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *layout = fvm_format("oci:%s:python-basic", fixture->layout);
    cleanup_images struct flashvm_cached_images *images = NULL;
    bool unpacked;

    add_image(fixture);
    free(prepare(fixture, NULL, &unpacked));
    assert_true(unpacked);
    for (int i = 0; i < 2; i++) {
        free(prepare(fixture, layout, &unpacked));
        assert_false(unpacked);
        free(prepare(fixture, NULL, &unpacked));
        assert_false(unpacked);
    }
    images = list(fixture);
    assert_int_equal(images->image_count, 1);
    assert_string_equal(images->images[0]->reference, EMBEDDED);
    assert_string_equal(images->images[0]->references[0], EMBEDDED);
    assert_string_equal(images->images[0]->references[1], layout);
    assert_null(images->images[0]->references[2]);
}

static void a_cached_image_outlives_its_layout(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *layout = fvm_format("oci:%s", fixture->layout);
    cleanup_free char *full_name = NULL;
    cleanup_free char *by_name = NULL;
    cleanup_free char *by_digest = NULL;
    bool unpacked;

    add_image(fixture);
    full_name = prepare(fixture, layout, NULL);
    fvm_remove_tree(fixture->data_dir);
    by_name = prepare(fixture, full_name, &unpacked);
    assert_string_equal(by_name, full_name);
    assert_false(unpacked);
    by_digest = prepare(fixture, strrchr(full_name, '@') + 1, &unpacked);
    assert_string_equal(by_digest, full_name);
    assert_no_image(fixture, layout, FLASHVM_NOT_FOUND, fixture->layout);
    clear(fixture);
    assert_no_image(fixture, full_name, FLASHVM_NOT_FOUND, fixture->layout);
    assert_no_image(fixture, strrchr(full_name, '@') + 1, FLASHVM_NOT_FOUND, "is not in the cache");
}

static void a_digest_beats_a_name_that_has_moved_on(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *layout = fvm_format("oci:%s:python-basic", fixture->layout);
    cleanup_free char *old = NULL;
    cleanup_free char *new = NULL;
    cleanup_free char *again = NULL;
    bool unpacked;

    add_image(fixture);
    old = prepare(fixture, layout, NULL);
    add_image(fixture);
    new = prepare(fixture, layout, &unpacked);
    assert_true(unpacked);
    assert_string_not_equal(old, new);
    again = prepare(fixture, old, NULL);
    assert_string_equal(again, old);
    clear(fixture);
    assert_no_image(fixture, old, FLASHVM_NOT_FOUND, "its names are: python-basic");
    free(prepare(fixture, new, &unpacked)); /* the layout still has it */
    assert_true(unpacked);
}

static void an_embedded_image_of_another_version_is_not_taken_for_this_one(void **state)
{
    struct fixture *fixture = *state;

    add_image(fixture);
    assert_no_image(fixture, EMBEDDED "@sha256:" NO_HEX, FLASHVM_NOT_FOUND,
                    "the embedded image is another one by now");
}

/* A reference that the cache knows: no layout is asked. */
static void a_reference_means_the_image_used_last(void **state)
{
    struct fixture *fixture = *state;
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cleanup_free char *old = NULL;
    cleanup_free char *new = NULL;
    cleanup_free char *json = NULL;

    add_image(fixture);
    old = prepare(fixture, NULL, NULL);
    add_image(fixture);
    new = prepare(fixture, NULL, NULL);
    /* As a later version, which builds images, would name them. */
    for (int i = 0; i < 2; i++) {
        cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};

        assert_int_equal(fvm_rootfs_cache_open(fixture->cache, false, &cache, &fixture->error), 0);
        fvm_rootfs_cache_note_use(&cache, strrchr(i ? old : new, '@') + 1, "localhost/mine:1");
    }
    json = entry_path(fixture, old, ".json");
    assert_int_equal(utimensat(AT_FDCWD, json, long_ago, 0), 0);
    {
        cleanup_free char *found = prepare(fixture, "localhost/mine:1", NULL);

        assert_string_equal(strrchr(found, '@'), strrchr(new, '@'));
        assert_memory_equal(found, "localhost/mine:1@", 17);
    }
    assert_no_image(fixture, "localhost/mime:1", FLASHVM_NOT_FOUND,
                    "\"localhost/mime:1\" is not in the cache; the nearest that can be used is "
                    "localhost/mine:1.");
}

static void an_empty_cache_suggests_the_embedded_image(void **state)
{
    add_image(*state);
    assert_no_image(*state, "python:3", FLASHVM_NOT_FOUND,
                    "the nearest that can be used is " EMBEDDED);
}

static void an_image_without_python_leaves_no_entry(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *layout = fvm_format("oci:%s", fixture->layout);
    cleanup_free char *message = fvm_format("cannot use the image %s in ", layout);
    char *path = NULL;

    add_single_file(fixture, "hello");
    fixture_write_layout(fixture);
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
    free(path);
    assert_no_image(fixture, layout, FLASHVM_IMAGE_INVALID, "it has no Python");
    assert_no_image(fixture, layout, FLASHVM_IMAGE_INVALID, message);
    assert_int_equal(count_images(fixture), 0);
}

static void a_name_need_not_be_utf_8(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *odd = fvm_format("%s/\xff", fixture->dir);
    cleanup_free char *layout = fvm_format("oci:%s", odd);
    cleanup_free char *first = NULL;
    cleanup_free char *again = NULL;

    add_image(fixture);
    assert_int_equal(symlink(fixture->layout, odd), 0);
    first = prepare(fixture, layout, NULL);
    again = prepare(fixture, first, NULL);
    assert_string_equal(first, again);
    assert_memory_equal(first, layout, strlen(layout));
    assert_int_equal(count_images(fixture), 1);
}

static void only_the_newest_names_are_kept(void **state)
{
    struct fixture *fixture = *state;
    cleanup_images struct flashvm_cached_images *images = NULL;
    size_t count = 0;

    add_image(fixture);
    for (int i = 0; i < 20; i++) {
        cleanup_free char *path = fvm_format("%s/link-%d", fixture->dir, i);
        cleanup_free char *layout = fvm_format("oci:%s", path);

        assert_int_equal(symlink(fixture->layout, path), 0);
        free(prepare(fixture, layout, NULL));
    }
    images = list(fixture);
    assert_int_equal(images->image_count, 1);
    while (images->images[0]->references[count])
        count++;
    assert_int_equal(count, 16);
    assert_non_null(strstr(images->images[0]->references[0], "link-4"));
    assert_non_null(strstr(images->images[0]->references[15], "link-19"));
}

/* ---- the list -------------------------------------------------------------------------------- */

static void the_list_tells_sizes_and_times(void **state)
{
    struct fixture *fixture = *state;
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cleanup_images struct flashvm_cached_images *images = NULL;
    cleanup_free char *old = NULL;
    cleanup_free char *new = NULL;
    cleanup_free char *json = NULL;
    cleanup_free char *rootfs = NULL;
    int64_t before = time(NULL);
    struct stat status;

    assert_int_equal(count_images(fixture), 0); /* and no cache directory yet */
    add_image(fixture);
    old = prepare(fixture, NULL, NULL);
    add_image(fixture);
    new = prepare(fixture, NULL, NULL);
    json = entry_path(fixture, old, ".json");
    rootfs = entry_path(fixture, new, ".squashfs");
    assert_int_equal(utimensat(AT_FDCWD, json, long_ago, 0), 0);
    images = list(fixture);
    assert_int_equal(images->image_count, 2);
    assert_string_equal(images->images[0]->digest, strrchr(new, '@') + 1);
    assert_string_equal(images->images[1]->digest, strrchr(old, '@') + 1);
    assert_int_equal(stat(rootfs, &status), 0);
    assert_int_equal(images->images[0]->size_bytes, status.st_size);
    assert_in_range(images->images[0]->made_at, before, time(NULL));
    assert_in_range(images->images[0]->used_at, before, time(NULL) + 1);
    assert_int_equal(images->images[1]->used_at, 1000);
    free(prepare(fixture, old, NULL)); /* to use it is to bring it to the front */
    flashvm_cached_images_free(images);
    images = list(fixture);
    assert_in_range(images->images[1]->used_at, before, time(NULL) + 1);
}

static void a_damaged_entry_is_not_listed(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *name = NULL;
    cleanup_free char *json = NULL;
    static const char *const damages[] = {"", "{}", "[]", "{\"manifest\": 5}"};

    add_image(fixture);
    name = prepare(fixture, NULL, NULL);
    json = entry_path(fixture, name, ".json");
    for (size_t i = 0; i < LENGTH(damages); i++) {
        assert_int_equal(count_images(fixture), 1);
        assert_int_equal(unlink(json), 0);
        write_text(json, damages[i]);
        assert_int_equal(count_images(fixture), 0);
        free(prepare(fixture, NULL, NULL));
    }
}

/* ---- clearing -------------------------------------------------------------------------------- */

static void clearing_removes_all_entries(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *rootfs = fvm_format("%s/rootfs", fixture->cache);
    cleanup_free char *name = NULL;
    cleanup_free char *path = NULL;
    bool unpacked;
    struct stat status;
    uint64_t freed;

    assert_int_equal(clear(fixture), 0); /* not even a directory is needed */
    add_image(fixture);
    name = prepare(fixture, NULL, NULL);
    path = entry_path(fixture, name, ".squashfs");
    assert_int_equal(stat(path, &status), 0);
    freed = clear(fixture);
    assert_true(freed >= (uint64_t)status.st_size);
    assert_int_equal(count_images(fixture), 0);
    assert_int_equal(rmdir(rootfs), 0); /* nothing is left in it, no lock either */
    assert_int_equal(clear(fixture), 0);
    free(prepare(fixture, NULL, &unpacked));
    assert_true(unpacked);
}

static void what_dead_makers_and_other_versions_left_goes_too(void **state)
{
    static const char *const left[] = {
        NO_HEX "-v1.squashfs", NO_HEX "-v1.json",         NO_HEX "-v1.lock",
        NO_HEX "-v99.json",    NO_HEX "-v2.squashfs.tmp", NO_HEX "-v2.json.tmp",
    };
    struct fixture *fixture = *state;
    cleanup_free char *rootfs = fvm_format("%s/rootfs", fixture->cache);
    uint64_t bytes = 0; /* on the disk */

    assert_int_equal(fvm_make_directories(rootfs, 0700, NULL), 0);
    for (size_t i = 0; i < LENGTH(left); i++) {
        cleanup_free char *path = fvm_format("%s/%s", rootfs, left[i]);
        struct stat status;

        write_text(path, "12345");
        assert_int_equal(stat(path, &status), 0);
        bytes += (uint64_t)status.st_blocks * 512;
    }
    assert_int_equal(count_images(fixture), 0);
    assert_int_equal(clear(fixture), bytes);
    assert_int_equal(rmdir(rootfs), 0);
}

static void what_is_not_flashvms_stays(void **state)
{
    static const char *const others[] = {
        "notes.txt",           NO_HEX ".json", NO_HEX "-v.json",   NO_HEX "-v2.txt",
        NO_HEX "-v2.json.bak", "x-v2.json",    NO_HEX "0-v2.json",
    };
    struct fixture *fixture = *state;
    cleanup_free char *rootfs = fvm_format("%s/rootfs", fixture->cache);
    cleanup_free char *target = fvm_format("%s/target", fixture->dir);
    cleanup_free char *link = fvm_format("%s/" NO_HEX "-v2.squashfs", rootfs);
    cleanup_free char *directory = fvm_format("%s/" NO_HEX "-v2.json", rootfs);
    cleanup_free char *inside = fvm_format("%s/file", directory);
    cleanup_free char *beside = fvm_format("%s/kvm-probe", fixture->cache);

    assert_int_equal(fvm_make_directories(directory, 0700, NULL), 0);
    write_text(inside, "");
    write_text(beside, "");
    write_text(target, "precious");
    assert_int_equal(symlink(target, link), 0);
    for (size_t i = 0; i < LENGTH(others); i++) {
        cleanup_free char *path = fvm_format("%s/%s", rootfs, others[i]);

        write_text(path, "");
    }
    assert_int_equal(clear(fixture), 0);
    assert_int_equal(access(target, F_OK), 0);
    assert_int_equal(access(inside, F_OK), 0);
    assert_int_equal(access(beside, F_OK), 0);
    for (size_t i = 0; i < LENGTH(others); i++) {
        cleanup_free char *path = fvm_format("%s/%s", rootfs, others[i]);

        assert_int_equal(access(path, F_OK), 0);
    }
}

static void a_symlink_in_the_place_of_the_directory_is_not_followed(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *rootfs = fvm_format("%s/rootfs", fixture->cache);
    cleanup_free char *elsewhere = fvm_format("%s/elsewhere", fixture->dir);
    cleanup_free char *file = fvm_format("%s/" NO_HEX "-v2.json", elsewhere);
    uint64_t freed = 0;

    assert_int_equal(fvm_make_directories(elsewhere, 0700, NULL), 0);
    assert_int_equal(fvm_make_directories(fixture->cache, 0700, NULL), 0);
    write_text(file, "");
    assert_int_equal(symlink(elsewhere, rootfs), 0);
    assert_int_equal(fvm_cached_images_clear(fixture->cache, &freed, &fixture->error), -1);
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, "it is not a directory");
    assert_int_equal(access(file, F_OK), 0);
}

static void an_image_in_use_survives_by_its_descriptor(void **state)
{
    struct fixture *fixture = *state;
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    struct fvm_caller caller = FVM_CALLER_NONE;
    char magic[4];

    add_image(fixture);
    assert_int_equal(fvm_image_prepare(fixture->data_dir, fixture->cache, NULL, &caller, &image,
                                       &fixture->error),
                     0);
    clear(fixture);
    assert_int_equal(access(image.rootfs_path, F_OK), -1);
    assert_int_equal(pread(image.rootfs_fd, magic, 4, 0), 4);
    assert_memory_equal(magic, "hsqs", 4);
}

/* ---- locks ----------------------------------------------------------------------------------- */

static void what_a_living_maker_holds_is_left(void **state)
{
    struct fixture *fixture = *state;
    cleanup_rootfs_cache struct fvm_rootfs_cache cache = {.fd = -1};
    cleanup_free char *name = NULL;
    struct fvm_caller caller = FVM_CALLER_NONE;
    int lock_fd;

    add_image(fixture);
    name = prepare(fixture, NULL, NULL);
    assert_int_equal(fvm_rootfs_cache_open(fixture->cache, false, &cache, &fixture->error), 0);
    assert_int_equal(
        fvm_rootfs_cache_lock(&cache, strrchr(name, '@') + 1, &caller, &lock_fd, &fixture->error),
        0);
    assert_int_equal(clear(fixture), 0);
    assert_int_equal(count_images(fixture), 1);
    close(lock_fd);
    assert_true(clear(fixture) > 0);
    assert_int_equal(count_images(fixture), 0);
}

/* Two who believed to hold one lock would write one temporary file. */
static void a_lock_that_was_removed_is_not_held(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int directory_fd = -1;
    cleanup_close int first = -1;
    cleanup_close int second = -1;
    int third, ready[2];
    pid_t waiter;
    char byte;
    int status;

    assert_int_equal(mkdir(fixture->cache, 0700), 0);
    assert_int_equal(
        fvm_cache_open_directory(fixture->cache, "part", true, &directory_fd, &fixture->error), 0);
    assert_int_equal(fvm_cache_try_lock(directory_fd, "key", &first, &fixture->error), 1);
    assert_int_equal(pipe(ready), 0);
    waiter = fork();
    assert_true(waiter >= 0);
    if (waiter ==
        0) { /* waits for the file that is about to be removed, and must take the new one */
        struct fvm_caller caller = FVM_CALLER_NONE;
        int fd;

        close(first); /* a copy of the parent's would keep it locked */
        if (write(ready[1], "x", 1) != 1 ||
            fvm_cache_lock(directory_fd, "key", &caller, "", &fd, NULL) < 0)
            _exit(1);
        _exit(fvm_cache_try_lock(directory_fd, "key", &third, NULL) != 0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    usleep(50 * 1000);
    assert_int_equal(unlinkat(directory_fd, "key.lock", 0), 0);
    assert_int_equal(fvm_cache_try_lock(directory_fd, "key", &second, &fixture->error), 1);
    fvm_cleanup_close(&first); /* wakes the waiter, who now holds a file without a name */
    first = -1;
    usleep(50 * 1000);
    assert_int_equal(waitpid(waiter, &status, WNOHANG), 0); /* it waits for the second one */
    fvm_cleanup_close(&second);
    second = -1;
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
}

/* Whatever the order: every maker gets its image, and no entry is half made. */
static void makers_and_clearers_do_not_disturb_each_other(void **state)
{
    enum { MAKERS = 4, CLEARERS = 2, ROUNDS = 30 };
    struct fixture *fixture = *state;
    pid_t children[MAKERS + CLEARERS];

    add_image(fixture);
    for (int i = 0; i < MAKERS + CLEARERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] > 0)
            continue;
        for (int round = 0; round < ROUNDS; round++) {
            struct fvm_caller caller = FVM_CALLER_NONE;
            struct fvm_image image;
            uint64_t freed = 0;
            char magic[4];

            if (i >= MAKERS) {
                if (fvm_cached_images_clear(fixture->cache, &freed, &fixture->error) < 0)
                    _exit(2);
                continue;
            }
            if (fvm_image_prepare(fixture->data_dir, fixture->cache, NULL, &caller, &image,
                                  &fixture->error) < 0) {
                print_message("%s\n", fixture->error.message);
                _exit(3);
            }
            if (pread(image.rootfs_fd, magic, 4, 0) != 4 || memcmp(magic, "hsqs", 4) != 0)
                _exit(4);
            fvm_image_finish(&image);
        }
        _exit(0);
    }
    for (int i = 0; i < MAKERS + CLEARERS; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(what_a_run_used_can_be_asked_for_again),
        fixture_test(names_of_one_image_share_one_entry),
        fixture_test(a_cached_image_outlives_its_layout),
        fixture_test(a_digest_beats_a_name_that_has_moved_on),
        fixture_test(an_embedded_image_of_another_version_is_not_taken_for_this_one),
        fixture_test(a_reference_means_the_image_used_last),
        fixture_test(an_empty_cache_suggests_the_embedded_image),
        fixture_test(an_image_without_python_leaves_no_entry),
        fixture_test(a_name_need_not_be_utf_8),
        fixture_test(only_the_newest_names_are_kept),
        fixture_test(the_list_tells_sizes_and_times),
        fixture_test(a_damaged_entry_is_not_listed),
        fixture_test(clearing_removes_all_entries),
        fixture_test(what_dead_makers_and_other_versions_left_goes_too),
        fixture_test(what_is_not_flashvms_stays),
        fixture_test(a_symlink_in_the_place_of_the_directory_is_not_followed),
        fixture_test(an_image_in_use_survives_by_its_descriptor),
        fixture_test(what_a_living_maker_holds_is_left),
        fixture_test(a_lock_that_was_removed_is_not_held),
        fixture_test(makers_and_clearers_do_not_disturb_each_other),
    };

    return cmocka_run_group_tests_name("cached_images", tests, NULL, NULL);
}
