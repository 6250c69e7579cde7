/* SPDX-License-Identifier: MIT */
/* Templates in the cache: loaded as they were stored or not at all, and sealed. */
#include "damage.h"
#include "template_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { DAY = 24 * 3600 };

static void assert_same(int a, int b, size_t size)
{
    const char *left = mmap(NULL, size, PROT_READ, MAP_PRIVATE, a, 0);
    const char *right = mmap(NULL, size, PROT_READ, MAP_PRIVATE, b, 0);
    struct stat status;

    assert_true(left != MAP_FAILED && right != MAP_FAILED);
    assert_int_equal(fstat(a, &status), 0);
    assert_int_equal(status.st_size, size);
    assert_int_equal(fstat(b, &status), 0);
    assert_int_equal(status.st_size, size);
    assert_true(memcmp(left, right, size) == 0);
    munmap((void *)left, size);
    munmap((void *)right, size);
}

/* ---- loading --------------------------------------------------------------------------------- */

static void what_was_stored_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    cleanup_snapshot struct fvm_snapshot snapshot = {-1, -1};
    cleanup_free char *memory = entry_path(fixture, KEY, ".memory");
    int64_t made_at, now = time(NULL);
    struct stat status;

    assert_false(loads(fixture, KEY)); /* and there is not even a directory */
    assert_success(store_made_at(fixture, KEY, now - 100), &fixture->error);
    assert_int_equal(fvm_template_cache_load(fixture->cache, KEY, MEMORY_MB, &snapshot, &made_at,
                                             &fixture->error),
                     1);
    assert_int_equal(made_at, now - 100);
    assert_int_equal(fstat(snapshot.memory_fd, &status), 0);
    assert_in_range(status.st_blocks * 512, 1, MIB);
    assert_int_equal(stat(memory, &status), 0);
    assert_in_range(status.st_blocks * 512, 1, MIB); /* on the disk, too, what is empty is a hole */
    assert_int_equal(status.st_mode, S_IFREG | 0444);
    assert_same(snapshot.memory_fd, fixture->snapshot.memory_fd, MEMORY_MB * MIB);
    assert_same(snapshot.state_fd, fixture->snapshot.state_fd, STATE_BYTES);
    assert_int_equal(fcntl(snapshot.memory_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(snapshot.state_fd, F_GETFD), FD_CLOEXEC);
    assert_false(loads(fixture, OTHER));
}

static void a_template_is_stored_in_the_place_of_another(void **state)
{
    struct fixture *fixture = *state;
    cleanup_snapshot struct fvm_snapshot snapshot = {-1, -1};

    store(fixture, KEY);
    assert_int_equal(pwrite(fixture->snapshot.memory_fd, "new", 3, 5 * MIB), 3);
    assert_int_equal(ftruncate(fixture->snapshot.state_fd, 100), 0);
    store(fixture, KEY);
    assert_true(loads_with(fixture, KEY, MEMORY_MB, &snapshot));
    assert_same(snapshot.memory_fd, fixture->snapshot.memory_fd, MEMORY_MB * MIB);
    assert_same(snapshot.state_fd, fixture->snapshot.state_fd, 100);
}

static void a_guest_of_less_memory_does_not_get_it(void **state)
{
    struct fixture *fixture = *state;
    cleanup_snapshot struct fvm_snapshot snapshot = {-1, -1};

    store(fixture, KEY);
    assert_false(loads_with(fixture, KEY, MEMORY_MB - 1, &snapshot));
    assert_true(loads_with(fixture, KEY, MEMORY_MB, &snapshot));
}

