/* SPDX-License-Identifier: MIT */
/* The cache: where it is, whose it is, and that an entry is made once, whole, or again. */
#include "assertions.h"
#include "damage.h"
#include "image_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "image/image.h"

/* ---- the directory --------------------------------------------------------------------------- */

static void assert_default_cache(struct fixture *fixture, const char *expected)
{
    cleanup_free char *path = NULL;
    struct stat status;

    assert_int_equal(fvm_cache_open(NULL, &path, &fixture->error), 0);
    assert_string_equal(path, expected);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
}

static void the_default_is_under_xdg_cache_home_or_home(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *xdg = fvm_format("%s/xdg", fixture->dir);
    cleanup_free char *home = fvm_format("%s/home", fixture->dir);
    cleanup_free char *in_xdg = fvm_format("%s/flashvm", xdg);
    cleanup_free char *in_home = fvm_format("%s/.cache/flashvm", home);

    setenv("HOME", home, 1);
    setenv("XDG_CACHE_HOME", xdg, 1);
    assert_default_cache(fixture, in_xdg);
    setenv("XDG_CACHE_HOME", "relative/path", 1); /* to be ignored, says XDG */
    assert_default_cache(fixture, in_home);
    setenv("XDG_CACHE_HOME", "", 1);
    assert_default_cache(fixture, in_home);
    unsetenv("XDG_CACHE_HOME");
    assert_default_cache(fixture, in_home);
}

/* As another user, in a child, so that the real home is left alone. Return: is the message right?
 */
static bool fails_as_user(uid_t user, enum flashvm_status expected, const char *part)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct flashvm_error error = {0};
        char *path = NULL;

        if (setuid(user) < 0 || fvm_cache_open(NULL, &path, &error) == 0)
            _exit(2);
        if (error.status == expected && strstr(error.message, part))
            _exit(0);
        print_message("%s\n", error.message);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static void without_home_the_password_database_is_asked(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");
    const uid_t unknown = 3999999999;

    (void)state;
    if (!is_root()) {
        print_message("needs root, to become a user whose home cannot be written\n");
        skip();
    }
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_non_null(nobody);
    assert_true(fails_as_user(nobody->pw_uid, FLASHVM_IO, nobody->pw_dir));
    setenv("HOME", "not/absolute", 1);
    assert_true(fails_as_user(nobody->pw_uid, FLASHVM_IO, nobody->pw_dir));
    assert_true(fails_as_user(unknown, FLASHVM_NOT_FOUND, "set XDG_CACHE_HOME"));
}

static void a_relative_directory_becomes_absolute(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *before = getcwd(NULL, 0);
    cleanup_free char *path = NULL;
    cleanup_free char *expected = NULL;

    assert_int_equal(chdir(fixture->dir), 0);
    expected = fvm_format("%s/some/where", fixture->dir);
    assert_int_equal(fvm_cache_open("some/where", &path, &fixture->error), 0);
    assert_int_equal(chdir(before), 0);
    assert_string_equal(path, expected);
    assert_int_equal(fvm_cache_open("", &path, &fixture->error), -1);
    assert_error(fixture, FLASHVM_INVALID_ARGUMENT, "is empty");
}

/* Root makes a directory of another user's; others find one of root's. */
static const char *directory_of_another(const struct fixture *fixture)
{
    if (geteuid() != 0)
        return "/usr";
    assert_int_equal(mkdir(fixture->cache, 0700), 0);
    assert_int_equal(chown(fixture->cache, 65534, 65534), 0);
    return fixture->cache;
}

