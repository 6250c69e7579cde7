/* SPDX-License-Identifier: MIT */
/* The process that is or becomes the snippet: the waiting zygote, or a real interpreter started
 * anew. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "request.h"

/* Whom the snippet runs as. */
struct account {
    uid_t uid;
    gid_t gid;
    char home[256];
};

/* All descriptors are the agent's ends, non-blocking, -1 when closed. */
struct interpreter {
    pid_t pid;
    int stdin_fd;
    int stdout_fd;
    int stderr_fd;
    int control_fd;
};

/*
 * Find the account that the image's config names ("uid[:gid]", or names of /etc/passwd and
 * /etc/group). root, "" and a name that is not there give uid 1000: the snippet never runs as root.
 */
void account_find(const char *user, struct account *ret_account);

/* Start the zygote. It writes one byte to control_fd when it waits. Return: 0, or -1 with errno. */
int interpreter_start_zygote(const struct setup *setup, const struct account *account,
                             struct interpreter *ret_interpreter);

/* Let the waiting zygote become the snippet. A second byte on control_fd says that it does. Return:
 * 0 or -1. */
int interpreter_become(struct interpreter *zygote, const struct request *request);

/* Start a real interpreter with the request's python_args and environment. Return: 0, or -1 with
 * errno. */
int interpreter_exec(const struct setup *setup, const struct account *account,
                     const struct request *request, struct interpreter *ret_interpreter);

/* Close all descriptors. */
void interpreter_close(struct interpreter *interpreter);
