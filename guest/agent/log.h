/* SPDX-License-Identifier: MIT */
/* What the agent has to say goes to the guest's console; the host keeps the end of it for its
 * errors. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line, in one write: so the kernel's log takes it as one. */
void agent_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The guest is of no use: say why and end PID 1, which panics the kernel and so ends the VM. */
#define agent_die(format, ...)                                                                     \
    do {                                                                                           \
        agent_log(format, ##__VA_ARGS__);                                                          \
        exit(1);                                                                                   \
    } while (0)

#define agent_die_errno(format, ...) agent_die(format ": %s", ##__VA_ARGS__, strerror(errno))
