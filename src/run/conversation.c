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

enum stage { BOOTING, READY, STARTING, RUNNING, DONE };

struct conversation {
    struct fvm_vm *vm;
    const struct fvm_run_spec *spec;
    const struct fvm_image *image; /* NULL after booting */
    struct fvm_result *result;     /* NULL while booting */
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

static void add_tail(struct flashvm_error *error, const char *what, const struct fvm_buffer *tail)
{
    size_t size = tail->size;
    char *message;

    while (size > 0 && (tail->data[size - 1] == '\n' || tail->data[size - 1] == '\r'))
        size--;
    if (error == NULL || size == 0)
        return;
    message = fvm_format("%s\n--- %s ---\n%.*s", error->message, what, (int)size, tail->data);
    if (message) {
        free(error->message);
        error->message = message;
    }
}

static int fail_with_tails(struct conversation *conversation, struct flashvm_error *error)
{
    struct fvm_vm *vm = conversation->vm;

    drain(vm->console_fd, &vm->console);
    drain(vm->log_fd, &vm->log);
    add_tail(error, "the VM's process said", &vm->log);
    add_tail(error, "the end of the guest's console", &vm->console);
    return -1;
}

/* What the jail has to say of the VM's end comes a moment after it. */
static void await_last_words(const struct fvm_vm *vm)
{
    struct pollfd end = {.fd = vm->control_fd, .events = POLLIN};

    poll(&end, 1, LAST_WORDS_MS);
}

static int fail_ended(struct conversation *conversation, struct flashvm_error *error)
{
    if (conversation->stage == BOOTING)
        fvm_fail(error, FLASHVM_BOOT_FAILED, "the microVM ended before it was up");
    else
        fvm_fail(error, FLASHVM_GUEST_FAILED,
                 "the microVM ended before it sent a result (the snippet %s begun)",
                 conversation->stage == RUNNING ? "had" : "had not");
    await_last_words(conversation->vm);
    return fail_with_tails(conversation, error);
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
    cleanup_json json_t *json =
        json_loadb(frame->payload, frame->size, JSON_REJECT_DUPLICATES, NULL);
    const char *left_out = NULL;
    json_int_t exit_code, term_signal, execute_us; /* "i" would cut a large number to fit an int */
    json_int_t cpu_time_us, peak_memory_bytes;
    int started, timed_out, oom_killed;

    if (json == NULL || json_unpack(json, "{s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:I, s?s}", /**/
                                    "exit_code", &exit_code,                               /**/
                                    "term_signal", &term_signal,                           /**/
                                    "started", &started,                                   /**/
                                    "timed_out", &timed_out,                               /**/
                                    "oom_killed", &oom_killed,                             /**/
                                    "execute_us", &execute_us,                             /**/
                                    "cpu_time_us", &cpu_time_us,                           /**/
                                    "peak_memory_bytes", &peak_memory_bytes,               /**/
                                    "left_out", &left_out) < 0)
        return fail_nonsense(conversation, "its result is no valid JSON", error);
    if (exit_code < 0 || exit_code > 255 || term_signal < 0 || term_signal > 64 || execute_us < 0 ||
        cpu_time_us < 0 || peak_memory_bytes < 0 || conversation->result->file_fd >= 0)
        return fail_nonsense(conversation, "its result has values out of range", error);
    public->exit_code = (int)exit_code;
    public->term_signal = (int)term_signal;
    public->started = started;
    public->timed_out = timed_out;
    public->oom_killed = oom_killed;
    public->cpu_time_us = (uint64_t)cpu_time_us;
    public->peak_memory_bytes = (uint64_t)peak_memory_bytes;
    public->timings.execute_us = (uint64_t)execute_us;
    if (left_out) {
        public->artifacts_note = strdup(left_out);
        if (public->artifacts_note == NULL)
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

    /* It goes on: give it time, but not for ever. */
    conversation->deadline_us = deadline_in(conversation->spec->grace_ms);
    if (conversation->deadline_us > conversation->last_deadline_us)
        conversation->deadline_us = conversation->last_deadline_us;
    if (frame->type == FVM_FRAME_FILE_DATA)
        return fvm_result_artifact_data(result, frame->payload, frame->size, error);
    if (frame->type == FVM_FRAME_FILE_END)
        return fvm_result_artifact_end(result, error);
    if (fvm_frame_parse_file(frame, &size, path) < 0)
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

/* The guest is not to be trusted: every type is taken only where it belongs. */
static int take_frame(struct conversation *conversation, const struct fvm_frame *frame,
                      struct flashvm_error *error)
{
    const struct fvm_run_spec *spec = conversation->spec;
    struct fvm_result *result = conversation->result;

    if (frame->type == FVM_FRAME_FAILED && conversation->stage == BOOTING)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the image %s cannot run Python: %.*s",
                        conversation->image->reference, (int)frame->size, frame->payload);
    if (frame->type == FVM_FRAME_FAILED)
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "the guest cannot do the run: %.*s",
                        (int)frame->size, frame->payload);
    if (conversation->stage == BOOTING && frame->type == FVM_FRAME_READY) {
        conversation->stage = READY;
        return 0;
    }
    if (conversation->stage == STARTING && frame->type == FVM_FRAME_STARTED) {
        conversation->stage = RUNNING;
        result->public.started = true;
        conversation->deadline_us = deadline_in(spec->timeout_ms + spec->grace_ms);
        conversation->last_deadline_us =
            conversation->deadline_us + spec->collect_timeout_ms * 1000;
        return 0;
    }
    if (conversation->stage != RUNNING)
        return fail_nonsense(conversation, "a frame out of turn", error);
    switch (frame->type) {
    case FVM_FRAME_STDOUT:
        return take_output(&result->out, &result->public.stdout_bytes, spec->max_stdout_bytes,
                           frame, error);
    case FVM_FRAME_STDERR:
        return take_output(&result->err, &result->public.stderr_bytes, spec->max_stderr_bytes,
                           frame, error);
    case FVM_FRAME_FILE:
    case FVM_FRAME_FILE_DATA:
    case FVM_FRAME_FILE_END:
        return take_artifact(conversation, frame, error);
    case FVM_FRAME_RESULT:
        return take_result(conversation, frame, error);
    default:
        return fail_nonsense(conversation, "a frame that only the host sends", error);
    }
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

static bool is_interrupted(const struct fvm_run_spec *spec)
{
    return spec->interrupted == NULL || spec->interrupted(spec->interrupted_data);
}

/* Milliseconds for poll(), rounded up; 0 when the deadline has passed. */
static int time_left_ms(uint64_t deadline_us)
{
    uint64_t now = fvm_now_us();
    uint64_t left_ms = deadline_us > now ? (deadline_us - now + 999) / 1000 : 0;

    return left_ms < 1000000000 ? (int)left_ms : 1000000000;
}

/* What is waited for; the order of the descriptors in poll(). */
enum { CHANNEL, CONTROL, CONSOLE, LOG, INTERRUPT, STDIN, POLL_COUNT };

/* Return: 0; -1 with the error set. */
static int take_events(struct conversation *conversation, struct pollfd polls[POLL_COUNT],
                       struct flashvm_error *error)
{
    struct fvm_vm *vm = conversation->vm;

    if (polls[CONSOLE].revents && !drain(vm->console_fd, &vm->console))
        polls[CONSOLE].fd = -1;
    if (polls[LOG].revents && !drain(vm->log_fd, &vm->log))
        polls[LOG].fd = -1;
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
    const struct fvm_run_spec *spec = conversation->spec;
    struct pollfd polls[POLL_COUNT] = {
        [CHANNEL] = {.fd = vm->channel_fd},
        [CONTROL] = {.fd = vm->control_fd, .events = POLLIN},
        [CONSOLE] = {.fd = vm->console_fd, .events = POLLIN},
        [LOG] = {.fd = vm->log_fd, .events = POLLIN},
        [INTERRUPT] = {.fd = spec->interrupt_fd, .events = POLLIN},
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
        if ((ready < 0 && spec->interrupted && is_interrupted(spec)) ||
            (ready > 0 && polls[INTERRUPT].revents && is_interrupted(spec)))
            return fvm_fail(error, FLASHVM_CANCELLED, "the run was cancelled");
        if (ready > 0 && take_events(conversation, polls, error) < 0)
            return -1;
    }
    return 0;
}

int fvm_conversation_boot(struct fvm_vm *vm, const struct fvm_image *image,
                          const struct fvm_run_spec *spec, struct flashvm_error *error)
{
    __attribute__((cleanup(conversation_finish))) struct conversation conversation = {
        .vm = vm,
        .spec = spec,
        .image = image,
        .stage = BOOTING,
        .sender = FVM_SENDER_INIT,
        .deadline_us = deadline_in(spec->boot_timeout_ms),
    };
    int outcome;

    if (fvm_request_append_setup(&conversation.sender.pending, image, error) < 0)
        return -1;
    outcome = converse_until(&conversation, READY, error);
    if (outcome <= 0)
        return outcome;
    fvm_fail(error, FLASHVM_BOOT_FAILED, "the microVM was not up after %g seconds and was ended",
             (double)spec->boot_timeout_ms / 1000);
    return fail_with_tails(&conversation, error);
}

/* The guest does not answer any more: what it sent so far is the result. */
static void give_up_waiting(struct fvm_result *result)
{
    fvm_result_artifact_abandon(result);
    result->public.timed_out = true;
    result->public.exit_code = EXIT_TIMEOUT;
    result->public.artifacts_note =
        strdup("the guest stopped answering and was ended; files that it "
               "had not sent by then are missing");
}

int fvm_conversation_run(struct fvm_vm *vm, const struct fvm_run_spec *spec,
                         struct fvm_result *result, struct flashvm_error *error)
{
    /* A megabyte of files a second is what the slowest guest takes. */
    const uint64_t start_timeout_ms = spec->start_timeout_ms + (spec->files_in_bytes >> 20) * 1000;
    __attribute__((cleanup(conversation_finish))) struct conversation conversation = {
        .vm = vm,
        .spec = spec,
        .result = result,
        .stage = STARTING,
        .sender = FVM_SENDER_INIT,
        .deadline_us = deadline_in(start_timeout_ms),
    };
    int outcome;

    if (fvm_sender_begin_run(&conversation.sender, spec, error) < 0)
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
    give_up_waiting(result);
    return 0;
}
