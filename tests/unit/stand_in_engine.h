/* SPDX-License-Identifier: MIT */
/*
 * An engine whose VMs are small processes (stand_in_vm.c, whose path is FLASHVM_STAND_IN_VM), and
 * all that a guest of it needs. A template is a word that says how its copies behave.
 *
 * Also in the place of the C library's own: time(), with a clock that can be moved, and poll(),
 * which counts, and does not wait while a guest that becomes a template settles.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "assertions.h"

#include "run/template.h"

/* How a VM behaves. */
#define WELL    "well"    /* as the agent does; a snippet prints how often its guest was reseeded */
#define SLOW    "slow"    /* likewise, but rehearses for a tenth of a second */
#define MUTE    "mute"    /* never answers */
#define DEAD    "dead"    /* ends at once */
#define FAILS   "fails"   /* says that it cannot rehearse */
#define BRITTLE "brittle" /* ends when it has rehearsed */
#define FRAIL   "frail"   /* ends when it gets a run */

enum { STAND_IN_MEMORY_MB = 64 };

/* What the engine's VMs are like, and what was asked of it. Set up anew for each test. */
struct stand_in {
    const char *boots;         /* how VMs behave that boot */
    const char *const *copies; /* those of the first template, the second, and so on: the last word
                                  is that of all further ones, too. Ends with NULL */
    const char *key;           /* the engine's own version */
    enum flashvm_status cannot_restore; /* why; 0: it can */
    atomic_uint boot_count, restore_count;
    atomic_uint memory_mb; /* of the VM started last */
    atomic_int last_pid;   /* likewise */
    _Atomic uint64_t last_restore_us;
    atomic_int clock_ahead_s;
    atomic_uint poll_count;
};
extern struct stand_in stand_in;
#define COPIES(...) ((const char *const[]){__VA_ARGS__, NULL})

extern const struct fvm_engine stand_in_engine;

/* One test: a library handle's parts, and a guest. */
struct stage {
    char *tmpdir, *data_dir, *cache_dir;
    struct fvm_host host;
    struct fvm_image image;
    struct fvm_guest guest; /* with 20 s to boot, so that only a test that changes it meets that */
    struct fvm_templates templates;
    struct fvm_caller caller;
    struct flashvm_error error;
    unsigned descriptor_count; /* before all of that */
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct stage. At the end no descriptor may be
 * left, and no child. */
int stage_setup(void **state);
int stage_teardown(void **state);
#define stage_test(test) cmocka_unit_test_setup_teardown(test, stage_setup, stage_teardown)

/* An image of its own, to be finished. */
void make_image(struct fvm_image *ret_image, const char *digest);

/* The guest's kernel and initramfs with such contents, and the manifest beside them. */
void write_guest_files(const struct stage *stage, const char *kernel, const char *initramfs);

/* How many files of templates there are in the cache that end so. */
unsigned count_cached(const struct stage *stage, const char *ending);

void wait_ms(unsigned milliseconds);

/* Wait until the condition holds, at most 20 s. */
#define await(condition)                                                                           \
    do {                                                                                           \
        for (unsigned ms_ = 0; !(condition); ms_++) {                                              \
            if (ms_ == 20000)                                                                      \
                fail_msg("in vain: %s", #condition);                                               \
            wait_ms(1);                                                                            \
        }                                                                                          \
    } while (0)

/* Kill the VM and wait until it is dead. */
void kill_vm(pid_t pid);

/* Start all `count` threads with the same data, and wait until all have ended. */
enum { THREADS_MAX = 16 };
void run_threads(unsigned count, void *(*thread)(void *), void *data);