static void a_template_lasts_a_day(void **state)
{
    static const struct {
        int64_t age;
        bool loads;
    } cases[] = {
        {0, true}, {DAY - 60, true}, {DAY + 60, false}, {100LL * DAY, false}, {-60, false}};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_success(store_made_at(fixture, KEY, time(NULL) - cases[i].age), &fixture->error);
        assert_int_equal(loads(fixture, KEY), cases[i].loads);
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void a_damaged_template_is_none(void **state)
{
    static const struct {
        const char *ending;
        void (*damage)(const char *path);
    } cases[] = {
        {".memory", shorten},
        {".memory", lengthen},
        {".memory", wipe_start},
        {".memory", make_writable},
        {".memory", give_away},
        {".memory", remove_file},
        {".memory", replace_by_symlink},
        {".memory", replace_by_text},
        {".memory", replace_by_fifo},
        {".memory", change_one_byte},
        {".memory", wipe_a_page},
        {".state", shorten},
        {".state", lengthen},
        {".state", wipe_start},
        {".state", make_writable},
        {".state", give_away},
        {".state", remove_file},
        {".state", replace_by_symlink},
        {".state", replace_by_text},
        {".state", replace_by_fifo},
        {".state", change_one_byte},
        {".state", wipe_a_page},
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

    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_free char *path = entry_path(fixture, KEY, cases[i].ending);

        store(fixture, KEY);
        assert_true(loads(fixture, KEY));
        cases[i].damage(path);
        if (loads(fixture, KEY))
            fail_msg("damage %zu, of %s, was not noticed", i, cases[i].ending);
    }
    store(fixture, KEY);
    assert_true(loads(fixture, KEY));
}

/* Put `to` for the first `from` of the JSON. */
static void edit(const char *path, const char *from, const char *to)
{
    cleanup_free char *text = NULL, *edited = NULL;
    char *place;

    assert_int_equal(fvm_read_file(path, SIZE_MAX, &text, NULL, NULL), 0);
    place = strstr(text, from);
    assert_non_null(place);
    edited = fvm_format("%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    replace_text(path, edited);
}

static void a_json_that_says_something_else_is_none(void **state)
{
    static const char *const cases[][2] = {
        {"\"memory\":", "\"Memory\":"},
        {"\"state\":", "\"State\":"},
        {"\"made_at\":", "\"Made_at\":"},
        {"\"made_at\": ", "\"made_at\": -"},
        {"\"made_at\": ", "\"made_at\": 1"},
        {"\"made_at\":", "\"made_at\": -9223372036854775808, \"Made_at\":"},
        {"\"made_at\":", "\"made_at\": 9223372036854775807, \"Made_at\":"},
        {"\"made_at\":", "\"made_at\": \"now\", \"Made_at\":"},
        {"\"made_at\":", "\"made_at\": 1.5, \"Made_at\":"},
        {"\"made_at\":", "\"engine\":"},
        {"\"memory\":", "\"memory\": 5, \"Memory\":"},
        {"\"memory\":", "\"memory\": null, \"Memory\":"},
        {"\"memory\":", "\"memory\": [], \"Memory\":"},
        {"\"size_bytes\": ", "\"size_bytes\": 1"},
        {"\"size_bytes\": ", "\"size_bytes\": -"},
        {"\"sha256\":", "\"Sha256\":"},
        {"\"sha256\":", "\"sha256\": 5, \"Sha256\":"},
        {"\"identity\":", "\"Identity\":"},
        {"\"identity\":", "\"identity\": {}, \"Identity\":"},
    };
    struct fixture *fixture = *state;
    cleanup_free char *json = entry_path(fixture, KEY, ".json");

    for (size_t i = 0; i < LENGTH(cases); i++) {
        store(fixture, KEY);
        edit(json, cases[i][0], cases[i][1]);
        if (loads(fixture, KEY))
            fail_msg("it was loaded with %s in the place of %s", cases[i][1], cases[i][0]);
    }
}

/* A backup that was played back, an image of a container. */
static void a_file_with_another_identity_is_believed_by_its_digest(void **state)
{
    static const char *const endings[] = {".state", ".memory"};
    struct fixture *fixture = *state;
    cleanup_free char *json = entry_path(fixture, KEY, ".json");
    cleanup_free char *memory = entry_path(fixture, KEY, ".memory");

    for (size_t i = 0; i < LENGTH(endings); i++) {
        cleanup_free char *path = entry_path(fixture, KEY, endings[i]);

        store(fixture, KEY);
        copy_file(path);
        assert_true(loads(fixture, KEY));
    }
    store(fixture, KEY);
    edit(json, "\"sha256\": \"", "\"sha256\": \"0"); /* the memory's, which comes first */
    assert_true(loads(fixture, KEY));                /* its identity is enough */
    copy_file(memory);
    assert_false(loads(fixture, KEY));
}

/* ---- seals ----------------------------------------------------------------------------------- */

static void assert_sealed(int fd)
{
    char *copy;

    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 1LL << 30), -1);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, 0), -1);
    /* As a VM has it. */
    copy = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_true(copy != MAP_FAILED);
    copy[0] = '!';
    assert_int_equal(munmap(copy, 4096), 0);
}

