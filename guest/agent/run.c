/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "artifacts.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log.h"
#include "system.h"
#include "turns.h"

enum { EXIT_TIMEOUT = 124 };
enum { STDIN_PENDING_MAX = 1024 * 1024 }; /* of stdin that the snippet has not read yet */

struct run {
    struct service *service;
    struct seat *seat;
    const struct request *request;
    struct channel *channel;
    bool hears;
    struct interpreter snippet;
    struct fvm_buffer stdin_pending;
    bool stdin_ended;
    bool is_zygote; /* else a real interpreter, started for this run */
    bool yields;    /* the snippet gets the first turn */
    bool started, exited, timed_out, starved, cancelled;
    int wait_status;
    uint64_t start_us, end_us, deadline_us; /* 0: not yet */
};

/* ---- the beginning --------------------------------------------------------------------------- */

/* Tell the host why there will be no run. */
static _Noreturn void give_up_with_output(struct run *run, const char *what)
{
    char sentence[800];
    size_t length = (size_t)snprintf(sentence, sizeof sentence, "%s: ", what);
    ssize_t count = read(run->snippet.stderr_fd, sentence + length, sizeof sentence - length - 1);

    length += count > 0 ? (size_t)count : 0;
    while (strchr(": \n", sentence[length - 1]))
        length--;
    sentence[length] = '\0';
    errno = 0;
    service_give_up(run->service, FVM_FRAME_FAILED, sentence);
}

static void apply_limits(struct run *run, uint64_t file_bytes)
{
    const struct request *request = run->request;

    if (limits_set(run->seat->group, request->max_processes, file_bytes) < 0) {
        if (errno != ENOMEM)
            service_give_up(run->service, FVM_FRAME_FAILED, "cannot set the snippet's limits");
        errno = 0;
        service_give_up(run->service, FVM_FRAME_REFUSED,
                        "files_in leave too little memory for the snippet; raise memory_mb");
    }
    if (request->max_disk_bytes > 0 && system_limit_disk(request->max_disk_bytes) < 0)
        service_give_up(run->service, FVM_FRAME_FAILED, "cannot limit what the snippet writes");
}

static void enter_workdir(struct run *run)
{
    char sentence[600];

    if (workdir_prepare(run->request->workdir, &run->seat->account) == 0)
        return;
    snprintf(sentence, sizeof sentence,
             "workdir is \"%.400s\", which the snippet's user (uid %u) cannot use",
             run->request->workdir, run->seat->account.uid);
    service_give_up(run->service, FVM_FRAME_REFUSED, sentence);
}

/* Hand the run to the zygote, or to a real interpreter where only that can honour the request. */
static void start_snippet(struct run *run)
{
    struct service *service = run->service;
    struct seat *seat = run->seat;

    if (request_fits_zygote(run->request)) {
        run->snippet = seat->zygote;
        seat->zygote = INTERPRETER_NONE;
        run->is_zygote = true;
        if (interpreter_become(&run->snippet, run->request, !service->interpreter_reseeded) < 0)
            service_give_up(run->service, FVM_FRAME_FAILED, "the waiting interpreter is gone");
        return;
    }
    kill(seat->zygote.pid, SIGKILL);
    waitpid(seat->zygote.pid, NULL, 0);
    interpreter_close(&seat->zygote);
    if (interpreter_exec(&service->setup, &seat->account, seat->group, run->request,
                         &run->snippet) < 0)
        service_give_up(run->service, FVM_FRAME_FAILED, "cannot start the interpreter");
}

static void send_output(struct run *run, enum fvm_frame_type type, const char *data, size_t size)
{
    while (size > 0) {
        size_t chunk = size < FVM_FRAME_MAX_PAYLOAD ? size : FVM_FRAME_MAX_PAYLOAD;

        channel_send(run->channel, type, data, chunk);
        data += chunk;
        size -= chunk;
    }
}

/* When did it begin? The zygote says so; of another interpreter the end closes by itself at exec. */
static uint64_t read_start_us(struct run *run)
{
    uint8_t answer[9];
    uint64_t nanoseconds;
    ssize_t count = read(run->snippet.control_fd, answer, sizeof answer);

    if (run->is_zygote && (count != sizeof answer || answer[0] != 'S'))
        give_up_with_output(run, "the waiting interpreter could not take the run");
    if (!run->is_zygote && count != 0)
        give_up_with_output(run, "the interpreter does not start");
    if (!run->is_zygote)
        return fvm_now_us();
    memcpy(&nanoseconds, answer + 1, sizeof nanoseconds);
    return le64toh(nanoseconds) / 1000;
}

