/* SPDX-License-Identifier: MIT */
/*
 * The agent's part of a run, on this machine: a function in a process of its own stands in for the
 * interpreter, and the guest around both of them (control groups, clock, workdir) does nothing.
 */
#pragma once

#include "assertions.h"

#include "run.h"

/* What the stand-in has: descriptors 0, 1 and 2, and the control socket. */
typedef void script(int control_fd);

struct agent {
    char *tmpdir; /* in the place of /work */
    struct service service;
    struct request request;
    struct fvm_buffer said; /* to the host: a line for each frame, "TYPE payload" */
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct agent. */
int agent_setup(void **state);
int agent_teardown(void **state);
#define agent_test(test) cmocka_unit_test_setup_teardown(test, agent_setup, agent_teardown)

/* Start a stand-in in the seat of the snippet. */
void agent_start(struct agent *agent, script *stand_in);

/* Run it, with these frames of the host (NULL-terminated text of STDIN frames; NULL: only their
 * end). What the agent said is in agent->said. */
void agent_run(struct agent *agent, const char *const *input);

/* ---- for scripts ----------------------------------------------------------------------------- */

void stand_in_say(int fd, const char *text);

void stand_in_wait(int control_fd); /* says that it does */
void stand_in_take_run(int control_fd);
void stand_in_start(int control_fd); /* its code begins */

void stand_in_begin(int control_fd); /* all three */