static void nobody_can_write_to_what_was_loaded(void **state)
{
    struct fixture *fixture = *state;
    cleanup_snapshot struct fvm_snapshot snapshot = {-1, -1};

    store(fixture, KEY);
    assert_true(loads_with(fixture, KEY, MEMORY_MB, &snapshot));
    assert_sealed(snapshot.memory_fd);
    assert_sealed(snapshot.state_fd);
    assert_same(snapshot.memory_fd, fixture->snapshot.memory_fd, MEMORY_MB * MIB);
    assert_same(snapshot.state_fd, fixture->snapshot.state_fd, STATE_BYTES);
}

static void a_file_that_somebody_can_write_to_is_not_sealed(void **state)
{
    struct fixture *fixture = *state;
    int fd = fixture->snapshot.memory_fd;
    char *guest = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_true(guest != MAP_FAILED);
    assert_failure(fvm_memory_file_seal(fd, &fixture->error), &fixture->error, FLASHVM_IO,
                   "cannot protect the template's memory from its VMs");
    assert_int_equal(munmap(guest, 4096), 0);
    assert_success(fvm_memory_file_seal(fd, &fixture->error), &fixture->error);
    assert_sealed(fd);
}

static void a_memory_file_is_as_large_as_wanted_and_empty(void **state)
{
    cleanup_close int fd = fvm_memory_file_make("test", 5ULL << 30, NULL);
    struct flashvm_error error = {0};
    struct stat status;

    (void)state;
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, 5LL << 30);
    assert_int_equal(status.st_blocks, 0);
    assert_failure(fvm_memory_file_make("test", UINT64_MAX, &error), &error, FLASHVM_IO,
                   "cannot make a file in memory of 17592186044415 MiB");
}

static void an_unsafe_cache_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *directory = fvm_format("%s/templates", fixture->cache);
    struct fvm_snapshot snapshot;
    int64_t made_at;

    store(fixture, KEY);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_failure(fvm_template_cache_load(fixture->cache, KEY, MEMORY_MB, &snapshot, &made_at,
                                           &fixture->error),
                   &fixture->error, FLASHVM_CACHE_UNSAFE, "can be written by other users");
    assert_failure(store_made_at(fixture, KEY, time(NULL)), &fixture->error, FLASHVM_CACHE_UNSAFE,
                   "can be written by other users");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        template_test(what_was_stored_is_loaded),
        template_test(a_template_is_stored_in_the_place_of_another),
        template_test(a_guest_of_less_memory_does_not_get_it),
        template_test(a_template_lasts_a_day),
        template_test(a_damaged_template_is_none),
        template_test(a_json_that_says_something_else_is_none),
        template_test(a_file_with_another_identity_is_believed_by_its_digest),
        template_test(nobody_can_write_to_what_was_loaded),
        template_test(a_file_that_somebody_can_write_to_is_not_sealed),
        template_test(a_memory_file_is_as_large_as_wanted_and_empty),
        template_test(an_unsafe_cache_is_an_error),
    };

    return cmocka_run_group_tests_name("template_cache", tests, NULL, NULL);
}