/* The snippet's code begins: the clock of its timeout with it. */
static void take_start(struct run *run)
{
    run->start_us = read_start_us(run);
    run->deadline_us = run->start_us + run->request->timeout_ms * 1000;
    run->started = true;
    close(run->snippet.control_fd);
    run->snippet.control_fd = -1;
    channel_send(run->channel, FVM_FRAME_STARTED, NULL, 0);
    send_output(run, FVM_FRAME_STDOUT, run->snippet.early_out.data, run->snippet.early_out.size);
    send_output(run, FVM_FRAME_STDERR, run->snippet.early_err.data, run->snippet.early_err.size);
}

/* ---- while it lasts -------------------------------------------------------------------------- */

/* Pass on what a pipe holds; close it at its end. Return: was there anything? */
static bool pass_output(struct run *run, int *fd, enum fvm_frame_type type)
{
    static char chunk[FVM_FRAME_MAX_PAYLOAD];
    ssize_t count = read(*fd, chunk, sizeof chunk);

    if (count > 0) {
        channel_send(run->channel, type, chunk, (size_t)count);
        return true;
    }
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    close(*fd);
    *fd = -1;
    return false;
}

/* Likewise, to its end when that has come: what an interpreter that leaves has written is all there. */
static void pass_outputs(struct run *run, short out_events, short err_events)
{
    if (out_events && pass_output(run, &run->snippet.stdout_fd, FVM_FRAME_STDOUT) &&
        out_events & POLLHUP)
        pass_output(run, &run->snippet.stdout_fd, FVM_FRAME_STDOUT);
    if (err_events && pass_output(run, &run->snippet.stderr_fd, FVM_FRAME_STDERR) &&
        err_events & POLLHUP)
        pass_output(run, &run->snippet.stderr_fd, FVM_FRAME_STDERR);
}

static void pass_stdin(struct run *run)
{
    ssize_t count = 0;

    if (run->stdin_pending.size > 0)
        count = write(run->snippet.stdin_fd, run->stdin_pending.data, run->stdin_pending.size);
    if (count > 0)
        fvm_buffer_consume(&run->stdin_pending, (size_t)count);
    if ((count < 0 && errno != EAGAIN) || (run->stdin_ended && run->stdin_pending.size == 0)) {
        close(run->snippet.stdin_fd); /* all is passed on, or nobody reads it any more */
        run->snippet.stdin_fd = -1;
        fvm_buffer_consume(&run->stdin_pending, run->stdin_pending.size);
    }
}

/* Deal with the frames that have arrived. */
static void take_frames(struct run *run)
{
    struct fvm_frame frame;

    while (channel_next(run->channel, &frame)) {
        if (frame.type == FVM_FRAME_STDIN && !run->stdin_ended) {
            if (run->snippet.pid == 0 || run->snippet.stdin_fd >= 0) /* else nobody reads it */
                fvm_buffer_append(&run->stdin_pending, frame.payload, frame.size);
        } else if (frame.type == FVM_FRAME_STDIN_END)
            run->stdin_ended = true;
        else if (frame.type == FVM_FRAME_CANCEL)
            run->cancelled = true;
        else
            agent_die("the host sent a frame out of turn");
    }
}

static void note_end(struct run *run, int status)
{
    run->exited = true;
    run->wait_status = status;
    run->end_us = fvm_now_us();
}

/* Reap what has ended; notice the snippet's own process among it. */
static void take_children(struct run *run)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(run->service->signal_fd, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == run->snippet.pid)
            note_end(run, status);
}

/* Milliseconds for poll(), rounded up; -1 while there is no deadline. */
static int time_left_ms(const struct run *run)
{
    uint64_t now = fvm_now_us();

    if (run->deadline_us == 0)
        return -1;
    return now < run->deadline_us ? (int)((run->deadline_us - now + 999) / 1000) : 0;
}

