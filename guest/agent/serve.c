/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "artifacts.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "files.h"
#include "limits.h"
#include "log.h"
#include "system.h"

enum { EXIT_TIMEOUT = 124 };
enum { STDIN_PENDING_MAX = 1024 * 1024 }; /* of stdin that the snippet has not read yet */

/* After a failure the host ends this VM; until then there is nothing to do. */
static void wait_for_the_end(void)
{
    for (;;)
        pause();
}

/* ---- the interpreter comes up ---- */

static void fail_with_output(struct service *service, const char *what)
{
    char output[700] = "";
    ssize_t count = read(service->zygote.stderr_fd, output, sizeof output - 1);

    while (count > 0 && output[count - 1] == '\n')
        output[--count] = '\0';
    channel_send_failed(&service->channel, "%s%s%s", what, count > 0 ? ": " : "",
                        count > 0 ? output : "");
    wait_for_the_end();
}

/* The image's fault, unless the guest's memory was too small for the interpreter. */
static void fail_without_interpreter(struct service *service)
{
    char what[4200];
    int status;

    if (waitpid(service->zygote.pid, &status, 0) != service->zygote.pid)
        agent_die_errno("cannot wait for %s", service->setup.python);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        agent_die("%s was killed while it started, most likely since it used up the memory",
                  service->setup.python);
    snprintf(what, sizeof what, "%s ended before it was ready, with %s %d", service->setup.python,
             WIFSIGNALED(status) ? "signal" : "exit code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fail_with_output(service, what);
}

void service_prepare(struct service *service)
{
    char byte;

    if (interpreter_start_zygote(&service->setup, &service->account, &service->zygote) < 0)
        agent_die_errno("cannot start %s", service->setup.python);
    /* The end of the stream without a byte: the interpreter is gone. */
    if (read(service->zygote.control_fd, &byte, 1) != 1)
        fail_without_interpreter(service);
    channel_send(&service->channel, FVM_FRAME_READY, NULL, 0);
}

/* ---- a run ---- */

struct run {
    struct service *service;
    struct request request;
    struct interpreter snippet;
    struct fvm_buffer stdin_pending;
    bool stdin_ended;
    int timer_fd;
    int starvation_fd;
    bool via_zygote;
    bool started, exited, timed_out, starved, cancelled;
    int wait_status;
    struct timespec start, end;
    struct usage used_before; /* by the interpreter, until the snippet's code began */
    struct usage used;        /* with what the snippet added */
};

static struct timespec now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static void fail(struct run *run, const char *what)
{
    channel_send_failed(&run->service->channel, "%s%s%s", what, errno ? ": " : "",
                        errno ? strerror(errno) : "");
    wait_for_the_end();
}

/* Take frames until RUN. */
static void receive_request(struct run *run)
{
    struct service *service = run->service;
    struct receiver receiver = {.work_fd = service->work_fd, .file_fd = -1};
    cleanup_buffer struct fvm_buffer json = {0};
    struct fvm_frame frame;
    const char *wrong = NULL;

    for (;;) {
        channel_receive(&service->channel, &frame);
        errno = 0;
        if (frame.type == FVM_FRAME_REQUEST)
            wrong =
                fvm_buffer_append(&json, frame.payload, frame.size) < 0 ? "out of memory" : NULL;
        else if (frame.type == FVM_FRAME_FILE || frame.type == FVM_FRAME_FILE_DATA ||
                 frame.type == FVM_FRAME_FILE_END)
            wrong = receiver_take(&receiver, &frame, &service->account);
        else if (frame.type == FVM_FRAME_RUN)
            break;
        else
            wrong = "the host sent a frame out of turn";
        if (wrong)
            fail(run, wrong);
    }
    errno = 0;
    wrong = request_parse(json.data, json.size, &run->request);
    if (wrong)
        fail(run, wrong);
}

/* Hand the run to the zygote, or to a real interpreter where only that can honour the request. */
static void start_snippet(struct run *run)
{
    struct service *service = run->service;

    if (system_set_clock(run->request.clock_ns) < 0)
        fail(run, "cannot set the guest's clock");
    if (system_reseed(run->request.seed, sizeof run->request.seed) < 0)
        fail(run, "cannot reseed the guest's random number generator");
    if (workdir_prepare(run->request.workdir, &service->account) < 0) {
        char no_workdir[600];

        snprintf(no_workdir, sizeof no_workdir, "uid %u cannot use the working directory %s",
                 service->account.uid, run->request.workdir);
        fail(run, no_workdir);
    }
    if (limits_set(run->request.max_processes, system_disk_used()) < 0)
        fail(run, errno == ENOMEM
                      ? "files_in leave too little memory for the snippet; raise memory_mb"
                      : "cannot set the snippet's limits");
    if (run->request.max_disk_bytes > 0 && system_limit_disk(run->request.max_disk_bytes) < 0)
        fail(run, "cannot limit what the snippet writes");
    if (request_fits_zygote(&run->request)) {
        run->snippet = service->zygote;
        run->via_zygote = true;
        if (limits_enter(run->snippet.pid) < 0)
            fail(run, "cannot limit the snippet");
        if (interpreter_become(&run->snippet, &run->request) < 0)
            fail(run, "the waiting interpreter is gone");
        return;
    }
    kill(service->zygote.pid, SIGKILL);
    waitpid(service->zygote.pid, NULL, 0);
    interpreter_close(&service->zygote);
    if (interpreter_exec(&service->setup, &service->account, &run->request, &run->snippet) < 0)
        fail(run, "cannot start the interpreter");
}

/* The snippet's code begins: the clock of its timeout with it. */
static void take_start(struct run *run)
{
    const struct itimerspec timeout = {
        .it_value = {
            .tv_sec = (time_t)(run->request.timeout_ms / 1000),
            .tv_nsec = (long)(run->request.timeout_ms % 1000) * 1000000,
        }};

    char byte;

    /* The zygote says so itself; a program started anew by letting its end close at exec. */
    if (run->via_zygote && read(run->snippet.control_fd, &byte, 1) != 1)
        fail_with_output(run->service, "the waiting interpreter could not take the run");
    run->started = true;
    run->start = now();
    limits_read_usage(&run->used_before);
    close(run->snippet.control_fd);
    run->snippet.control_fd = -1;
    if (timerfd_settime(run->timer_fd, 0, &timeout, NULL) < 0)
        fail(run, "cannot set the timeout");
    channel_send(&run->service->channel, FVM_FRAME_STARTED, NULL, 0);
}

/* Pass on what a pipe holds; close it at its end. Return: was there anything? */
static bool pass_output(struct run *run, int *fd, enum fvm_frame_type type)
{
    static char chunk[FVM_FRAME_MAX_PAYLOAD];
    ssize_t count = read(*fd, chunk, sizeof chunk);

    if (count > 0) {
        channel_send(&run->service->channel, type, chunk, (size_t)count);
        return true;
    }
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    close(*fd);
    *fd = -1;
    return false;
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

    while (channel_next(&run->service->channel, &frame)) {
        if (frame.type == FVM_FRAME_STDIN && !run->stdin_ended) {
            if (run->snippet.stdin_fd >= 0) /* else nobody reads it any more */
                fvm_buffer_append(&run->stdin_pending, frame.payload, frame.size);
        } else if (frame.type == FVM_FRAME_STDIN_END)
            run->stdin_ended = true;
        else if (frame.type == FVM_FRAME_CANCEL)
            run->cancelled = true;
        else
            agent_die("the host sent a frame out of turn");
    }
}

/* Reap what has ended; notice the snippet's own process among it. */
static void take_children(struct run *run)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(run->service->signal_fd, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != run->snippet.pid)
            continue;
        run->exited = true;
        run->wait_status = status;
        run->end = now();
    }
}

