/* SPDX-License-Identifier: MIT */
/* What the tests of templates in the cache share: a cache, and a template to be stored in it. */
#pragma once

#include "assertions.h"

#include "base/cleanup.h"
#include "run/template_cache.h"

#define KEY   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define THIRD "00000000000000000000000000000000000000000000000000000000000000ff"

enum { MIB = 1 << 20, MEMORY_MB = 64, STATE_BYTES = 10000 };

struct fixture {
    char *tmpdir;
    char *cache;
    struct fvm_snapshot snapshot; /* what is stored */
    struct flashvm_error error;
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define template_test(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int store_made_at(struct fixture *fixture, const char *key, int64_t made_at);
void store(struct fixture *fixture, const char *key);

void snapshot_finish(struct fvm_snapshot *snapshot);
#define cleanup_snapshot __attribute__((cleanup(snapshot_finish)))

/* Return: was there one? Damage is no error. */
bool loads_with(struct fixture *fixture, const char *key, unsigned memory_mb,
                struct fvm_snapshot *ret_snapshot);
bool loads(struct fixture *fixture, const char *key);

/* The path of a file of an entry; to be freed. */
char *entry_path(const struct fixture *fixture, const char *key, const char *ending);
