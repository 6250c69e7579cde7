/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FDS_MAX = 16 };

/* Copies above all targets, so that no dup2() in the child overwrites a source that is still
 * needed. */
static int lift_fds(const int *fds, size_t count, int *ret_lifted)
{
    for (size_t i = 0; i < count; i++) {
        ret_lifted[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, FDS_MAX);
        if (fds[i] >= 0 && ret_lifted[i] < 0) {
            if (errno == EINVAL) /* the limit on descriptors is below FDS_MAX itself */
                errno = EMFILE;
            while (i-- > 0)
                fvm_cleanup_close(&ret_lifted[i]);
            return -1;
        }
    }
    return 0;
}

/* What becomes a program, in the caller's own memory (vfork()): no malloc(), no return. */
struct child {
    const char *const *argv, *const *environment;
    const char *directory;
    const int *lifted;
    size_t fd_count;
    volatile int err; /* written by the child */
};

/*
 * A process group of its own: Ctrl-C on a terminal is the caller's business, not the child's. A
 * signal that came to the caller's group before that waits, blocked, and is thrown away. (So it is
 * not posix_spawn(), with which such a signal kills the child.)
 */
static void leave_process_group(void)
{
    sigset_t pending;

    setpgid(0, 0);
    sigpending(&pending);
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&pending, number))
            sigaction(number, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

static int take_descriptors(const struct child *child)
{
    for (size_t i = 0; i < child->fd_count; i++) {
        int null = -1;

        if (child->lifted[i] < 0 && (null = open("/dev/null", O_RDWR)) < 0)
            return -1;
        if (null != (int)i && dup2(null < 0 ? child->lifted[i] : null, (int)i) < 0)
            return -1;
        if (null >= 0 && null != (int)i)
            close(null);
    }
    return (int)syscall(SYS_close_range, (unsigned)child->fd_count, ~0U, 0);
}

_Noreturn static void become_program(struct child *child)
{
    sigset_t none;

    leave_process_group();
    sigemptyset(&none);
    if ((child->directory == NULL || chdir(child->directory) == 0) &&
        take_descriptors(child) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execve(child->argv[0], (char *const *)child->argv, (char *const *)child->environment);
    child->err = errno;
    _exit(127);
}

/* Return: 0, or an errno. */
static int spawn(struct child *child, pid_t *ret_pid)
{
    sigset_t all, before;
    int cancelling, err;
    pid_t pid;

    /* No handler of the caller's may run in the child, nor may the child be cancelled for it. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): posix_spawn's failing */
    if (pid == 0)
        become_program(child); /* NOLINT(clang-analyzer-unix.Vfork): see there */
    err = pid < 0 ? errno : child->err;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancelling, NULL);
    if (pid > 0 && err != 0)
        fvm_process_wait(pid);
    if (err == 0)
        *ret_pid = pid;
    return err;
}

int fvm_process_start(const char *const *argv, const int *fds, size_t fd_count, pid_t *ret_pid,
                      struct flashvm_error *error)
{
    static const char *const path_only[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

    return fvm_process_start_in(path_only, NULL, argv, fds, fd_count, ret_pid, error);
}

int fvm_process_start_in(const char *const *environment, const char *directory,
                         const char *const *argv, const int *fds, size_t fd_count, pid_t *ret_pid,
                         struct flashvm_error *error)
{
    int lifted[FDS_MAX] = {0};
    int err;

    if (fd_count > FDS_MAX)
        return fvm_fail(error, FLASHVM_INTERNAL, "too many descriptors for %s", argv[0]);
    if (lift_fds(fds, fd_count, lifted) < 0)
        return fvm_fail_errno(error, errno, "cannot hand descriptors to %s", argv[0]);
    err = spawn(&(struct child){.argv = argv,
                                .environment = environment,
                                .directory = directory,
                                .lifted = lifted,
                                .fd_count = fd_count},
                ret_pid);
    for (size_t i = 0; i < fd_count; i++)
        fvm_cleanup_close(&lifted[i]);
    if (err == EAGAIN)
        return fvm_fail(error, FLASHVM_IO,
                        "cannot start %s: there are too many processes (see ulimit -u)", argv[0]);
    if (err == ENOENT && access(argv[0], F_OK) == 0)
        return fvm_fail(error, FLASHVM_IO, "cannot start %s: %s", argv[0],
                        access("/dev/null", F_OK) < 0 ? "there is no /dev/null"
                                                      : "its interpreter or loader is missing");
    if (err != 0)
        return fvm_fail_errno(error, err, "cannot start %s", argv[0]);
    return 0;
}

int fvm_process_wait(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}
