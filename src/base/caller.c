/* SPDX-License-Identifier: MIT */
#include "base/caller.h"

#include <poll.h>

#include "base/clock.h"

enum { ASK_INTERVAL_US = 50000 };

void fvm_caller_tell(struct fvm_caller *caller, const char *stage)
{
    if (caller->progress)
        caller->progress(caller->progress_data, stage);
}

void fvm_caller_notice(struct fvm_caller *caller, const char *text)
{
    if (caller->notice)
        caller->notice(caller->notice_data, text);
}

bool fvm_caller_gives_up(struct fvm_caller *caller)
{
    return caller->interrupted == NULL || caller->interrupted(caller->interrupted_data);
}

static int fail_cancelled(struct flashvm_error *error)
{
    return fvm_fail(error, FLASHVM_CANCELLED, "the call was cancelled");
}

int fvm_caller_check(struct fvm_caller *caller, struct flashvm_error *error)
{
    uint64_t now = fvm_now_us();

    if (now - caller->asked_us < ASK_INTERVAL_US)
        return 0;
    caller->asked_us = now;
    return fvm_caller_pause(caller, 0, error);
}

int fvm_caller_pause(struct fvm_caller *caller, int milliseconds, struct flashvm_error *error)
{
    struct pollfd interrupt = {.fd = caller->interrupt_fd, .events = POLLIN};
    int ready = poll(&interrupt, 1, milliseconds);

    /* A caller without a descriptor can only be asked. */
    if ((ready > 0 || caller->interrupted) && fvm_caller_gives_up(caller))
        return fail_cancelled(error);
    return 0;
}
