/* SPDX-License-Identifier: MIT */
/* One run, from the host's REQUEST to the agent's RESULT. */
#pragma once

#include "channel.h"
#include "interpreter.h"

struct service {
    struct channel channel;
    struct setup setup;
    struct account account;
    struct interpreter zygote; /* waits */
    int signal_fd;             /* SIGCHLD */
    int work_fd;               /* /work */
};

/* Start the interpreter and tell the host READY when it waits; FAILED when it does not come up. */
void service_prepare(struct service *service);

/* Receive one request, run it, send its result. */
void service_run(struct service *service);
