/* SPDX-License-Identifier: MIT */
/*
 * The agent: PID 1 of most guests. It makes the machine ready, starts the interpreter, and speaks
 * to the host. It is the only process that holds the channel, and the snippet runs as another user,
 * so a snippet cannot forge a result while the guest's kernel holds.
 */
#include <signal.h>
#include <sys/signalfd.h>

#include "limits.h"
#include "log.h"
#include "serve.h"
#include "start.h"
#include "system.h"
#include "turns.h"

/* SIGCHLD comes through a descriptor, so that the event loop can wait for everything in one place.
 */
static int block_signals(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &child, NULL) < 0)
        agent_die_errno("sigprocmask");
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(void)
{
    static struct service service;

    start_prepare();
    start_open_channel(&service.channel);
    limits_prepare();
    system_enter_root();
    service.signal_fd = block_signals();
    turns_of_agent();
    service_serve(&service);
}
