/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
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

static int spawn(const char *const *argv, const char *const *environment, const char *directory,
                 const int *lifted, size_t count, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int err = 0;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A process group of its own: Ctrl-C on a terminal is the caller's business, not the child's.
     */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    for (size_t i = 0; i < count && err == 0; i++)
        err = lifted[i] >= 0
                  ? posix_spawn_file_actions_adddup2(&actions, lifted[i], (int)i)
                  : posix_spawn_file_actions_addopen(&actions, (int)i, "/dev/null", O_RDWR, 0);
    if (err == 0 && directory)
        err = posix_spawn_file_actions_addchdir_np(&actions, directory);
    if (err == 0)
        err = posix_spawn_file_actions_addclosefrom_np(&actions, (int)count);
    if (err == 0)
        err = posix_spawn(ret_pid, argv[0], &actions, &attributes, (char *const *)argv,
                          (char *const *)environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
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
    err = spawn(argv, environment, directory, lifted, fd_count, ret_pid);
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
