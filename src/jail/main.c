/* SPDX-License-Identifier: MIT */
/*
 * flashvm-jail: runs the program of one VM with as few rights as it can do with, and ends it when
 * the caller is gone.
 *
 *     flashvm-jail [--memory-max BYTES] [--device DEVICE] [--keep-rights] [--control FD]
 *                  [--caller PID] -- PROGRAM ARGS…
 *
 * With --keep-rights the program keeps its user and its capabilities, and gets no more than
 * namespaces of its own, processes among them. The caller is the parent, if it is not named.
 *
 * Descriptor 3 (or FD) is the control socket (SOCK_SEQPACKET): "q" on it ends the program. So does its end,
 * or the end of the caller's process, and then the directory DIR that the message "dDIR" has named
 * is removed as well. Descriptors 0 to 2 and 4 to 15 go to the program.
 *
 * Two processes, because each way of dying with somebody has a gap. PR_SET_PDEATHSIG follows the
 * thread that spawned us, which may be any of the caller's. A socket's end is late when the caller
 * has forked, and a VM's program would not notice it. So this process, which has a single thread,
 * waits for the end of the caller's process (a pidfd) and of the socket, and the program is tied to
 * it by PR_SET_PDEATHSIG.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "jail/confine.h"

enum { LAST_PROGRAM_FD = 15 };

static int control_fd = 3;
static pid_t caller; /* 0: the parent */

static void die(const char *what)
{
    fprintf(stderr, "flashvm-jail: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void parse(int argc, char **argv, struct confinement *ret_confinement)
{
    static const struct option options[] = {
        {"memory-max", required_argument, NULL, 'm'}, {"device", required_argument, NULL, 'g'},
        {"keep-rights", no_argument, NULL, 'k'},      {"control", required_argument, NULL, 'c'},
        {"caller", required_argument, NULL, 'p'},     {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'm':
            ret_confinement->memory_bytes_max = strtoull(optarg, NULL, 10);
            break;
        case 'g':
            ret_confinement->device = optarg;
            break;
        case 'k':
            ret_confinement->keeps_rights = true;
            break;
        case 'c':
            control_fd = (int)strtol(optarg, NULL, 10);
            break;
        case 'p':
            caller = (pid_t)strtol(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    if (optind == argc) {
        fprintf(stderr,
                "flashvm-jail: no program given (this is a part of flashVM, not a command)\n");
        exit(2);
    }
}

static void run_program(const struct confinement *confinement, int jail_fd, char **argv)
{
    struct pollfd jail = {.fd = jail_fd, .events = POLLIN};

    close(control_fd);
    if (confinement->keeps_rights &&
        syscall(SYS_close_range, STDERR_FILENO + 1, LAST_PROGRAM_FD, 0) < 0)
        die("cannot close descriptors");
    confine(confinement);
    /* After the change of user, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        die("cannot tie the VM to its jail");
    if (poll(&jail, 1, 0) != 0)
        _exit(1); /* the jail died before that was in force */
    execv(argv[0], argv);
    die(argv[0]);
}

enum end { PROGRAM_ENDED, CALLER_ENDS_IT, CALLER_IS_GONE };

/*
 * Wait until the program ends or must be ended.
 * @scratch_dir: what to remove when the caller is gone.
 */
static enum end watch(pid_t program, int caller_fd, char scratch_dir[PATH_MAX])
{
    int program_fd = (int)syscall(SYS_pidfd_open, program, 0);
    struct pollfd polls[] = {
        {.fd = control_fd, .events = POLLIN},
        {.fd = caller_fd, .events = POLLIN},
        {.fd = program_fd, .events = POLLIN},
    };
    char message[1 + PATH_MAX];

    if (program_fd < 0)
        die("cannot watch the VM");
    for (;;) {
        ssize_t size;

        if (poll(polls, sizeof polls / sizeof *polls, -1) < 0 && errno != EINTR)
            die("poll");
        size = recv(control_fd, message, sizeof message - 1, MSG_DONTWAIT);
        if (size > 0 && message[0] == 'q')
            return CALLER_ENDS_IT;
        if (size > 0) {
            message[size] = '\0';
            memcpy(scratch_dir, message + 1, (size_t)size); /* with its NUL */
        } else if (size == 0 || polls[1].revents) {
            return CALLER_IS_GONE;
        } else if (polls[2].revents) {
            return PROGRAM_ENDED;
        }
    }
}

/* A pidfd (O_CLOEXEC by birth) out of the way of the program's descriptors; -1 if it is gone. */
static int open_process(pid_t pid)
{
    int low = (int)syscall(SYS_pidfd_open, pid, 0);
    int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, LAST_PROGRAM_FD + 1);

    if (fd < 0 && errno != ESRCH)
        die("cannot watch a process");
    if (low >= 0)
        close(low);
    return fd;
}

/* The caller's limit may be too low for our own descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* best effort */
    }
}

/* For the caller's error message. Nothing waits for a log that is full. */
static void tell_of_signal(const char *program, int status)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (!WIFSIGNALED(status) || poll(&log, 1, 0) != 1 || log.revents != POLLOUT)
        return;
    fprintf(stderr, "flashvm-jail: %s was killed by signal %d (%s)%s\n", program, WTERMSIG(status),
            strsignal(WTERMSIG(status)),
            WTERMSIG(status) == SIGKILL ? ": was the host, or its control group, out of memory?"
                                        : "");
}

int main(int argc, char **argv)
{
    struct confinement confinement = {0};
    char scratch_dir[PATH_MAX] = "";
    pid_t parent = getppid(), program;
    int caller_fd, jail_fd, status = 0;
    enum end end;

    parse(argc, argv, &confinement);
    /* The caller is any program; some of its descriptors may have come along. */
    if (syscall(SYS_close_range, LAST_PROGRAM_FD + 1, ~0U, 0) < 0)
        die("cannot close descriptors");
    raise_descriptor_limit();
    caller_fd = open_process(caller ? caller : parent);
    jail_fd = open_process(getpid());
    /* With it, all that the program has started ends as well. */
    if (confinement.keeps_rights && unshare(CLONE_NEWPID) < 0)
        die("cannot have processes of our own");
    program = fork();
    if (program < 0)
        die("cannot fork");
    if (program == 0)
        run_program(&confinement, jail_fd, argv + optind);
    /* Only the program may hold these: their ends tell the caller about it, not about us. */
    for (int fd = 0; fd <= LAST_PROGRAM_FD; fd++)
        if (fd != control_fd && fd != STDERR_FILENO)
            close(fd);
    end = caller_fd < 0 || getppid() != parent ? CALLER_IS_GONE
                                               : watch(program, caller_fd, scratch_dir);
    kill(program, SIGKILL);
    while (waitpid(program, &status, 0) < 0 && errno == EINTR)
        ;
    if (end == PROGRAM_ENDED)
        tell_of_signal(argv[optind], status);
    if (end == CALLER_IS_GONE && *scratch_dir)
        fvm_remove_tree(scratch_dir);
    return 0;
}
