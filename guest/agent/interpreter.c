/* SPDX-License-Identifier: MIT */
#include "interpreter.h"

#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "limits.h"
#include "log.h"
#include "mailbox.h"
#include "system.h"
#include "turns.h"

enum { CONTROL_FD = 3 }; /* in the child */
/* POSIX message queues: their limit is of use to nobody at a program's end. */
#define LEAVING_RESOURCE RLIMIT_MSGQUEUE
enum { EARLY_OUTPUT_MAX = 1024 * 1024 };

#define MAIN_DIRECTORY "/work"
#define MAIN_NAME      "main.py"
#define MAIN_PATH      MAIN_DIRECTORY "/" MAIN_NAME

/* What the child calls its main.py: as a user who is in /work would. */
static const char *main_argument(const char *workdir)
{
    return strcmp(workdir, MAIN_DIRECTORY) == 0 ? MAIN_NAME : MAIN_PATH;
}

static const char *find_variable(const char *const *env, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; env[i]; i++)
        if (strncmp(env[i], name, length) == 0 && env[i][length] == '=')
            return env[i] + length + 1;
    return NULL;
}

/* An environment being put together: later values of a name replace earlier ones. */
struct environment {
    const char *entries[8192]; /* more than image and request may have together */
    size_t count;
};

static void environment_set(struct environment *environment, const char *entry)
{
    size_t name_length = strcspn(entry, "=");
    size_t i = 0;

    while (i < environment->count && (strncmp(environment->entries[i], entry, name_length) != 0 ||
                                      environment->entries[i][name_length] != '='))
        i++;
    if (i == sizeof environment->entries / sizeof *environment->entries - 1)
        return;
    environment->entries[i] = entry;
    if (i == environment->count)
        environment->count++;
}

static void environment_set_list(struct environment *environment, const char *const *entries)
{
    for (size_t i = 0; entries[i]; i++)
        environment_set(environment, entries[i]);
}

/* A program that is to be started. */
struct start {
    const struct account *account;
    enum limits_group group;
    bool waits; /* it gets CONTROL_FD */
    bool same_addresses;
    const char *directory;
    const char *const *argv, *const *envp;
};

struct pipes {
    int in[2], out[2], err[2], control[2];
};

static void pipes_close(struct pipes *pipes)
{
    int *all = pipes->in;

    for (size_t i = 0; i < sizeof *pipes / sizeof *all; i++)
        fvm_cleanup_close(&all[i]);
}

static int pipes_open(struct pipes *pipes)
{
    memset(pipes, -1, sizeof *pipes);
    if (pipe2(pipes->in, O_CLOEXEC) < 0 || pipe2(pipes->out, O_CLOEXEC) < 0 ||
        pipe2(pipes->err, O_CLOEXEC) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipes->control) < 0) {
        pipes_close(pipes);
        return -1;
    }
    return 0;
}

/* In the child, on the way to the program: it cannot be started. The agent reads why on stderr. */
static void child_fail(const struct pipes *pipes, const char *what, const char *name)
{
    int cause = errno;
    const char *detail = "";

    if (cause == ENOENT && access(name, F_OK) == 0)
        detail = " (its dynamic loader is missing)";
    dprintf(pipes->err[1], "cannot %s %s: %s%s\n", what, name, strerror(cause), detail);
    if (write(pipes->control[1], "X", 1) == 1)
        _exit(126);
    _exit(127);
}