/* Wait for the next thing to happen and deal with it. */
static void step(struct run *run)
{
    struct pollfd polls[] = {
        {.fd = run->stdin_pending.size < STDIN_PENDING_MAX ? run->service->channel.fd : -1,
         .events = POLLIN},
        {.fd = run->snippet.stdout_fd, .events = POLLIN},
        {.fd = run->snippet.stderr_fd, .events = POLLIN},
        {.fd = run->stdin_pending.size || run->stdin_ended ? run->snippet.stdin_fd : -1,
         .events = POLLOUT},
        {.fd = run->snippet.control_fd, .events = POLLIN},
        {.fd = run->timer_fd, .events = POLLIN},
        {.fd = run->service->signal_fd, .events = POLLIN},
        {.fd = run->starvation_fd, .events = POLLPRI},
    };

    if (poll(polls, sizeof polls / sizeof *polls, -1) < 0 && errno != EINTR)
        agent_die_errno("poll");
    if (polls[0].revents) {
        channel_fill(&run->service->channel);
        take_frames(run);
    }
    if (polls[4].revents) /* before the output that it leads to */
        take_start(run);
    if (polls[1].revents)
        pass_output(run, &run->snippet.stdout_fd, FVM_FRAME_STDOUT);
    if (polls[2].revents)
        pass_output(run, &run->snippet.stderr_fd, FVM_FRAME_STDERR);
    if (polls[3].revents)
        pass_stdin(run);
    if (polls[5].revents)
        run->timed_out = true;
    if (polls[6].revents)
        take_children(run);
    if (polls[7].revents & POLLPRI)
        run->starved = limits_is_starved();
}

