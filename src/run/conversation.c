/* SPDX-License-Identifier: MIT */
#include "run/conversation.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "protocol/frame.h"
#include "run/request.h"
#include "run/sender.h"

enum { EXIT_TIMEOUT = 124 };

enum { LAST_WORDS_MS = 500 };
enum { TAIL_SIZE = 4096 };  /* kept of the console and the log, for errors */
enum { DRAIN_CHUNKS = 32 }; /* of 4 KiB at a time: a full pipe and more, but no endless stream */

enum stage { BOOTING, REHEARSING, READY, STARTING, RUNNING, COLLECTING, DONE };

struct conversation {
    struct fvm_vm *vm;
    struct fvm_caller *caller;
    const struct fvm_image *image;   /* while booting */
    const struct fvm_run_spec *spec; /* of a run, and then */
    struct fvm_result *result;
    struct fvm_frame_decoder decoder;
    struct fvm_sender sender;
    enum stage stage;
    uint64_t deadline_us, last_deadline_us;
};

static void conversation_finish(struct conversation *conversation)
{
    fvm_frame_decoder_finish(&conversation->decoder);
    fvm_sender_finish(&conversation->sender);
}

static uint64_t deadline_in(uint64_t timeout_ms)
{
    return fvm_now_us() + timeout_ms * 1000;
}

/* ---- errors, with what the VM had to say ---- */

/* Keep the end of what a descriptor gives. Return: false at its end. */
static bool drain(int fd, struct fvm_buffer *tail)
{
    char chunk[4096];

    for (int i = 0; i < DRAIN_CHUNKS; i++) {
        ssize_t count = read(fd, chunk, sizeof chunk);

        if (count <= 0)
            return count < 0 && (errno == EAGAIN || errno == EINTR);
        fvm_buffer_append(tail, chunk, (size_t)count);
        fvm_buffer_keep_tail(tail, TAIL_SIZE);
    }
    return true;
}

/* A serial console ends its lines with them. */
static void remove_carriage_returns(char *text)
{
    char *to = text;

    for (const char *from = text; text && *from; from++)
        if (*from != '\r')
            *to++ = *from;
    if (text)
        *to = '\0';
}

static void add_tail(struct flashvm_error *error, const char *what, const struct fvm_buffer *tail)
{
    size_t size = tail->size;
    char *message;

    while (size > 0 && (tail->data[size - 1] == '\n' || tail->data[size - 1] == '\r'))
        size--;
    if (error == NULL || size == 0)
        return;
    message = fvm_format("%s\n--- %s ---\n%.*s", error->message, what, (int)size, tail->data);
    remove_carriage_returns(message);
    if (message) {
        free(error->message);
        error->message = message;
    }
}

static int fail_with_tails(struct conversation *conversation, struct flashvm_error *error)
{
    struct fvm_vm *vm = conversation->vm;

    /* An engine that speaks by its standard output complains there, too. */
    if (conversation->stage == BOOTING)
        add_tail(error, "in the place of the agent", &conversation->decoder.pending);
    drain(vm->console_fd, &vm->console);
    drain(vm->log_fd, &vm->log);
    add_tail(error, "the VM's process said", &vm->log);
    add_tail(error, "the end of the guest's console", &vm->console);
    return -1;
}

/* The guest does not answer any more, or is gone, and all is known but the rest of the artifacts. */
static int end_without_the_rest(struct conversation *conversation, const char *how)
{
    struct flashvm_result *public = &conversation->result->public;

    fvm_result_artifact_abandon(conversation->result);
    free((char *)public->artifacts_note);
    public->artifacts_note =
        fvm_format("the guest %s; files that it had not sent by then are missing", how);
    conversation->stage = DONE;
    return 0;
}