/* In the child: become the account and the program. Does not return. */
static void child_exec(const struct pipes *pipes, const struct start *start)
{
    const struct rlimit no_core = {0, 0};
    const struct account *account = start->account;
    cleanup_close int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL); /* the agent ignores it, and that would be inherited */
    /* The out-of-memory killer must take the snippet, never the agent. */
    if (score < 0 || write(score, "500", 3) < 0)
        child_fail(pipes, "set", "oom_score_adj");
    if (limits_enter(start->group, 0) < 0)
        child_fail(pipes, "enter", "the control group");
    if (setrlimit(RLIMIT_CORE, &no_core) < 0)
        child_fail(pipes, "turn off", "core dumps");
    turns_of_interpreter();
    setsid();
    if (mailbox_renounce() < 0)
        child_fail(pipes, "give up", "the mailbox");
    if (setgroups(0, NULL) < 0 || setresgid(account->gid, account->gid, account->gid) < 0 ||
        setresuid(account->uid, account->uid, account->uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        child_fail(pipes, "become", "the snippet's user");
    if (chdir(start->directory) < 0)
        child_fail(pipes, "enter", start->directory);
    if (dup2(pipes->in[0], 0) < 0 || dup2(pipes->out[1], 1) < 0 || dup2(pipes->err[1], 2) < 0)
        child_fail(pipes, "set", "the standard descriptors");
    /* Of a program that does not wait, the end closes by itself at exec: its code begins. */
    if (start->waits && dup2(pipes->control[1], CONTROL_FD) < 0)
        child_fail(pipes, "set", "the control descriptor");
    /* What the emulator has translated serves only code that lies at the same address. */
    if (start->same_addresses && personality(ADDR_NO_RANDOMIZE) < 0)
        child_fail(pipes, "fix", "the address layout");
    execve(start->argv[0], (char *const *)start->argv, (char *const *)start->envp);
    child_fail(pipes, "start", start->argv[0]);
}

static int spawn(const struct start *start, struct interpreter *ret_interpreter)
{
    struct pipes pipes;
    pid_t pid;

    if (pipes_open(&pipes) < 0)
        return -1;
    pid = fork();
    if (pid < 0) {
        pipes_close(&pipes);
        return -1;
    }
    if (pid == 0)
        child_exec(&pipes, start);
    *ret_interpreter = (struct interpreter){
        .pid = pid,
        .stdin_fd = steal_fd(&pipes.in[1]),
        .stdout_fd = steal_fd(&pipes.out[0]),
        .stderr_fd = steal_fd(&pipes.err[0]),
        .control_fd = steal_fd(&pipes.control[0]),
    };
    pipes_close(&pipes);
    fcntl(ret_interpreter->stdin_fd, F_SETFL, O_NONBLOCK);
    fcntl(ret_interpreter->stdout_fd, F_SETFL, O_NONBLOCK);
    fcntl(ret_interpreter->stderr_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

/* The variables that every snippet starts with: the image's, and the account's HOME. */
static int base_environment(const struct setup *setup, const struct account *account,
                            struct environment *environment, char **ret_home)
{
    if (asprintf(ret_home, "HOME=%s", account->home) < 0)
        return -1;
    environment_set(environment, "PATH=/usr/local/bin:/usr/bin:/bin");
    environment_set(environment, "LANG=C.UTF-8");
    environment_set(environment, *ret_home);
    environment_set_list(environment, setup->env);
    return 0;
}

/* A value of LEAVING_RESOURCE that no snippet has by chance. */
static unsigned make_sign(void)
{
    unsigned random = 0;

    (void)!getrandom(&random, sizeof random, 0);
    return random % 500000 + 100000; /* below the limit that there is: 819200 */
}

int interpreter_start_zygote(const struct setup *setup, const struct account *account,
                             struct interpreter *ret_interpreter)
{
    /* The full path: sys.path[0] is computed from it after the request may have changed directory.
     */
    const char *const argv[] = {setup->python, "-u", MAIN_PATH, NULL};
    const char *inherited = find_variable(setup->env, "PYTHONPATH");
    const unsigned sign = make_sign();
    struct environment environment = {0};
    cleanup_free char *home = NULL, *path = NULL, *control = NULL;
    const struct start start = {
        .account = account,
        .group = LIMITS_WAITING,
        .waits = true,
        .same_addresses = setup->warm,
        .directory = MAIN_DIRECTORY,
        .argv = argv,
        .envp = environment.entries,
    };

    if (base_environment(setup, account, &environment, &home) < 0 ||
        asprintf(&path, "PYTHONPATH=" ZYGOTE_DIRECTORY "%s%s", inherited ? ":" : "",
                 inherited ? inherited : "") < 0 ||
        asprintf(&control, "FLASHVM_CONTROL=%d,%u,%d", CONTROL_FD, sign, setup->warm) < 0)
        return -1;
    environment_set(&environment, path);
    environment_set(&environment, control);
    if (spawn(&start, ret_interpreter) < 0)
        return -1;
    ret_interpreter->leaving_sign = sign;
    return 0;
}

bool interpreter_is_leaving(const struct interpreter *interpreter)
{
    struct rlimit sign;

    return interpreter->leaving_sign && interpreter->stdout_fd < 0 && interpreter->stderr_fd < 0 &&
           prlimit(interpreter->pid, LEAVING_RESOURCE, NULL, &sign) == 0 &&
           sign.rlim_cur == interpreter->leaving_sign;
}

/* Keep what it has written so far. Return: false when that is too much. */
static bool keep_output(int fd, struct fvm_buffer *early)
{
    char chunk[4096];
    ssize_t count;

    while ((count = read(fd, chunk, sizeof chunk)) > 0)
        if (early->size + (size_t)count > EARLY_OUTPUT_MAX ||
            fvm_buffer_append(early, chunk, (size_t)count) < 0)
            return false;
    return true;
}

const char *interpreter_await(struct interpreter *interpreter)
{
    struct pollfd polls[] = {
        {.fd = interpreter->control_fd, .events = POLLIN},
        {.fd = interpreter->stdout_fd, .events = POLLIN},
        {.fd = interpreter->stderr_fd, .events = POLLIN},
    };
    char byte = 0;

    while (polls[0].revents == 0) {
        if (poll(polls, sizeof polls / sizeof *polls, -1) < 0 && errno != EINTR)
            agent_die_errno("poll");
        if (!keep_output(interpreter->stdout_fd, &interpreter->early_out) ||
            !keep_output(interpreter->stderr_fd, &interpreter->early_err))
            return "writes without end while it starts";
        for (size_t i = 1; i < sizeof polls / sizeof *polls; i++)
            if (polls[i].revents & POLLHUP) /* it has closed that one */
                polls[i].fd = -1;
    }
    if (read(interpreter->control_fd, &byte, 1) != 1)
        return "ended before it was ready";
    interpreter->cannot_start = byte != 'R';
    return interpreter->cannot_start ? "cannot be started" : NULL;
}

static size_t count_strings(const char *const *strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    return count;
}

static int append_field(struct fvm_buffer *message, const char *field)
{
    return fvm_buffer_append(message, field, strlen(field) + 1);
}

static int append_fields(struct fvm_buffer *message, const char *const *fields)
{
    for (size_t i = 0; fields[i]; i++)
        if (append_field(message, fields[i]) < 0)
            return -1;
    return 0;
}

static int send_all(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t count = send(fd, next, size, MSG_NOSIGNAL);

        if (count < 0)
            return -1;
        next += count;
        size -= (size_t)count;
    }
    return 0;
}

int interpreter_reseed(struct interpreter *zygote)
{
    const uint32_t nothing = 0;

    return send_all(zygote->control_fd, &nothing, sizeof nothing);
}

int interpreter_become(struct interpreter *zygote, const struct request *request, bool reseed)
{
    cleanup_buffer struct fvm_buffer message = {0};
    char arg_count[16];
    uint32_t length = 0;

    snprintf(arg_count, sizeof arg_count, "%zu", count_strings(request->args));
    /* Length first (set below), then fields with a NUL after each; see sitecustomize.py. */
    if (fvm_buffer_append(&message, &length, sizeof length) < 0 ||
        append_field(&message, reseed ? "reseed" : "") < 0 ||
        append_field(&message, request->workdir) < 0 ||
        append_field(&message, main_argument(request->workdir)) < 0 ||
        append_field(&message, arg_count) < 0 || append_fields(&message, request->args) < 0 ||
        append_fields(&message, request->env) < 0)
        return -1;
    length = htole32((uint32_t)(message.size - sizeof length));
    memcpy(message.data, &length, sizeof length);
    return send_all(zygote->control_fd, message.data, message.size);
}

int interpreter_exec(const struct setup *setup, const struct account *account,
                     enum limits_group group, const struct request *request,
                     struct interpreter *ret_interpreter)
{
    struct environment environment = {0};
    struct start start = {
        .account = account,
        .group = group,
        .directory = request->workdir,
        .envp = environment.entries,
    };
    cleanup_free char *home = NULL;
    size_t option_count = count_strings(request->python_args);
    size_t arg_count = count_strings(request->args);
    cleanup_free const char **argv = calloc(option_count + arg_count + 3, sizeof *argv);

    if (argv == NULL || base_environment(setup, account, &environment, &home) < 0)
        return -1;
    argv[0] = setup->python;
    memcpy(argv + 1, request->python_args, option_count * sizeof *argv);
    argv[option_count + 1] = main_argument(request->workdir);
    memcpy(argv + option_count + 2, request->args, arg_count * sizeof *argv);
    environment_set_list(&environment, request->env);
    start.argv = argv;
    return spawn(&start, ret_interpreter);
}

void interpreter_close(struct interpreter *interpreter)
{
    fvm_cleanup_close(&interpreter->stdin_fd);
    fvm_cleanup_close(&interpreter->stdout_fd);
    fvm_cleanup_close(&interpreter->stderr_fd);
    fvm_cleanup_close(&interpreter->control_fd);
    fvm_buffer_finish(&interpreter->early_out);
    fvm_buffer_finish(&interpreter->early_err);
    *interpreter = INTERPRETER_NONE;
}
