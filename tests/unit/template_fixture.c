/* SPDX-License-Identifier: MIT */
#include "template_fixture.h"

#include <sys/stat.h>
#include <time.h>

static int make_memory(uint64_t size)
{
    int fd = fvm_memory_file_make("test", size, NULL);

    assert_true(fd >= 0);
    return fd;
}

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    cleanup_free char *text = malloc(STATE_BYTES);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    fixture->cache = fvm_format("%s/cache", fixture->tmpdir);
    assert_int_equal(mkdir(fixture->cache, 0700), 0);
    memset(text, 's', STATE_BYTES);
    fixture->snapshot.memory_fd = make_memory((uint64_t)MEMORY_MB * MIB);
    fixture->snapshot.state_fd = make_memory(0);
    assert_int_equal(fvm_write_all(fixture->snapshot.state_fd, text, STATE_BYTES), 0);
    assert_int_equal(pwrite(fixture->snapshot.memory_fd, text, 1000, 0), 1000);
    assert_int_equal(pwrite(fixture->snapshot.memory_fd, "end", 3, MEMORY_MB * MIB - 3), 3);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    close(fixture->snapshot.memory_fd);
    close(fixture->snapshot.state_fd);
    flashvm_error_finish(&fixture->error);
    free(fixture->cache);
    remove_own_tmpdir(fixture->tmpdir);
    free(fixture);
    return 0;
}

int store_made_at(struct fixture *fixture, const char *key, int64_t made_at)
{
    const struct fvm_template_info info = {
        .engine = (char *)"qemu",
        .accelerator = (char *)"tcg",
        .image = (char *)"localhost/test:1",
        .memory_mb = MEMORY_MB,
        .cpus = 2,
        .made_at = made_at,
    };

    return fvm_template_cache_store(fixture->cache, key, &fixture->snapshot, &info,
                                    &fixture->error);
}

void store(struct fixture *fixture, const char *key)
{
    assert_success(store_made_at(fixture, key, time(NULL)), &fixture->error);
}

void snapshot_finish(struct fvm_snapshot *snapshot)
{
    fvm_cleanup_close(&snapshot->memory_fd);
    fvm_cleanup_close(&snapshot->state_fd);
}

bool loads_with(struct fixture *fixture, const char *key, unsigned memory_mb,
                struct fvm_snapshot *ret_snapshot)
{
    int64_t made_at = -1;
    int outcome = fvm_template_cache_load(fixture->cache, key, memory_mb, ret_snapshot, &made_at,
                                          &fixture->error);

    assert_success(outcome, &fixture->error);
    assert_true((outcome == 1) == (made_at >= 0)); /* untouched */
    assert_true((outcome == 1) == (ret_snapshot->memory_fd >= 0));
    return outcome == 1;
}

bool loads(struct fixture *fixture, const char *key)
{
    cleanup_snapshot struct fvm_snapshot snapshot = {-1, -1};

    return loads_with(fixture, key, MEMORY_MB, &snapshot);
}

char *entry_path(const struct fixture *fixture, const char *key, const char *ending)
{
    return fvm_format("%s/templates/%s%s", fixture->cache, key, ending);
}