static int fail_ended(struct conversation *conversation, struct flashvm_error *error)
{
    const struct fvm_engine *engine = conversation->vm->engine;

    if (conversation->stage == COLLECTING)
        return end_without_the_rest(conversation, "ended while it sent files");
    if (conversation->stage < READY)
        fvm_fail(error, FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
    else
        fvm_fail(error, FLASHVM_GUEST_FAILED,
                 "the microVM ended before it sent a result (the snippet %s begun)",
                 conversation->stage == RUNNING ? "had" : "had not");
    fvm_vm_ends(conversation->vm,
                LAST_WORDS_MS); /* what its jail has to say comes a moment later */
    fail_with_tails(conversation, error);
    if (conversation->stage < READY && engine->lacks_memory &&
        engine->lacks_memory(conversation->vm))
        fvm_fail_context(error,
                         "the host has not so much memory for a guest, so lower its memory_mb");
    return -1;
}

/* ---- frames from the guest ---- */

static int fail_nonsense(struct conversation *conversation, const char *what,
                         struct flashvm_error *error)
{
    fvm_fail(error, FLASHVM_GUEST_FAILED, "the guest does not keep to the protocol: %s", what);
    return fail_with_tails(conversation, error);
}

static int take_result(struct conversation *conversation, const struct fvm_frame *frame,
                       struct flashvm_error *error)
{
    struct flashvm_result *public = &conversation->result->public;
    const struct fvm_run_spec *spec = conversation->spec;
    cleanup_json json_t *json =
        json_loadb(frame->payload, frame->size, JSON_REJECT_DUPLICATES, NULL);
    json_int_t exit_code, term_signal, execute_us; /* "i" would cut a large number to fit an int */
    json_int_t cpu_time_us, peak_memory_bytes;
    int started, timed_out, oom_killed, reseeded;

    if (json == NULL || json_unpack(json, "{s:I, s:I, s:b, s:b, s:b, s:b, s:I, s:I, s:I}", /**/
                                    "exit_code", &exit_code,                               /**/
                                    "term_signal", &term_signal,                           /**/
                                    "started", &started,                                   /**/
                                    "timed_out", &timed_out,                               /**/
                                    "oom_killed", &oom_killed,                             /**/
                                    "reseeded", &reseeded,                                 /**/
                                    "execute_us", &execute_us,                             /**/
                                    "cpu_time_us", &cpu_time_us,                           /**/
                                    "peak_memory_bytes", &peak_memory_bytes) < 0)
        return fail_nonsense(conversation, "its result is no valid JSON", error);
    if (exit_code < 0 || exit_code > 255 || term_signal < 0 || term_signal > 64 || execute_us < 0 ||
        cpu_time_us < 0 || peak_memory_bytes < 0)
        return fail_nonsense(conversation, "its result has values out of range", error);
    if (started != (conversation->stage == RUNNING))
        return fail_nonsense(conversation, "its result and its frames differ on the start", error);
    if (!reseeded)
        return fail_nonsense(conversation, "it ran the snippet without new randomness", error);
    public->exit_code = (int)exit_code;
    public->term_signal = (int)term_signal;
    public->started = started;
    public->timed_out = timed_out;
    public->oom_killed = oom_killed;
    public->reseeded = public->clock_set = true; /* or there would be no result */
    public->cpu_time_us = (uint64_t)cpu_time_us;
    public->peak_memory_bytes = (uint64_t)peak_memory_bytes;
    public->timings.execute_us = (uint64_t)execute_us;
    conversation->stage = spec->expect[0] ? COLLECTING : DONE;
    conversation->deadline_us = deadline_in(spec->grace_ms);
    conversation->last_deadline_us = deadline_in(spec->collect_timeout_ms);
    return 0;
}

static int take_end(struct conversation *conversation, const struct fvm_frame *frame,
                    struct flashvm_error *error)
{
    if (conversation->result->file_fd >= 0)
        return fail_nonsense(conversation, "it ends within an artifact", error);
    if (frame->size > 0) {
        conversation->result->public.artifacts_note = strndup(frame->payload, frame->size);
        if (conversation->result->public.artifacts_note == NULL)
            return fvm_fail_no_memory(error);
    }
    conversation->stage = DONE;
    return 0;
}

static int take_artifact(struct conversation *conversation, const struct fvm_frame *frame,
                         struct flashvm_error *error)
{
    struct fvm_result *result = conversation->result;
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t size;
    bool executable; /* what a guest calls a program is none of ours */

    /* It goes on: give it time, but not for ever. */
    conversation->deadline_us = deadline_in(conversation->spec->grace_ms);
    if (conversation->deadline_us > conversation->last_deadline_us)
        conversation->deadline_us = conversation->last_deadline_us;
    if (frame->type == FVM_FRAME_FILE_DATA)
        return fvm_result_artifact_data(result, frame->payload, frame->size, error);
    if (frame->type == FVM_FRAME_FILE_END)
        return fvm_result_artifact_end(result, error);
    if (fvm_frame_parse_file(frame, &size, &executable, path) < 0)
        return fail_nonsense(conversation, "an artifact has an unsafe name", error);
    if (result->artifact_count >= conversation->spec->max_artifacts ||
        size > conversation->spec->max_artifact_bytes - result->artifact_bytes)
        return fail_nonsense(conversation, "it sends more artifacts than it was told to", error);
    return fvm_result_artifact_begin(result, path, size, error);
}

static int take_output(struct fvm_buffer *buffer, uint64_t *total, uint64_t limit,
                       const struct fvm_frame *frame, struct flashvm_error *error)
{
    *total += frame->size;
    if (fvm_buffer_append_limited(buffer, frame->payload, frame->size, limit) < 0)
        return fvm_fail_no_memory(error);
    return 0;
}

/* A sentence in the place of what was expected. */
static int take_refusal(struct conversation *conversation, const struct fvm_frame *frame,
                        struct flashvm_error *error)
{
    const struct fvm_run_spec *spec = conversation->spec;
    int size = (int)frame->size;

    if (strnlen(frame->payload, frame->size) == 0)
        return fail_nonsense(conversation, "it refuses without a reason", error);
    if (conversation->stage == BOOTING)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image %s cannot run Python: %.*s",
                        conversation->image->reference, size, frame->payload);
    if (frame->type == FVM_FRAME_FAILED || spec == NULL)
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "the guest cannot do the run: %.*s", size,
                        frame->payload);
    if (spec->workdir_is_images && strncmp(frame->payload, "workdir", 7) == 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the image's config is at fault, give a workdir of your own: %.*s", size,
                        frame->payload);
    return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "%.*s", size, frame->payload);
}

