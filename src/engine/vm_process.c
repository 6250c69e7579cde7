/* SPDX-License-Identifier: MIT */
#include "engine/vm_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/process.h"

enum { ARGS_MAX = 128 };

/* Both ends of what connects us to the VM's process; ours first. */
struct ends {
    int control[2], channel[2], monitor[2], console[2], log[2];
};

static void ends_close(struct ends *ends)
{
    int *all = ends->control;

    for (size_t i = 0; i < sizeof *ends / sizeof *all; i++)
        fvm_cleanup_close(&all[i]);
}

static int ends_open(struct ends *ends)
{
    memset(ends, -1, sizeof *ends);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->control) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends->channel) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends->monitor) < 0 ||
        pipe2(ends->console, O_CLOEXEC) < 0 || pipe2(ends->log, O_CLOEXEC) < 0)
        return -1;
    for (int *end = ends->control; end < ends->control + sizeof *ends / sizeof *end; end += 2)
        if (fcntl(*end, F_SETFL, O_NONBLOCK) < 0)
            return -1;
    return 0;
}

int fvm_vm_process_start(const struct fvm_host *host, const struct fvm_vm_program *program,
                         struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    __attribute__((cleanup(ends_close))) struct ends ends;
    cleanup_free char *jail = fvm_format("%s/flashvm-jail", host->libexec_dir);
    cleanup_free char *memory = fvm_format("%ju", (uintmax_t)program->memory_bytes_max);
    const char *argv[ARGS_MAX];
    int fds[FVM_VM_FIRST_FILE_FD + FVM_VM_FILES_MAX];
    size_t argc = 0, fd_count = FVM_VM_FIRST_FILE_FD + program->file_count;
    pid_t pid;

    if (jail == NULL || memory == NULL)
        return fvm_fail_no_memory(error);
    if (ends_open(&ends) < 0)
        return fvm_fail_errno(error, errno, "cannot make the sockets of a VM");
    argv[argc++] = jail;
    argv[argc++] = "--memory-max";
    argv[argc++] = memory;
    if (program->device) {
        argv[argc++] = "--device";
        argv[argc++] = program->device;
    }
    argv[argc++] = "--";
    for (size_t i = 0; program->argv[i]; i++) {
        if (argc == ARGS_MAX - 1)
            return fvm_fail(error, FLASHVM_INTERNAL, "too many arguments for %s", program->argv[0]);
        argv[argc++] = program->argv[i];
    }
    argv[argc] = NULL;

    fds[0] = -1;
    fds[1] = ends.console[1];
    fds[2] = ends.log[1];
    fds[3] = ends.control[1];
    fds[FVM_VM_CHANNEL_FD] = ends.channel[1];
    fds[FVM_VM_MONITOR_FD] = ends.monitor[1];
    memcpy(fds + FVM_VM_FIRST_FILE_FD, program->files, program->file_count * sizeof *fds);
    if (fvm_process_start(argv, fds, fd_count, &pid, error) < 0)
        return fvm_is_program(jail)
                   ? -1
                   : fvm_fail_context(error, "a part of flashVM is missing or damaged; install "
                                             "flashVM again");
    *ret_vm = (struct fvm_vm){
        .channel_fd = steal_fd(&ends.channel[0]),
        .console_fd = steal_fd(&ends.console[0]),
        .log_fd = steal_fd(&ends.log[0]),
        .monitor_fd = steal_fd(&ends.monitor[0]),
        .control_fd = steal_fd(&ends.control[0]),
        .jail_pid = pid,
    };
    return 0;
}

bool fvm_vm_ends(const struct fvm_vm *vm, int milliseconds)
{
    struct pollfd control = {.fd = vm->control_fd, .events = POLLIN};

    return poll(&control, 1, milliseconds) != 0;
}

int fvm_vm_guard(struct fvm_vm *vm, const char *directory, struct flashvm_error *error)
{
    struct iovec message[] = {
        {.iov_base = "d", .iov_len = 1},
        {.iov_base = (char *)directory, .iov_len = strlen(directory)},
    };
    const struct msghdr header = {.msg_iov = message, .msg_iovlen = 2};

    /* A jail that has ended is noticed by those who wait for the VM. */
    if (sendmsg(vm->control_fd, &header, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        return fvm_fail_errno(error, errno, "cannot tell the VM's jail of %s", directory);
    return 0;
}

pid_t fvm_vm_end(struct fvm_vm *vm)
{
    pid_t jail_pid = vm->jail_pid;

    if (vm->control_fd < 0)
        return 0;
    /* 'q': an orderly end, a guarded directory stays. The jail ends the VM, then itself. */
    if (send(vm->control_fd, "q", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        shutdown(vm->control_fd, SHUT_RDWR);
    fvm_vm_forget(vm);
    return jail_pid;
}

void fvm_vm_destroy(struct fvm_vm *vm)
{
    pid_t jail_pid = fvm_vm_end(vm);

    if (jail_pid > 0)
        fvm_process_wait(jail_pid);
}

void fvm_vm_forget(struct fvm_vm *vm)
{
    if (vm->control_fd < 0)
        return;
    fvm_cleanup_close(&vm->channel_fd);
    fvm_cleanup_close(&vm->console_fd);
    fvm_cleanup_close(&vm->log_fd);
    fvm_cleanup_close(&vm->monitor_fd);
    fvm_cleanup_close(&vm->control_fd);
    fvm_buffer_finish(&vm->console);
    fvm_buffer_finish(&vm->log);
    fvm_buffer_finish(&vm->monitor);
    *vm = (struct fvm_vm)FVM_VM_NONE;
}