/*
 * End every process but this one: the run is over when the snippet's own process is, as it is for a
 * container. As PID 1, kill(-1) reaches them all; a fork bomb needs several rounds.
 */
static void end_all_processes(struct run *run)
{
    int status;
    pid_t pid;

    do {
        kill(-1, SIGKILL);
        pid = waitpid(-1, &status, 0);
        if (pid == run->snippet.pid && !run->exited) {
            run->exited = true;
            run->wait_status = status;
            run->end = now();
        }
    } while (pid > 0 || errno == EINTR);
}

static int exit_code(const struct run *run)
{
    if (run->timed_out)
        return EXIT_TIMEOUT;
    if (WIFSIGNALED(run->wait_status))
        return 128 + WTERMSIG(run->wait_status);
    return WEXITSTATUS(run->wait_status);
}

/* Return: NULL when memory is exhausted. */
static json_t *describe(const struct run *run, const char *left_out)
{
    int64_t execute_us = run->started ? (run->end.tv_sec - run->start.tv_sec) * 1000000 +
                                            (run->end.tv_nsec - run->start.tv_nsec) / 1000
                                      : 0;
    int term_signal = WIFSIGNALED(run->wait_status) ? WTERMSIG(run->wait_status) : 0;
    uint64_t cpu_time_us = run->used.cpu_time_us - run->used_before.cpu_time_us;
    uint64_t peak_memory_bytes = run->used.peak_memory_bytes + run->used_before.interpreter_bytes;

    return json_pack("{s:i, s:i, s:b, s:b, s:b, s:I, s:I, s:I, s:s*}",   /**/
                     "exit_code", exit_code(run),                        /**/
                     "term_signal", term_signal,                         /**/
                     "started", run->started,                            /**/
                     "timed_out", run->timed_out,                        /**/
                     "oom_killed", run->used.oom_killed || run->starved, /**/
                     "execute_us", (json_int_t)execute_us,               /**/
                     "cpu_time_us", (json_int_t)cpu_time_us,             /**/
                     "peak_memory_bytes", (json_int_t)peak_memory_bytes, /**/
                     "left_out", left_out);
}

static void send_result(struct run *run, const char *left_out)
{
    cleanup_json json_t *json = describe(run, left_out);
    cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text == NULL)
        agent_die("out of memory");
    channel_send(&run->service->channel, FVM_FRAME_RESULT, text, strlen(text));
}

void service_run(struct service *service)
{
    struct run run = {
        .service = service,
        .timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
        .starvation_fd = limits_watch_starvation(),
    };
    cleanup_free char *left_out = NULL;

    receive_request(&run);
    start_snippet(&run);
    take_frames(&run); /* those that came together with RUN: no event will tell of them */
    while (!run.exited && !run.timed_out && !run.starved && !run.cancelled)
        step(&run);
    end_all_processes(&run);
    limits_read_usage(&run.used);
    /* Nobody is left to write: what the pipes still hold is all there will be. */
    while (run.snippet.stdout_fd >= 0 &&
           pass_output(&run, &run.snippet.stdout_fd, FVM_FRAME_STDOUT))
        ;
    while (run.snippet.stderr_fd >= 0 &&
           pass_output(&run, &run.snippet.stderr_fd, FVM_FRAME_STDERR))
        ;
    artifacts_send(&service->channel, service->work_fd, &run.request, ARTIFACTS_SEARCH_MS,
                   &left_out);
    send_result(&run, left_out);
    wait_for_the_end();
}
