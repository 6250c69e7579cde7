/* SPDX-License-Identifier: MIT */
#include "agent_fixture.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "system.h"

/* ---- in the place of the guest --------------------------------------------------------------- */

static pid_t stand_in_pid;

int limits_enter(enum limits_group group, pid_t pid)
{
    (void)group, (void)pid;
    return 0;
}

int limits_set(enum limits_group which, uint64_t max_processes, uint64_t file_bytes)
{
    (void)which, (void)max_processes, (void)file_bytes;
    return 0;
}

void limits_kill(enum limits_group which)
{
    (void)which;
    kill(stand_in_pid, SIGKILL);
}

bool limits_is_starved(void)
{
    return false;
}

void limits_read_usage(enum limits_group group, struct usage *ret_usage)
{
    (void)group;
    *ret_usage = (struct usage){.cpu_time_us = 1100, .peak_memory_bytes = 5000};
}

int system_set_clock(int64_t realtime_ns)
{
    (void)realtime_ns;
    return 0;
}

int system_limit_disk(uint64_t bytes)
{
    (void)bytes;
    return 0;
}

int workdir_prepare(const char *workdir, const struct account *account)
{
    (void)workdir, (void)account;
    return 0;
}

_Noreturn void service_give_up(struct service *service, enum fvm_frame_type type, const char *what)
{
    channel_send_sentence(&service->channel, type, "%s", what);
    abort();
}

/* ---- the stand-in ---------------------------------------------------------------------------- */

void stand_in_say(int fd, const char *text)
{
    fvm_write_all(fd, text, strlen(text));
}

void stand_in_wait(int control_fd)
{
    stand_in_say(control_fd, "R");
}

void stand_in_take_run(int control_fd)
{
    uint32_t size;
    char message[1000];

    if (read(control_fd, &size, sizeof size) != sizeof size ||
        read(control_fd, message, le32toh(size)) != (ssize_t)le32toh(size))
        _exit(99);
}

void stand_in_start(int control_fd)
{
    uint8_t start[9] = {'S'};
    uint64_t now_ns = htole64(fvm_now_us() * 1000);

    memcpy(start + 1, &now_ns, sizeof now_ns);
    fvm_write_all(control_fd, start, sizeof start);
    close(control_fd);
}

void stand_in_begin(int control_fd)
{
    stand_in_wait(control_fd);
    stand_in_take_run(control_fd);
    stand_in_start(control_fd);
}

void agent_start(struct agent *agent, script *stand_in)
{
    int in[2], out[2], err[2], control[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
    stand_in_pid = fork();
    if (stand_in_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* whatever becomes of the test */
        dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        close(err[0]), close(err[1]), close(control[0]);
        stand_in(control[1]);
        _exit(0);
    }
    close(in[0]), close(out[1]), close(err[1]), close(control[1]);
    assert_int_equal(fcntl(in[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(err[0], F_SETFL, O_NONBLOCK), 0);
    agent->service.snippet.zygote = (struct interpreter){
        .pid = stand_in_pid,
        .stdin_fd = in[1],
        .stdout_fd = out[0],
        .stderr_fd = err[0],
        .control_fd = control[0],
    };
}

/* ---- the agent ------------------------------------------------------------------------------- */

static const char *const no_strings[] = {NULL};
static const char *const unbuffered[] = {"-u", NULL};

int agent_setup(void **state)
{
    struct agent *agent = calloc(1, sizeof *agent);
    sigset_t child;

    assert_non_null(agent);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    assert_int_equal(sigprocmask(SIG_BLOCK, &child, NULL), 0);
    agent->tmpdir = make_own_tmpdir();
    agent->service = (struct service){
        .channel = {.in_fd = -1, .out_fd = -1},
        .snippet = {.group = LIMITS_SNIPPET, .zygote = INTERPRETER_NONE, .cpu_time_us = 100},
        .work.directory = open(agent->tmpdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK),
        .starvation_fd = -1,
        .reseeded = true,
    };
    agent->request = (struct request){
        .python_args = unbuffered,
        .args = no_strings,
        .env = no_strings,
        .expect = no_strings,
        .workdir = "/work",
        .timeout_ms = 20000,
        .max_processes = 10,
        .max_artifacts = 2,
        .max_artifact_bytes = 1000,
        .clock_ns = 1,
    };
    *state = agent;
    return 0;
}

int agent_teardown(void **state)
{
    struct agent *agent = *state;

    kill(stand_in_pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    interpreter_close(&agent->service.snippet.zygote);
    close(agent->service.work.directory);
    close(agent->service.signal_fd);
    fvm_frame_decoder_finish(&agent->service.channel.decoder);
    fvm_buffer_finish(&agent->service.channel.outgoing);
    fvm_buffer_finish(&agent->said);
    remove_own_tmpdir(agent->tmpdir);
    free(agent);
    return 0;
}

static void send_input(int host_fd, const char *const *input)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    for (; input && *input; input++) {
        fvm_frame_encode_header(FVM_FRAME_STDIN, strlen(*input), header);
        assert_int_equal(fvm_write_all(host_fd, header, sizeof header), 0);
        assert_int_equal(fvm_write_all(host_fd, *input, strlen(*input)), 0);
    }
    fvm_frame_encode_header(FVM_FRAME_STDIN_END, 0, header);
    assert_int_equal(fvm_write_all(host_fd, header, sizeof header), 0);
}

/* Of a FILE frame only the path. */
static void note_frame(struct agent *agent, const struct fvm_frame *frame)
{
    static const char *const names[FVM_FRAME_TYPE_END] = {
        [FVM_FRAME_STARTED] = "STARTED",   [FVM_FRAME_STDOUT] = "STDOUT",
        [FVM_FRAME_STDERR] = "STDERR",     [FVM_FRAME_RESULT] = "RESULT",
        [FVM_FRAME_FILE] = "FILE",         [FVM_FRAME_FILE_DATA] = "FILE_DATA",
        [FVM_FRAME_FILE_END] = "FILE_END", [FVM_FRAME_DONE] = "DONE",
    };
    size_t skipped = frame->type == FVM_FRAME_FILE ? 9 : 0;
    cleanup_free char *line = fvm_format("%s %.*s\n", names[frame->type] ?: "another frame",
                                         (int)(frame->size - skipped), frame->payload + skipped);

    assert_int_equal(fvm_buffer_append(&agent->said, line, strlen(line)), 0);
}

static void take_what_was_said(struct agent *agent, int host_fd)
{
    struct fvm_frame_decoder decoder = {0};
    struct fvm_frame frame;
    char chunk[4096];
    ssize_t size;

    while ((size = read(host_fd, chunk, sizeof chunk)) > 0) {
        assert_int_equal(fvm_frame_decoder_feed(&decoder, chunk, (size_t)size), 0);
        while (fvm_frame_decoder_next(&decoder, &frame) > 0)
            note_frame(agent, &frame);
    }
    fvm_frame_decoder_finish(&decoder);
}

void agent_run(struct agent *agent, const char *const *input)
{
    struct service *service = &agent->service;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    service->channel.in_fd = service->channel.out_fd = ends[0];
    send_input(ends[1], input);
    run_snippet(service, &service->snippet, &agent->request, 0, &service->channel, true);
    channel_flush(&service->channel);
    close(ends[0]);
    take_what_was_said(agent, ends[1]);
    close(ends[1]);
}
