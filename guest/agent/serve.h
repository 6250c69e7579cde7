/* SPDX-License-Identifier: MIT */
/* What the host asks for, frame by frame: an interpreter, a rehearsal, a run. */
#pragma once

#include "account.h"
#include "channel.h"
#include "files.h"
#include "interpreter.h"

/* Where a run takes place: whose it is, what it may take, and the interpreter that waits for it. */
struct seat {
    enum limits_group group;
    struct account account;
    struct interpreter zygote;
    uint64_t zygote_bytes; /* its memory, which is charged to LIMITS_WAITING */
    uint64_t cpu_time_us;  /* of the group, when it began to wait */
};

struct service {
    struct channel channel;
    struct setup setup;
    struct seat snippet;
    struct seat rehearsal; /* sees no snippet and is seen by none: another user, another group */
    struct work work;
    int signal_fd;     /* SIGCHLD */
    int starvation_fd; /* POLLPRI: the snippet waits for memory */
    /* Since this guest was made from a template: the kernel's generator, the waiting interpreter's. */
    bool reseeded, interpreter_reseeded;
};

/*
 * Tell the host why there will be no run, with errno's text if that is not 0. The host ends this
 * guest then.
 * @type: FVM_FRAME_FAILED or FVM_FRAME_REFUSED.
 */
_Noreturn void service_give_up(struct service *service, enum fvm_frame_type type, const char *what);

/* Serve the host: one SETUP, any number of rehearsals, one run. Does not return. */
_Noreturn void service_serve(struct service *service);
