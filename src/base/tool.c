/* SPDX-License-Identifier: MIT */
#include "base/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"

enum { OUTPUT_MAX = 1 << 20, LAST_WORDS_MAX = 1500, ASK_MS = 100 };

/* ---- the environment ------------------------------------------------------------------------- */

/* Those that buildah(1), skopeo(1) and containers-storage.conf(5) name, and what a program of a
 * user's needs. */
static const char *const wanted[] = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "BUILDAH_ISOLATION",
};

static bool has_name(const char *variable, const char *name)
{
    size_t length = strlen(name);

    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_overridden(const char *name, const char *const *overrides)
{
    for (; overrides && *overrides; overrides++)
        if (has_name(*overrides, name))
            return true;
    return false;
}

char **fvm_tool_environment(const char *const *overrides)
{
    enum { NAMES = sizeof wanted / sizeof *wanted };
    const char *values[NAMES];
    size_t count = 1, size = 0;
    char **block, *text;

    for (size_t i = 0; i < NAMES; i++) {
        values[i] = is_overridden(wanted[i], overrides) ? NULL : getenv(wanted[i]);
        count += values[i] != NULL;
        size += values[i] ? strlen(wanted[i]) + strlen(values[i]) + 2 : 0;
    }
    for (const char *const *override = overrides; override && *override; override++, count++)
        size += strlen(*override) + 1;
    block = malloc(count * sizeof *block + size);
    if (block == NULL)
        return NULL;
    text = (char *)(block + count);
    count = 0;
    for (size_t i = 0; i < NAMES; i++)
        if (values[i]) {
            block[count++] = text;
            text += sprintf(text, "%s=%s", wanted[i], values[i]) + 1;
        }
    for (; overrides && *overrides; overrides++) {
        block[count++] = text;
        text = stpcpy(text, *overrides) + 1;
    }
    block[count] = NULL;
    return block;
}

/* ---- the call -------------------------------------------------------------------------------- */

struct running {
    const struct fvm_tool_call *call;
    pid_t pid;
    int out_fd, err_fd; /* -1 at their ends */
    struct fvm_buffer out, err;
};

static void running_finish(struct running *running)
{
    fvm_cleanup_close(&running->out_fd);
    fvm_cleanup_close(&running->err_fd);
    fvm_buffer_finish(&running->out);
    fvm_buffer_finish(&running->err);
}

static int start(struct running *running, struct flashvm_error *error)
{
    const struct fvm_tool_call *call = running->call;
    cleanup_close int out_writer = -1, err_writer = -1;
    int out[2], err[2];

    if (pipe2(out, O_CLOEXEC) < 0)
        return fvm_fail_errno(error, errno, "cannot make a pipe for %s", call->argv[0]);
    running->out_fd = out[0];
    out_writer = out[1];
    if (pipe2(err, O_CLOEXEC) < 0)
        return fvm_fail_errno(error, errno, "cannot make a pipe for %s", call->argv[0]);
    running->err_fd = err[0];
    err_writer = err[1];
    if (fcntl(running->out_fd, F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(running->err_fd, F_SETFL, O_NONBLOCK) < 0)
        return fvm_fail_errno(error, errno, "cannot set up the pipes of %s", call->argv[0]);
    return fvm_process_start_in(call->environment, call->directory, call->argv,
                                (const int[]){-1, out_writer, err_writer, call->lock_fd},
                                call->lock_fd < 0 ? 3 : 4, &running->pid, error);
}

static void take(int *fd, struct fvm_buffer *buffer, bool keep_tail)
{
    char chunk[4096];
    ssize_t count = read(*fd, chunk, sizeof chunk);

    if (count == 0 || (count < 0 && errno != EINTR)) {
        fvm_cleanup_close(fd);
        *fd = -1;
    } else if (count > 0 && keep_tail) {
        (void)fvm_buffer_append(buffer, chunk, (size_t)count);
        fvm_buffer_keep_tail(buffer, LAST_WORDS_MAX);
    } else if (count > 0) {
        (void)fvm_buffer_append_limited(buffer, chunk, (size_t)count, OUTPUT_MAX);
    }
}

/* Its own children, too: it was started as the leader of a process group. */
static void end(const struct running *running)
{
    kill(-running->pid, SIGKILL);
    fvm_process_wait(running->pid);
}

/* What lies in the pipes. What a daemon of the program's still has to say is not waited for. */
static void drain(struct running *running)
{
    while (running->out_fd >= 0)
        take(&running->out_fd, &running->out, false);
    while (running->err_fd >= 0)
        take(&running->err_fd, &running->err, true);
}

/* Listen until it has ended. Return: 0; -1 with the error set, and it is ended. */
static int listen(struct running *running, struct fvm_caller *caller, struct flashvm_error *error)
{
    cleanup_close int process_fd = (int)syscall(SYS_pidfd_open, running->pid, 0);
    uint64_t deadline_us = fvm_now_us() + running->call->timeout_ms * 1000;
    bool cancelled = false, ended = false;

    if (process_fd < 0) {
        end(running);
        return fvm_fail_errno(error, errno, "cannot watch %s", running->call->argv[0]);
    }
    while (!ended) {
        struct pollfd polls[] = {
            {.fd = running->out_fd, .events = POLLIN},
            {.fd = running->err_fd, .events = POLLIN},
            {.fd = process_fd, .events = POLLIN},
            {.fd = cancelled ? -1 : caller->interrupt_fd, .events = POLLIN},
        };
        int ready = poll(polls, sizeof polls / sizeof *polls, ASK_MS);

        if (ready > 0 && polls[0].revents)
            take(&running->out_fd, &running->out, false);
        if (ready > 0 && polls[1].revents)
            take(&running->err_fd, &running->err, true);
        ended = ready > 0 && polls[2].revents;
        cancelled = cancelled || fvm_caller_check(caller, error) < 0;
        if (ended || (!(cancelled && !running->call->must_finish) && fvm_now_us() < deadline_us))
            continue;
        end(running);
        return cancelled
                   ? -1
                   : fvm_fail(error, FLASHVM_IO, "%s did not end within %ju seconds, and was ended",
                              running->call->argv[0], (uintmax_t)running->call->timeout_ms / 1000);
    }
    drain(running);
    if (!cancelled)
        return 0;
    fvm_process_wait(running->pid);
    return -1;
}

/* Some tools have their errors on stdout. */
static int fail_with_last_words(const struct running *running, int status,
                                struct flashvm_error *error)
{
    const struct fvm_buffer *said = running->err.size > 0 ? &running->err : &running->out;
    size_t size = said->size, from = size > LAST_WORDS_MAX ? size - LAST_WORDS_MAX : 0;

    while (size > from && (said->data[size - 1] == '\n' || said->data[size - 1] == ' '))
        size--;
    return fvm_fail(error, FLASHVM_IO, "%s failed with %s %d%s%.*s", running->call->argv[0],
                    WIFSIGNALED(status) ? "signal" : "exit code",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                    size > from ? ": " : "", (int)(size - from),
                    size > from ? said->data + from : "");
}

int fvm_tool_run(const struct fvm_tool_call *call, struct fvm_caller *caller, char **ret_output,
                 struct flashvm_error *error)
{
    __attribute__((cleanup(running_finish))) struct running running = {
        .call = call, .out_fd = -1, .err_fd = -1};
    int status;

    if (start(&running, error) < 0 || listen(&running, caller, error) < 0)
        return -1;
    status = fvm_process_wait(running.pid);
    if (status > 0) /* -1: a caller who ignores SIGCHLD never knows; what it wrote has to tell */
        return fail_with_last_words(&running, status, error);
    if (ret_output == NULL)
        return 0;
    if (fvm_buffer_append(&running.out, "", 0) < 0)
        return fvm_fail_no_memory(error);
    *ret_output = steal_pointer(running.out.data);
    return 0;
}
