/* SPDX-License-Identifier: MIT */
/* Whoever waits for a call that lasts: is told what is done meanwhile, and may end it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Belongs to one call, in one thread. */
struct fvm_caller {
    void (*progress)(void *progress_data, const char *stage); /* NULL: nobody wants to know */
    void *progress_data;
    void (*notice)(void *notice_data, const char *text); /* NULL: likewise */
    void *notice_data;
    int interrupt_fd; /* readable: ask `interrupted`; -1: none */
    bool (*interrupted)(void *interrupted_data);
    void *interrupted_data;
    uint64_t asked_us; /* when that was done last */
};
#define FVM_CALLER_NONE                                                                            \
    {                                                                                              \
        .interrupt_fd = -1                                                                         \
    }

/* Say what begins now and may take longer than a moment; NULL: it is done. */
void fvm_caller_tell(struct fvm_caller *caller, const char *stage);

/* Say what failed though the call succeeds: a sentence. */
void fvm_caller_notice(struct fvm_caller *caller, const char *text);

/* Does the caller want the call to end? For when interrupt_fd is readable or a signal came. */
bool fvm_caller_gives_up(struct fvm_caller *caller);

/*
 * The same for work that never waits: call it as often as you like, it asks 20 times a second at
 * most. Return: 0, or -1 with FLASHVM_CANCELLED set in the error.
 */
int fvm_caller_check(struct fvm_caller *caller, struct flashvm_error *error);

/* Sleep, or be woken by the caller. Return: as above. */
int fvm_caller_pause(struct fvm_caller *caller, int milliseconds, struct flashvm_error *error);
