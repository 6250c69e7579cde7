/* SPDX-License-Identifier: MIT */
#include "turns.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

enum { MILLISECOND = 1000 * 1000 };

/* SCHED_BATCH: it does not take others their turn when it is woken. */
static void set(int nice, uint64_t slice_ns)
{
    struct { /* sched_setattr(2); Debian 12's C library has no name for it */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice_ns, deadline, period;
    } attributes = {
        .size = sizeof attributes,
        .policy = SCHED_BATCH,
        .flags = 1, /* SCHED_FLAG_RESET_ON_FORK */
        .nice = nice,
        .slice_ns = slice_ns,
    };

    if (syscall(SYS_sched_setattr, 0, &attributes, 0) < 0)
        agent_log("cannot set the length of turns: %s", strerror(errno));
}

void turns_of_interpreter(void)
{
    set(0, 20 * MILLISECOND);
}

void turns_of_agent(void)
{
    set(0, 3 * MILLISECOND);
}

/* The scheduler (EEVDF) gives the turn to whom it is due first: by this slice, divided by the weight
 * of this nice value, the agent's is due 27 ms from now. */
void turns_yield_to_snippet(void)
{
    set(19, 400 * 1000);
}