static int take_start(struct conversation *conversation)
{
    const struct fvm_run_spec *spec = conversation->spec;

    conversation->stage = RUNNING;
    conversation->result->public.started = true;
    conversation->deadline_us = deadline_in(spec->timeout_ms + spec->grace_ms);
    return 0;
}

/* The guest is not to be trusted: every type is taken only where it belongs. */
static int take_frame(struct conversation *conversation, const struct fvm_frame *frame,
                      struct flashvm_error *error)
{
    const struct fvm_run_spec *spec = conversation->spec;
    struct fvm_result *result = conversation->result;

    if (frame->type == FVM_FRAME_FAILED ||
        (frame->type == FVM_FRAME_REFUSED && conversation->stage <= STARTING))
        return take_refusal(conversation, frame, error);
    switch (conversation->stage) {
    case BOOTING:
    case REHEARSING:
        if (frame->type != FVM_FRAME_READY)
            break;
        conversation->stage = READY;
        return 0;
    case STARTING:
        if (frame->type == FVM_FRAME_RESULT) /* ended by a limit before the snippet's first line */
            return take_result(conversation, frame, error);
        if (frame->type != FVM_FRAME_STARTED)
            break;
        return take_start(conversation);
    case RUNNING:
        if (frame->type == FVM_FRAME_STDOUT)
            return take_output(&result->out, &result->public.stdout_bytes, spec->max_stdout_bytes,
                               frame, error);
        if (frame->type == FVM_FRAME_STDERR)
            return take_output(&result->err, &result->public.stderr_bytes, spec->max_stderr_bytes,
                               frame, error);
        if (frame->type == FVM_FRAME_RESULT)
            return take_result(conversation, frame, error);
        break;
    case COLLECTING:
        if (frame->type >= FVM_FRAME_FILE && frame->type <= FVM_FRAME_FILE_END)
            return take_artifact(conversation, frame, error);
        if (frame->type == FVM_FRAME_DONE)
            return take_end(conversation, frame, error);
        break;
    case READY:
    case DONE:
        break;
    }
    return fail_nonsense(conversation, "a frame out of turn", error);
}

/* ---- the event loop ---- */

