/* SPDX-License-Identifier: MIT */
/* All templates of a cache: their list, the room that they take, clearing. */
#include "damage.h"
#include "template_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

/* ---- a disk for large files ------------------------------------------------------------------ */

/* A file of a guest's memory takes so many times what it really takes. */
static unsigned memory_takes_times = 1;

/* In the place of the C library's own, for the code under test. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
int fstatat(int directory_fd, const char *name, struct stat *ret_status, int flags)
{
    const char *ending = strrchr(name, '.');

    if (syscall(SYS_newfstatat, directory_fd, name, ret_status, flags) < 0)
        return -1;
    if (ending && strcmp(ending, ".memory") == 0)
        ret_status->st_blocks *= memory_takes_times;
    return 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

struct list {
    struct fvm_template_info *infos;
    size_t count;
};

static void list_finish(struct list *list)
{
    fvm_template_infos_free(list->infos, list->count);
}
#define cleanup_list __attribute__((cleanup(list_finish)))

static struct list list_all(struct fixture *fixture)
{
    struct list list;

    assert_success(
        fvm_template_cache_list(fixture->cache, &list.infos, &list.count, &fixture->error),
        &fixture->error);
    return list;
}

/* The templates that there are, those used last first. */
static void assert_listed(struct fixture *fixture, const char *const *keys, size_t count)
{
    cleanup_list struct list list = list_all(fixture);

    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(list.infos[i].key, keys[i]);
}

#define LISTED(...) (const char *const[]){__VA_ARGS__}, LENGTH(((const char *const[]){__VA_ARGS__}))

/* As if it had been used so many seconds ago. */
static void set_use(const struct fixture *fixture, const char *key, time_t seconds_ago)
{
    cleanup_free char *json = entry_path(fixture, key, ".json");
    const struct timespec times[2] = {{.tv_sec = time(NULL) - seconds_ago},
                                      {.tv_sec = time(NULL) - seconds_ago}};

    assert_int_equal(utimensat(AT_FDCWD, json, times, 0), 0);
}

static void the_list_tells_what_a_template_is_of(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *memory = entry_path(fixture, KEY, ".memory");
    cleanup_free char *saved = entry_path(fixture, KEY, ".state");
    struct stat memory_status, state_status;
    int64_t now = time(NULL);

    assert_listed(fixture, NULL, 0); /* and no directory is there */
    assert_success(store_made_at(fixture, KEY, now - 50), &fixture->error);
    set_use(fixture, KEY, 20);
    assert_int_equal(stat(memory, &memory_status), 0);
    assert_int_equal(stat(saved, &state_status), 0);
    {
        cleanup_list struct list list = list_all(fixture);
        const struct fvm_template_info *info = list.infos;

        assert_int_equal(list.count, 1);
        assert_string_equal(info->key, KEY);
        assert_string_equal(info->engine, "qemu");
        assert_string_equal(info->accelerator, "tcg");
        assert_string_equal(info->image, "localhost/test:1");
        assert_int_equal(info->memory_mb, MEMORY_MB);
        assert_int_equal(info->cpus, 2);
        assert_int_equal(info->made_at, now - 50);
        assert_in_range(info->used_at, now - 20, now - 15);
        assert_int_equal(info->size_bytes,
                         512 * (memory_status.st_blocks + state_status.st_blocks));
    }
}

static void to_load_a_template_is_to_use_it(void **state)
{
    struct fixture *fixture = *state;

    store(fixture, KEY);
    store(fixture, OTHER);
    set_use(fixture, KEY, 100);
    set_use(fixture, OTHER, 50);
    assert_listed(fixture, LISTED(OTHER, KEY));
    assert_true(loads(fixture, KEY));
    assert_listed(fixture, LISTED(KEY, OTHER));
}

