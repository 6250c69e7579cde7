/* SPDX-License-Identifier: MIT */
/* The process that is or becomes the snippet: the waiting zygote, or a real interpreter started
 * anew. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "account.h"
#include "base/buffer.h"
#include "limits.h"
#include "request.h"

struct interpreter {
    pid_t pid; /* 0: there is none */
    /* The agent's ends, non-blocking but for the last, -1 when closed. */
    int stdin_fd, stdout_fd, stderr_fd, control_fd;
    bool cannot_start;                      /* early_err says why */
    unsigned leaving_sign;                  /* 0: it has none */
    struct fvm_buffer early_out, early_err; /* what it wrote while it started */
};
#define INTERPRETER_NONE                                                                           \
    ((struct interpreter){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .control_fd = -1})

/* Start the zygote. Return: 0, or -1 with errno. */
int interpreter_start_zygote(const struct setup *setup, const struct account *account,
                             struct interpreter *ret_interpreter);

/*
 * Wait until the zygote waits ("R" on control_fd), and keep what it writes until then. Return: NULL,
 * or what it does instead (static; what it wrote is in early_err).
 */
const char *interpreter_await(struct interpreter *interpreter);

/* Let the zygote seed its generators anew. "R" on control_fd says that it has. Return: 0 or -1. */
int interpreter_reseed(struct interpreter *zygote);

/*
 * Let the zygote become the snippet. "S" on control_fd says that it does, and the time in
 * nanoseconds by CLOCK_MONOTONIC behind it (little-endian u64) when.
 * @reseed: seed its generators anew first, which interpreter_reseed() did not do.
 * Return: 0 or -1.
 */
int interpreter_become(struct interpreter *zygote, const struct request *request, bool reseed);

/*
 * Has it run to its end, with exit code 0, and only CPython's own end is left, which nobody waits
 * for? It says so when it closes stdout and stderr; see leave.py.
 */
bool interpreter_is_leaving(const struct interpreter *interpreter);

/*
 * Start a real interpreter with the request's python_args and environment. The end of control_fd
 * says that it has started, "X" that it could not, and stderr_fd why. Return: 0, or -1 with errno.
 */
int interpreter_exec(const struct setup *setup, const struct account *account,
                     enum limits_group group, const struct request *request,
                     struct interpreter *ret_interpreter);

/* Close all descriptors and forget it. */
void interpreter_close(struct interpreter *interpreter);