/* Return: 1 when the channel is at its end, 0, or -1. */
static int receive(struct conversation *conversation, struct flashvm_error *error)
{
    char chunk[128 * 1024];
    ssize_t count = recv(conversation->vm->channel_fd, chunk, sizeof chunk, 0);
    struct fvm_frame frame;
    int outcome;

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (count <= 0)
        return 1;
    if (fvm_frame_decoder_feed(&conversation->decoder, chunk, (size_t)count) < 0)
        return fvm_fail_no_memory(error);
    while ((outcome = fvm_frame_decoder_next(&conversation->decoder, &frame)) > 0)
        if (take_frame(conversation, &frame, error) < 0)
            return -1;
    return outcome < 0 ? fail_nonsense(conversation, "bytes that are no frame", error) : 0;
}

/* Milliseconds for poll(), rounded up; 0 when the deadline has passed. */
static int time_left_ms(uint64_t deadline_us)
{
    uint64_t now = fvm_now_us();
    uint64_t left_ms = deadline_us > now ? (deadline_us - now + 999) / 1000 : 0;

    return left_ms < 1000000000 ? (int)left_ms : 1000000000;
}

/* What is waited for; the order of the descriptors in poll(). */
enum { CHANNEL, CONTROL, MONITOR, CONSOLE, LOG, INTERRUPT, STDIN, POLL_COUNT };

/* The engine has something to say: usually that all is well. Return: 0; -1 with the error set. */
static int take_news(struct conversation *conversation, struct pollfd *monitor,
                     struct flashvm_error *error)
{
    int outcome = conversation->vm->engine->take_news(conversation->vm, error);

    if (outcome < 0)
        return fail_with_tails(conversation, error);
    if (outcome > 0)
        monitor->fd = -1; /* there will be no more */
    return 0;
}

/* Return: 0; -1 with the error set. */
static int take_events(struct conversation *conversation, struct pollfd polls[POLL_COUNT],
                       struct flashvm_error *error)
{
    struct fvm_vm *vm = conversation->vm;

    if (polls[CONSOLE].revents && !drain(vm->console_fd, &vm->console))
        polls[CONSOLE].fd = -1;
    if (polls[LOG].revents && !drain(vm->log_fd, &vm->log))
        polls[LOG].fd = -1;
    if (polls[MONITOR].revents && take_news(conversation, &polls[MONITOR], error) < 0)
        return -1;
    if (polls[STDIN].revents && fvm_sender_take_stdin(&conversation->sender, error) < 0)
        return -1;
    if (polls[CHANNEL].revents & POLLOUT &&
        fvm_sender_send(&conversation->sender, vm->channel_fd, error) < 0)
        return -1;
    if (polls[CHANNEL].revents & ~POLLOUT) {
        int outcome = receive(conversation, error);

        return outcome > 0 ? fail_ended(conversation, error) : outcome;
    }
    if (polls[CONTROL].revents) /* and nothing more is in the channel */
        return fail_ended(conversation, error);
    return 0;
}

/*
 * Deal with events until the stage is reached.
 * Return: 0; 1 when the deadline has passed or, with the error set, -1.
 */
static int converse_until(struct conversation *conversation, enum stage wanted,
                          struct flashvm_error *error)
{
    struct fvm_vm *vm = conversation->vm;
    struct fvm_caller *caller = conversation->caller;
    struct pollfd polls[POLL_COUNT] = {
        [CHANNEL] = {.fd = vm->channel_fd},
        [CONTROL] = {.fd = vm->control_fd, .events = POLLIN},
        [MONITOR] = {.fd = vm->monitor_fd, .events = POLLIN},
        [CONSOLE] = {.fd = vm->console_fd, .events = POLLIN},
        [LOG] = {.fd = vm->log_fd, .events = POLLIN},
        [INTERRUPT] = {.fd = caller->interrupt_fd, .events = POLLIN},
        [STDIN] = {.events = POLLIN},
    };

