/* SPDX-License-Identifier: MIT */
#include "standby.h"

#include <signal.h>
#include <sys/wait.h>

#include "log.h"

enum { SHOWN_OUTPUT_MAX = 700 };

/* End it, if it still lives. Return: its wait status. */
static int end(const struct service *service, const struct interpreter *zygote)
{
    int status;

    kill(zygote->pid, SIGTERM);
    if (waitpid(zygote->pid, &status, 0) != zygote->pid)
        agent_die_errno("cannot wait for %s", service->setup.python);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        agent_die("%s was killed while it started, most likely since it used up the memory",
                  service->setup.python);
    return status;
}

/* The image's fault, unless the guest's memory was too small for the interpreter. */
static _Noreturn void fail(struct service *service, const struct interpreter *zygote,
                           const char *what)
{
    const struct fvm_buffer *said = &zygote->early_err;
    size_t size = said->size < SHOWN_OUTPUT_MAX ? said->size : SHOWN_OUTPUT_MAX;

    while (size > 0 && said->data[size - 1] == '\n')
        size--;
    if (zygote->cannot_start) {
        channel_send_sentence(&service->channel, FVM_FRAME_FAILED, "%.*s", (int)size, said->data);
    } else {
        int status = end(service, zygote);

        channel_send_sentence(&service->channel, FVM_FRAME_FAILED, "%s %s, with %s %d%s%.*s",
                              service->setup.python, what,
                              WIFSIGNALED(status) ? "signal" : "exit code",
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                              size > 0 ? ": " : "", (int)size, size > 0 ? said->data : "");
    }
    for (;;)
        pause();
}

void standby(struct service *service, struct seat *seat)
{
    uint64_t before = limits_read_memory_bytes(LIMITS_WAITING);
    const char *instead;

    if (interpreter_start_zygote(&service->setup, &seat->account, &seat->zygote) < 0)
        agent_die_errno("cannot start %s", service->setup.python);
    instead = interpreter_await(&seat->zygote);
    if (instead)
        fail(service, &seat->zygote, instead);
    if (limits_enter(seat->group, seat->zygote.pid) < 0)
        agent_die_errno("cannot limit the interpreter");
    seat->cpu_time_us = limits_read_cpu_time_us(seat->group);
    seat->zygote_bytes = limits_read_memory_bytes(LIMITS_WAITING) - before;
}
