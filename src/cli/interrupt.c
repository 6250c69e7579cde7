/* SPDX-License-Identifier: MIT */
#include "cli/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/error.h"

static const int caught_signals[] = {SIGINT, SIGTERM, SIGHUP};

static volatile sig_atomic_t signal_that_came;
static int signal_pipe[2] = {-1, -1};

static void handle_signal(int number)
{
    int saved_errno = errno;

    signal_that_came = number;
    (void)!write(signal_pipe[1], "", 1); /* a full pipe is readable as well */
    errno = saved_errno;
}

int interrupt_catch(struct flashvm_error *error)
{
    /* No SA_RESTART: a write to a reader that is stuck is to be interrupted. */
    struct sigaction action = {.sa_handler = handle_signal, .sa_flags = (int)SA_RESETHAND};

    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return fvm_fail_errno(error, errno, "cannot make a pipe");
    for (size_t i = 0; i < sizeof caught_signals / sizeof *caught_signals; i++) {
        struct sigaction former;

        sigaction(caught_signals[i], NULL, &former);
        if (former.sa_handler != SIG_IGN)
            sigaction(caught_signals[i], &action, NULL);
    }
    return 0;
}

int interrupt_fd(void)
{
    return signal_pipe[0];
}

bool interrupt_came(void *nothing)
{
    char bytes[16];

    (void)nothing;
    while (read(signal_pipe[0], bytes, sizeof bytes) > 0)
        continue;
    return signal_that_came != 0;
}

int interrupt_signal(void)
{
    return signal_that_came;
}