/* Wait for the next thing to happen and deal with it. */
static void step(struct run *run)
{
    bool wants_more = run->hears && run->stdin_pending.size < STDIN_PENDING_MAX;
    bool has_stdin = run->stdin_pending.size > 0 || run->stdin_ended;
    struct pollfd polls[] = {
        {.fd = wants_more ? run->channel->in_fd : -1, .events = POLLIN},
        /* What it has written before it was the snippet waits until the host knows of the start. */
        {.fd = run->started ? run->snippet.stdout_fd : -1, .events = POLLIN},
        {.fd = run->started ? run->snippet.stderr_fd : -1, .events = POLLIN},
        {.fd = has_stdin ? run->snippet.stdin_fd : -1, .events = POLLOUT},
        {.fd = run->snippet.control_fd, .events = POLLIN},
        {.fd = run->service->signal_fd, .events = POLLIN},
        {.fd = run->service->starvation_fd, .events = POLLPRI},
    };
    int ready;

    channel_flush(run->channel);
    ready = poll(polls, sizeof polls / sizeof *polls,
                 channel_patience_ms(run->channel, time_left_ms(run)));
    if (run->yields) {
        run->yields = false;
        turns_of_agent();
    }
    if (ready < 0 && errno != EINTR)
        agent_die_errno("poll");
    if (run->deadline_us && fvm_now_us() >= run->deadline_us)
        run->timed_out = true;
    if (wants_more && ready >= 0 && channel_look(run->channel, polls[0].revents))
        take_frames(run);
    if (ready <= 0)
        return;
    if (polls[4].revents) {
        take_start(run);
        polls[1].revents = polls[2].revents = POLLIN | POLLHUP; /* all of it may be there already */
    }
    pass_outputs(run, polls[1].revents, polls[2].revents);
    if (polls[3].revents)
        pass_stdin(run);
    if (polls[5].revents)
        take_children(run);
    else if (run->started && interpreter_is_leaving(&run->snippet))
        note_end(run, 0);
    if (polls[6].revents & POLLPRI)
        run->starved = limits_is_starved();
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * The run is over when the snippet's own process is, as it is for a container. What is left of its
 * group can do nothing any more after this.
 */
static void end_all_processes(struct run *run)
{
    int status;

    /* Nothing is collected and nothing more is read: what it does now nobody sees. */
    if (run->hears && run->exited && run->request->expect[0] == NULL &&
        run->snippet.stdout_fd < 0 && run->snippet.stderr_fd < 0)
        return;
    limits_kill(run->seat->group);
    if (waitpid(run->snippet.pid, &status, 0) == run->snippet.pid && !run->exited)
        note_end(run, status);
    take_children(run); /* nothing is to be heard of them later, after a rehearsal */
}

/* Nobody is left to write: what the pipes still hold is all there will be. */
static void pass_rest_of_output(struct run *run)
{
    while (run->snippet.stdout_fd >= 0 &&
           pass_output(run, &run->snippet.stdout_fd, FVM_FRAME_STDOUT))
        ;
    while (run->snippet.stderr_fd >= 0 &&
           pass_output(run, &run->snippet.stderr_fd, FVM_FRAME_STDERR))
        ;
}

static int exit_code(const struct run *run)
{
    if (run->timed_out)
        return EXIT_TIMEOUT;
    if (WIFSIGNALED(run->wait_status))
        return 128 + WTERMSIG(run->wait_status);
    return WEXITSTATUS(run->wait_status);
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void send_result(struct run *run)
{
    const struct seat *seat = run->seat;
    uint64_t execute_us = run->started ? run->end_us - run->start_us : 0;
    int term_signal = WIFSIGNALED(run->wait_status) ? WTERMSIG(run->wait_status) : 0;
    struct usage used;
    char json[400];

    limits_read_usage(seat->group, &used);
    snprintf(json, sizeof json,
             "{\"exit_code\":%d,\"term_signal\":%d,\"started\":%s,\"timed_out\":%s,"
             "\"oom_killed\":%s,\"reseeded\":%s,\"execute_us\":%ju,\"cpu_time_us\":%ju,"
             "\"peak_memory_bytes\":%ju}",
             exit_code(run), term_signal, boolean(run->started), boolean(run->timed_out),
             boolean(used.oom_killed || run->starved), boolean(run->service->reseeded),
             (uintmax_t)execute_us, (uintmax_t)(used.cpu_time_us - seat->cpu_time_us),
             (uintmax_t)(used.peak_memory_bytes + seat->zygote_bytes));
    channel_send(run->channel, FVM_FRAME_RESULT, json, strlen(json));
}

static void send_artifacts(struct run *run)
{
    cleanup_free char *left_out = NULL;

    if (run->request->expect[0] == NULL)
        return;
    artifacts_send(run->channel, run->service->work.directory, run->request, ARTIFACTS_SEARCH_MS,
                   &left_out);
    channel_send(run->channel, FVM_FRAME_DONE, left_out, left_out ? strlen(left_out) : 0);
}

void run_snippet(struct service *service, struct seat *seat, const struct request *request,
                 uint64_t file_bytes, struct channel *channel, bool hears)
{
    struct run run = {
        .service = service,
        .seat = seat,
        .request = request,
        .channel = channel,
        .hears = hears,
    };

    if (system_set_clock(request->clock_ns) < 0)
        service_give_up(service, FVM_FRAME_FAILED, "cannot set the guest's clock");
    enter_workdir(&run);
    apply_limits(&run, file_bytes);
    if (hears)
        take_frames(&run); /* those that came together with RUN: no event will tell of them */
    start_snippet(&run);
    run.yields = true;
    turns_yield_to_snippet();
    if (run.stdin_ended && run.stdin_pending.size == 0)
        pass_stdin(&run);
    while (!run.exited && !run.timed_out && !run.starved && !run.cancelled)
        step(&run);
    end_all_processes(&run);
    if (run.started)
        pass_rest_of_output(&run);
    send_result(&run);
    send_artifacts(&run);
    fvm_buffer_finish(&run.stdin_pending);
    interpreter_close(&run.snippet);
}
