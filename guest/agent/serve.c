/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <string.h>
#include <unistd.h>

#include "intake.h"
#include "log.h"
#include "rehearsal.h"
#include "run.h"
#include "standby.h"
#include "system.h"

/* What most requests ask for: then nothing is to be set while the host waits. */
enum { USUAL_MAX_PROCESSES = 4096 };

_Noreturn void service_give_up(struct service *service, enum fvm_frame_type type, const char *what)
{
    int cause = errno;

    channel_send_sentence(&service->channel, type, "%s%s%s", what, cause ? ": " : "",
                          cause ? strerror(cause) : "");
    for (;;)
        pause();
}

/* The kernel's generator; the interpreter's follow with what that gives. */
static void reseed(struct service *service, const struct fvm_frame *frame)
{
    if (system_reseed(frame->payload, frame->size) < 0)
        service_give_up(service, FVM_FRAME_FAILED, "cannot reseed the random number generator");
    service->reseeded = true;
    service->interpreter_reseeded = false;
}

/* While there is time for it. */
static void reseed_interpreter(struct service *service)
{
    if (interpreter_reseed(&service->snippet.zygote) < 0 ||
        interpreter_await(&service->snippet.zygote) != NULL)
        service_give_up(service, FVM_FRAME_FAILED, "the waiting interpreter is gone");
    service->interpreter_reseeded = true;
}

static _Noreturn void serve_run(struct service *service, struct fvm_frame *frame)
{
    struct request request;
    uint64_t file_bytes;

    intake(service, &service->snippet, &service->channel, frame, &request, &file_bytes);
    run_snippet(service, &service->snippet, &request, file_bytes, &service->channel, true);
    for (;;) { /* the host ends this guest */
        channel_flush(&service->channel);
        channel_fill(&service->channel);
    }
}

static void set_up(struct service *service)
{
    struct fvm_frame frame;
    const char *wrong;

    channel_receive(&service->channel, &frame);
    if (frame.type != FVM_FRAME_SETUP)
        agent_die("the host did not begin with SETUP");
    wrong = setup_parse(frame.payload, frame.size, &service->setup);
    if (wrong)
        agent_die("%s", wrong);
    service->snippet = (struct seat){.group = LIMITS_SNIPPET, .zygote = INTERPRETER_NONE};
    account_find(service->setup.user, &service->snippet.account);
    rehearsal_init(&service->rehearsal, &service->snippet.account);
    work_make(&service->snippet.account, &service->work);
    service->starvation_fd = limits_watch_starvation();
    if (limits_set(LIMITS_SNIPPET, USUAL_MAX_PROCESSES, 0) < 0)
        agent_die_errno("cannot set the snippet's limits");
    standby(service, &service->snippet);
    channel_send(&service->channel, FVM_FRAME_READY, NULL, 0);
}

void service_serve(struct service *service)
{
    struct fvm_frame frame;

    set_up(service);
    for (;;) {
        channel_receive(&service->channel, &frame);
        if (frame.type == FVM_FRAME_RESEED) {
            reseed(service, &frame);
        } else if (frame.type == FVM_FRAME_REHEARSE) {
            rehearse(service, frame.size > 0);
            if (service->reseeded)
                reseed_interpreter(service);
            channel_send(&service->channel, FVM_FRAME_READY, NULL, 0);
        } else {
            serve_run(service, &frame);
        }
    }
}