static void a_directory_of_another_user_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *directory = directory_of_another(fixture);
    cleanup_free char *expected =
        fvm_format("the cache directory %s belongs to user id ", directory);
    char *path = NULL;

    assert_int_equal(fvm_cache_open(directory, &path, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "name another by FLASHVM_CACHE_DIR"));
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, expected);
    assert_null(path);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
    static const mode_t modes[] = {0770, 0777, 01777, 0702};
    struct fixture *fixture = *state;
    cleanup_free char *path = NULL;

    assert_int_equal(mkdir(fixture->cache, 0700), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(fixture->cache, modes[i]), 0);
        assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), -1);
        assert_error(fixture, FLASHVM_CACHE_UNSAFE, "chmod go-w");
    }
    assert_int_equal(chmod(fixture->cache, 0755), 0);
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
}

static void a_part_that_others_may_write_is_refused(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *part = fvm_format("%s/rootfs", fixture->cache);
    cleanup_free char *aside = fvm_format("%s/elsewhere", fixture->dir);
    cleanup_free char *path = NULL;
    int fd;

    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
    assert_int_equal(mkdir(part, 0700), 0);
    assert_int_equal(chmod(part, 0777), 0);
    free(steal_pointer(path));
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), -1);
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, part);
    assert_int_equal(fvm_cache_open_directory(fixture->cache, "rootfs", true, &fd, &fixture->error),
                     -1);
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, part);
    assert_int_equal(rmdir(part), 0);
    assert_int_equal(mkdir(aside, 0700), 0);
    assert_int_equal(symlink(aside, part), 0);
    assert_int_equal(fvm_cache_open_directory(fixture->cache, "rootfs", true, &fd, &fixture->error),
                     -1);
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, "it is not a directory");
}

static void a_place_that_cannot_be_made_is_said_with_the_remedy(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *inside = fvm_format("%s/inside", fixture->cache);
    char *path = NULL;

    write_text(fixture->cache, "");
    assert_int_equal(fvm_cache_open(inside, &path, &fixture->error), -1);
    assert_error(fixture, FLASHVM_IO,
                 "no place for the cache (FLASHVM_CACHE_DIR can name a directory for it): ");
}

static void a_file_in_its_place_is_said(void **state)
{
    struct fixture *fixture = *state;
    char *path = NULL;

    write_text(fixture->cache, "");
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "name another place by FLASHVM_CACHE_DIR"));
    assert_error(fixture, FLASHVM_CACHE_UNSAFE, "it is not a directory");
}

/* ---- the image ------------------------------------------------------------------------------- */

static void add_image(struct fixture *fixture)
{
    struct tar tar;
    char *path = NULL;

    tar_begin(&tar);
    tar_file(&tar, "hello", "hello\n");
    tar_bytes(&tar, "usr/bin/python3", "#!", 2, 0755);
    tar_bytes(&tar, "big", fixture, sizeof *fixture, 0755);
    fixture_add_layer(fixture, &tar, GZIP);
    fixture_write_layout(fixture);
    assert_int_equal(fvm_cache_open(fixture->cache, &path, &fixture->error), 0);
    free(path);
}

struct stages {
    int unpacking;
    int waiting;
};

static void count_stage(void *data, const char *stage)
{
    struct stages *stages = data;

    assert_non_null(stage);
    if (strncmp(stage, "waiting", 7) == 0)
        __atomic_add_fetch(&stages->waiting, 1, __ATOMIC_SEQ_CST);
    else
        __atomic_add_fetch(&stages->unpacking, 1, __ATOMIC_SEQ_CST);
}

static int prepare(struct fixture *fixture, struct stages *stages, struct fvm_image *ret_image)
{
    struct fvm_caller caller = {
        .progress = count_stage, .progress_data = stages, .interrupt_fd = -1};

    return fvm_image_prepare(fixture->data_dir, fixture->cache, NULL, &caller, ret_image,
                             &fixture->error);
}

/* Prepare it, look at it, give it back. Return: how often it was unpacked. */
static int prepared_by_unpacking(struct fixture *fixture)
{
    struct stages stages = {0};
    struct fvm_image image;

    if (prepare(fixture, &stages, &image) < 0)
        fail_msg("%s", fixture->error.message);
    free(fixture->rootfs);
    fixture->rootfs = strdup(image.rootfs_path);
    assert_text(fixture, "hello", "hello\n");
    fvm_image_finish(&image);
    return stages.unpacking;
}