static void what_is_no_whole_entry_is_not_listed(void **state)
{
    static const char *const texts[] = {"", "[]", "{}", "{\"engine\": \"qemu\"}"};
    struct fixture *fixture = *state;
    cleanup_free char *json = entry_path(fixture, KEY, ".json");

    for (size_t i = 0; i < LENGTH(texts); i++) {
        store(fixture, KEY);
        assert_listed(fixture, LISTED(KEY));
        replace_text(json, texts[i]);
        assert_listed(fixture, NULL, 0);
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Of 2 GiB that all may take together. */
static void those_used_longest_ago_make_room_for_others(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *memory = entry_path(fixture, KEY, ".memory");
    struct stat status;

    store(fixture, KEY);
    store(fixture, OTHER);
    set_use(fixture, KEY, 50);
    set_use(fixture, OTHER, 100);
    store(fixture, THIRD);
    assert_listed(fixture, LISTED(THIRD, KEY, OTHER));
    assert_int_equal(stat(memory, &status), 0);
    memory_takes_times = (unsigned)((900LL << 20) / (status.st_blocks * 512)); /* 900 MiB each */
    store(fixture, THIRD);
    assert_listed(fixture, LISTED(THIRD, KEY));
    set_use(fixture, KEY, 10);
    set_use(fixture, THIRD, 20);
    store(fixture, OTHER);
    memory_takes_times = 1;
    assert_listed(fixture, LISTED(OTHER, KEY));
}

static void those_that_are_too_old_to_be_used_go(void **state)
{
    struct fixture *fixture = *state;

    assert_success(store_made_at(fixture, KEY, time(NULL) - 25 * 3600), &fixture->error);
    assert_success(store_made_at(fixture, THIRD, time(NULL) - 23 * 3600), &fixture->error);
    store(fixture, OTHER);
    set_use(fixture, OTHER, 10);
    set_use(fixture, THIRD, 20);
    assert_listed(fixture, LISTED(OTHER, THIRD));
}

/* One that is too large for the cache is still the one that is wanted now. */
static void the_newest_stays_whatever_it_takes(void **state)
{
    struct fixture *fixture = *state;

    store(fixture, KEY);
    set_use(fixture, KEY, 50);
    memory_takes_times = 1 << 20;
    store(fixture, OTHER);
    memory_takes_times = 1;
    assert_listed(fixture, LISTED(OTHER));
    assert_true(loads(fixture, OTHER));
}

static uint64_t clear(struct fixture *fixture)
{
    uint64_t freed_bytes = 1000;

    assert_success(fvm_template_cache_clear(fixture->cache, &freed_bytes, &fixture->error),
                   &fixture->error);
    return freed_bytes - 1000; /* it is added to */
}

static void clearing_frees_all(void **state)
{
    static const char *const left[] = {THIRD ".memory.tmp", THIRD ".state", THIRD ".json.tmp"};
    struct fixture *fixture = *state;
    cleanup_free char *directory = fvm_format("%s/templates", fixture->cache);

    assert_int_equal(clear(fixture), 0);
    store(fixture, KEY);
    store(fixture, OTHER);
    for (size_t i = 0; i < LENGTH(left); i++) { /* by a maker that died */
        cleanup_free char *path = fvm_format("%s/%s", directory, left[i]);

        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    assert_true(clear(fixture) >= 2 * STATE_BYTES);
    assert_listed(fixture, NULL, 0);
    assert_false(loads(fixture, KEY));
    assert_int_equal(rmdir(directory), 0); /* nothing is left in it, no lock either */
}

static void one_can_be_removed(void **state)
{
    struct fixture *fixture = *state;

    fvm_template_cache_remove(fixture->cache, KEY); /* there is none */
    store(fixture, KEY);
    store(fixture, OTHER);
    fvm_template_cache_remove(fixture->cache, KEY);
    assert_listed(fixture, LISTED(OTHER));
}

static void what_its_maker_holds_stays(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_caller caller = FVM_CALLER_NONE;
    int lock_fd;

    store(fixture, KEY);
    assert_success(fvm_template_cache_lock(fixture->cache, KEY, &caller, &lock_fd, &fixture->error),
                   &fixture->error);
    fvm_template_cache_remove(fixture->cache, KEY);
    assert_int_equal(clear(fixture), 0);
    assert_listed(fixture, LISTED(KEY));
    close(lock_fd);
    assert_true(clear(fixture) > 0);
}

static bool give_up(void *unused)
{
    (void)unused;
    return true;
}

static void a_caller_need_not_wait_for_another_maker(void **state)
{
    struct fixture *fixture = *state;
    struct fvm_caller caller = FVM_CALLER_NONE,
                      impatient = {.interrupt_fd = -1, .interrupted = give_up};
    int lock_fd, second_fd = -1;

    assert_success(fvm_template_cache_lock(fixture->cache, KEY, &caller, &lock_fd, &fixture->error),
                   &fixture->error);
    assert_failure(
        fvm_template_cache_lock(fixture->cache, KEY, &impatient, &second_fd, &fixture->error),
        &fixture->error, FLASHVM_CANCELLED, "the call was cancelled");
    assert_int_equal(second_fd, -1);
    close(lock_fd);
}

/* ---- a disk that is full --------------------------------------------------------------------- */

static void what_cannot_be_stored_leaves_no_entry(void **state)
{
    struct fixture *fixture = *state;
    const struct rlimit small = {STATE_BYTES + 1000, RLIM_INFINITY},
                        none = {RLIM_INFINITY, RLIM_INFINITY};
    cleanup_free char *temporary = entry_path(fixture, KEY, ".memory.tmp");

    store(fixture, KEY);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_failure(store_made_at(fixture, KEY, time(NULL)), &fixture->error, FLASHVM_IO,
                   "cannot write " KEY ".memory in the cache: File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_false(loads(fixture, KEY)); /* nor the old one: it was to be replaced */
    store(fixture, KEY);
    assert_true(loads(fixture, KEY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        template_test(the_list_tells_what_a_template_is_of),
        template_test(to_load_a_template_is_to_use_it),
        template_test(what_is_no_whole_entry_is_not_listed),
        template_test(those_used_longest_ago_make_room_for_others),
        template_test(those_that_are_too_old_to_be_used_go),
        template_test(the_newest_stays_whatever_it_takes),
        template_test(clearing_frees_all),
        template_test(one_can_be_removed),
        template_test(what_its_maker_holds_stays),
        template_test(a_caller_need_not_wait_for_another_maker),
        template_test(what_cannot_be_stored_leaves_no_entry),
    };

    return cmocka_run_group_tests_name("template_list", tests, NULL, NULL);
}