    while (conversation->stage < wanted) {
        int ready, left_ms = time_left_ms(conversation->deadline_us);

        if (left_ms == 0)
            return 1;
        polls[CHANNEL].events =
            fvm_sender_has_more(&conversation->sender) ? POLLIN | POLLOUT : POLLIN;
        polls[STDIN].fd = fvm_sender_wants(&conversation->sender);
        ready = poll(polls, POLL_COUNT, left_ms);
        if (ready < 0 && errno != EINTR)
            return fvm_fail_errno(error, errno, "cannot wait for the microVM");
        if (((ready < 0 && caller->interrupted) || (ready > 0 && polls[INTERRUPT].revents)) &&
            fvm_caller_gives_up(caller))
            return fvm_fail(error, FLASHVM_CANCELLED, "the run was cancelled");
        if (polls[INTERRUPT].revents & (POLLERR | POLLHUP | POLLNVAL))
            polls[INTERRUPT].fd = -1; /* it would be ready for ever */
        if (ready > 0 && take_events(conversation, polls, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_conversation_boot(struct fvm_vm *vm, const struct fvm_image *image, bool warm,
                          uint64_t timeout_ms, struct fvm_caller *caller,
                          struct flashvm_error *error)
{
    __attribute__((cleanup(conversation_finish))) struct conversation conversation = {
        .vm = vm,
        .caller = caller,
        .image = image,
        .stage = BOOTING,
        .sender = FVM_SENDER_INIT,
        .deadline_us = deadline_in(timeout_ms),
    };
    int outcome;

    if (fvm_request_append_setup(&conversation.sender.pending, image, warm, error) < 0)
        return -1;
    outcome = converse_until(&conversation, READY, error);
    if (outcome <= 0)
        return outcome;
    fvm_fail(error, FLASHVM_BOOT_FAILED, "the microVM was not up after %g seconds and was ended",
             (double)timeout_ms / 1000);
    return fail_with_tails(&conversation, error);
}

int fvm_conversation_rehearse(struct fvm_vm *vm, enum fvm_rehearsal kind, uint64_t timeout_ms,
                              struct fvm_caller *caller, struct flashvm_error *error)
{
    __attribute__((cleanup(conversation_finish))) struct conversation conversation = {
        .vm = vm,
        .caller = caller,
        .stage = REHEARSING,
        .sender = FVM_SENDER_INIT,
        .deadline_us = deadline_in(timeout_ms),
    };
    struct fvm_buffer *pending = &conversation.sender.pending;
    int outcome;

    if (kind == FVM_REHEARSAL_OF_A_COPY && fvm_request_append_reseed(pending, error) < 0)
        return -1;
    if (fvm_request_append_frame(pending, FVM_FRAME_REHEARSE, "s",
                                 kind == FVM_REHEARSAL_OF_A_TEMPLATE, error) < 0)
        return -1;
    outcome = converse_until(&conversation, READY, error);
    if (outcome <= 0)
        return outcome;
    fvm_fail(error, FLASHVM_BOOT_FAILED, "the microVM was not ready after %g seconds and was ended",
             (double)timeout_ms / 1000);
    return fail_with_tails(&conversation, error);
}

/* The guest does not answer any more: what it sent so far is the result. */
static void end_without_a_result(struct fvm_result *result)
{
    result->public.timed_out = true;
    result->public.exit_code = EXIT_TIMEOUT;
    result->public.artifacts_note =
        strdup("the guest stopped answering and was ended, before it sent any files");
}

int fvm_conversation_run(struct fvm_vm *vm, struct fvm_run_spec *spec, bool reseed,
                         struct fvm_result *result, struct flashvm_error *error)
{
    /* A megabyte of files a second is what the slowest guest takes. */
    const uint64_t start_timeout_ms = spec->start_timeout_ms + (spec->files_in_bytes >> 20) * 1000;
    __attribute__((cleanup(conversation_finish))) struct conversation conversation = {
        .vm = vm,
        .caller = &spec->caller,
        .spec = spec,
        .result = result,
        .stage = STARTING,
        .sender = FVM_SENDER_INIT,
        .deadline_us = deadline_in(start_timeout_ms),
    };
    int outcome;

    if ((reseed && fvm_request_append_reseed(&conversation.sender.pending, error) < 0) ||
        fvm_sender_begin_run(&conversation.sender, spec, error) < 0)
        return -1;
    outcome = converse_until(&conversation, DONE, error);
    if (outcome <= 0)
        return outcome;
    if (conversation.stage == STARTING) {
        fvm_fail(error, FLASHVM_GUEST_FAILED,
                 "the guest did not begin the snippet within %g seconds and was ended",
                 (double)start_timeout_ms / 1000);
        return fail_with_tails(&conversation, error);
    }
    if (conversation.stage == COLLECTING)
        end_without_the_rest(&conversation, "stopped answering and was ended");
    else
        end_without_a_result(result);
    return 0;
}