/* The path of the entry's file with this ending. */
static char *entry_path(const struct fixture *fixture, const char *ending)
{
    cleanup_free char *directory = fvm_format("%s/rootfs", fixture->cache);
    cleanup_dir DIR *listing = opendir(directory);
    struct dirent *entry;

    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        size_t length = strlen(entry->d_name);

        if (length > strlen(ending) && strcmp(entry->d_name + length - strlen(ending), ending) == 0)
            return fvm_format("%s/%s", directory, entry->d_name);
    }
    return NULL;
}

static void an_image_is_unpacked_once(void **state)
{
    struct fixture *fixture = *state;
    struct stages stages = {0};
    struct fvm_image image;
    struct stat status;

    add_image(fixture);
    assert_false(fvm_image_is_cached(fixture->data_dir, fixture->cache));
    assert_int_equal(prepare(fixture, &stages, &image), 0);
    assert_int_equal(stages.unpacking, 1);
    assert_string_equal(image.reference, "localhost/flashvm:python-basic");
    assert_true(fvm_digest_is_valid(image.digest));
    assert_string_equal(image.config.env[1], "LANG=C.UTF-8");
    assert_string_equal(image.config.working_dir, "/work");
    assert_string_equal(image.config.user, "1000:1000");
    assert_int_equal(fcntl(image.rootfs_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(image.rootfs_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(image.rootfs_fd, &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0444);
    fvm_image_finish(&image);
    assert_true(fvm_image_is_cached(fixture->data_dir, fixture->cache));
    assert_int_equal(prepared_by_unpacking(fixture), 0);
}

static void a_cached_image_needs_no_blobs(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *blobs = fvm_format("%s/blobs", fixture->layout);

    add_image(fixture);
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    fvm_remove_tree(blobs);
    assert_int_equal(prepared_by_unpacking(fixture), 0);
}

static void a_new_image_gets_an_entry_of_its_own(void **state)
{
    struct fixture *fixture = *state;

    add_image(fixture);
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    add_image(fixture); /* one layer more: another digest */
    assert_false(fvm_image_is_cached(fixture->data_dir, fixture->cache));
    assert_int_equal(prepared_by_unpacking(fixture), 1);
}

static void a_missing_image_names_directory_and_remedy(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *data_dir = fvm_format("%s/nowhere", fixture->dir);
    struct fvm_caller caller = FVM_CALLER_NONE;
    struct fvm_image image;

    add_image(fixture);
    assert_int_equal(
        fvm_image_prepare(data_dir, fixture->cache, NULL, &caller, &image, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "make guest"));
    assert_error(fixture, FLASHVM_NOT_FOUND, "nowhere/oci");
    assert_false(fvm_image_is_cached(data_dir, fixture->cache));
}

static void looking_makes_nothing(void **state)
{
    struct fixture *fixture = *state;

    fixture_write_layout(fixture);
    assert_false(fvm_image_is_cached(fixture->data_dir, fixture->cache));
    assert_int_equal(access(fixture->cache, F_OK), -1);
}

static void a_damaged_image_leaves_no_entry(void **state)
{
    struct fixture *fixture = *state;
    const json_t *layer;
    cleanup_free char *path = NULL;
    struct stages stages = {0};
    struct fvm_image image;

    add_image(fixture);
    layer = json_array_get(fixture->layers, 0);
    path = fvm_format("%s/blobs/sha256/%s", fixture->layout,
                      json_string_value(json_object_get(layer, "digest")) + 7);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(prepare(fixture, &stages, &image), -1);
    assert_error(fixture, FLASHVM_IMAGE_INVALID,
                 "cannot use the image localhost/flashvm:python-basic in ");
    assert_null(entry_path(fixture, ".squashfs"));
    assert_null(entry_path(fixture, ".tmp"));
    assert_null(entry_path(fixture, ".json"));
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void a_damaged_entry_is_made_again(void **state)
{
    static const struct {
        const char *ending;
        void (*damage)(const char *path);
    } cases[] = {
        {".squashfs", shorten},
        {".squashfs", lengthen},
        {".squashfs", wipe_start},
        {".squashfs", make_writable},
        {".squashfs", give_away},
        {".squashfs", remove_file},
        {".squashfs", replace_by_symlink},
        {".squashfs", replace_by_text},
        {".squashfs", replace_by_fifo},
        {".squashfs", change_one_byte},
        {".squashfs", wipe_a_page},
        {".json", shorten},
        {".json", wipe_start},
        {".json", make_writable},
        {".json", give_away},
        {".json", remove_file},
        {".json", replace_by_symlink},
        {".json", replace_by_text},
        {".json", replace_by_fifo},
        {".json", replace_by_empty_object},
    };
    struct fixture *fixture = *state;

    add_image(fixture);
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_free char *path = entry_path(fixture, cases[i].ending);

        assert_non_null(path);
        cases[i].damage(path);
        assert_false(fvm_image_is_cached(fixture->data_dir, fixture->cache));
        assert_int_equal(prepared_by_unpacking(fixture), 1);
        assert_int_equal(prepared_by_unpacking(fixture), 0);
    }
}

static void a_directory_in_an_entrys_place_is_left_to_the_user(void **state)
{
    static const char *const endings[] = {".squashfs", ".json"};
    struct fixture *fixture = *state;

    add_image(fixture);
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        cleanup_free char *path = entry_path(fixture, endings[i]);
        cleanup_free char *temporary = NULL;
        struct stages stages = {0};
        struct fvm_image image;

        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(prepare(fixture, &stages, &image), -1);
        assert_non_null(strstr(fixture->error.message, path));
        assert_error(fixture, FLASHVM_CACHE_UNSAFE, "it is a directory; remove it");
        temporary = entry_path(fixture, ".tmp");
        assert_null(temporary);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(prepared_by_unpacking(fixture), 1);
    }
}

static void forget_identity(const char *path)
{
    cleanup_free char *data = NULL;
    char *key;

    assert_int_equal(fvm_read_file(path, SIZE_MAX, &data, NULL, NULL), 0);
    key = strstr(data, "rootfs_identity");
    assert_non_null(key);
    *key = 'R';
    assert_int_equal(unlink(path), 0);
    write_text(path, data);
}

/* A backup that was played back, an image of a container, an entry of an earlier version. */
static void a_file_with_another_identity_is_believed_by_its_digest(void **state)
{
    static const struct {
        const char *ending;
        void (*change)(const char *path);
    } cases[] = {{".squashfs", copy_file}, {".json", forget_identity}};
    struct fixture *fixture = *state;

    add_image(fixture);
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_free char *path = entry_path(fixture, cases[i].ending);
        cleanup_free char *json = entry_path(fixture, ".json");
        struct stat changed, remembered, later;

        cases[i].change(path);
        assert_int_equal(stat(json, &changed), 0);
        assert_int_equal(prepared_by_unpacking(fixture), 0);
        assert_int_equal(stat(json, &remembered), 0);
        assert_int_not_equal(remembered.st_ino, changed.st_ino); /* written anew, once */
        assert_int_equal(prepared_by_unpacking(fixture), 0);
        assert_int_equal(stat(json, &later), 0);
        assert_int_equal(later.st_ino, remembered.st_ino);
    }
}

/* ---- several processes ----------------------------------------------------------------------- */

/* Shared with the children. */
static struct stages *shared_stages(void)
{
    struct stages *stages =
        mmap(NULL, sizeof *stages, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(stages, MAP_FAILED);
    return stages;
}

static void many_processes_at_once_unpack_once(void **state)
{
    enum { CHILDREN = 8 };
    struct fixture *fixture = *state;
    struct stages *stages = shared_stages();
    pid_t children[CHILDREN];

    add_image(fixture);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct fvm_image image;

            _exit(prepare(fixture, stages, &image) < 0 || image.rootfs_fd < 0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(stages->unpacking, 1);
    assert_int_equal(prepared_by_unpacking(fixture), 0);
    munmap(stages, sizeof *stages);
}

/* Killed by the kernel in the middle of writing, by a limit on the size of files. */
static void a_killed_maker_leaves_nothing_that_harms(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *temporary = NULL;
    struct stages stages = {0};
    pid_t child;
    int status;

    add_image(fixture);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit size = {200, 200};
        const struct rlimit core = {0, 0};
        struct fvm_image image;

        signal(SIGXFSZ, SIG_DFL);
        if (setrlimit(RLIMIT_CORE, &core) < 0 || setrlimit(RLIMIT_FSIZE, &size) < 0)
            _exit(2);
        prepare(fixture, &stages, &image);
        _exit(3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGXFSZ);
    temporary = entry_path(fixture, ".tmp");
    assert_non_null(temporary);
    assert_false(fvm_image_is_cached(fixture->data_dir, fixture->cache));
    assert_int_equal(prepared_by_unpacking(fixture), 1);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_int_equal(prepared_by_unpacking(fixture), 0);
}

/* We wait for the one that has the lock: now it dies. */
static void end_holder(void *data, const char *stage)
{
    assert_string_equal(stage, "waiting for the test");
    assert_int_equal(kill(*(pid_t *)data, SIGKILL), 0);
}

static void a_lock_is_given_back_by_dying(void **state)
{
    struct fixture *fixture = *state;
    cleanup_close int directory_fd = -1;
    cleanup_close int lock_fd = -1;
    pid_t child;
    struct fvm_caller caller = {
        .progress = end_holder, .progress_data = &child, .interrupt_fd = -1};
    char byte;
    int ready[2], status;

    assert_int_equal(mkdir(fixture->cache, 0700), 0);
    assert_int_equal(
        fvm_cache_open_directory(fixture->cache, "part", true, &directory_fd, &fixture->error), 0);
    assert_int_equal(pipe(ready), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd;

        if (fvm_cache_lock(directory_fd, "key", &caller, "", &fd, NULL) < 0 ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;) /* without giving it back */
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(fvm_cache_lock(directory_fd, "key", &caller, "waiting for the test", &lock_fd,
                                    &fixture->error),
                     0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_default_is_under_xdg_cache_home_or_home),
        fixture_test(without_home_the_password_database_is_asked),
        fixture_test(a_relative_directory_becomes_absolute),
        fixture_test(a_directory_of_another_user_is_refused),
        fixture_test(a_directory_that_others_may_write_is_refused),
        fixture_test(a_part_that_others_may_write_is_refused),
        fixture_test(a_place_that_cannot_be_made_is_said_with_the_remedy),
        fixture_test(a_file_in_its_place_is_said),
        fixture_test(an_image_is_unpacked_once),
        fixture_test(a_cached_image_needs_no_blobs),
        fixture_test(a_new_image_gets_an_entry_of_its_own),
        fixture_test(a_missing_image_names_directory_and_remedy),
        fixture_test(looking_makes_nothing),
        fixture_test(a_damaged_image_leaves_no_entry),
        fixture_test(a_damaged_entry_is_made_again),
        fixture_test(a_directory_in_an_entrys_place_is_left_to_the_user),
        fixture_test(a_file_with_another_identity_is_believed_by_its_digest),
        fixture_test(many_processes_at_once_unpack_once),
        fixture_test(a_killed_maker_leaves_nothing_that_harms),
        fixture_test(a_lock_is_given_back_by_dying),
    };

    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
