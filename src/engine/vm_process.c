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

enum {
    CONTROL_FD = 3,             /* of the jail's */
    KEPT_RIGHTS_CONTROL_FD = 9, /* out of the way of an entrance's own descriptors */
    FDS_MAX = FVM_VM_FIRST_FILE_FD + FVM_VM_FILES_MAX,
};

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

/* The jail's command line, put together. */
struct command {
    const char *argv[ARGS_MAX];
    size_t argc;
    bool is_too_long;
};

static void add(struct command *command, const char *word)
{
    if (command->argc == ARGS_MAX - 1)
        command->is_too_long = true;
    else
        command->argv[command->argc++] = word;
}

static void add_all(struct command *command, const char *const *words)
{
    for (; words && *words; words++)
        add(command, *words);
}

static void add_option(struct command *command, const char *option, const char *value)
{
    add(command, option);
    add(command, value);
}

static int start(const struct fvm_vm_program *program, const char *jail, const int *fds,
                 size_t fd_count, pid_t *ret_pid, struct flashvm_error *error)
{
    cleanup_free char *memory = fvm_format("%ju", (uintmax_t)program->memory_bytes_max);
    cleanup_free char *control = fvm_format("%d", KEPT_RIGHTS_CONTROL_FD);
    cleanup_free char *caller = fvm_format("%d", (int)getpid());
    struct command command = {0};

    if (memory == NULL || control == NULL || caller == NULL)
        return fvm_fail_no_memory(error);
    add_all(&command, program->entrance);
    add(&command, jail);
    add_option(&command, "--memory-max", memory);
    if (program->device)
        add_option(&command, "--device", program->device);
    if (program->keeps_rights) {
        add(&command, "--keep-rights");
        add_option(&command, "--control", control);
        add_option(&command, "--caller", caller); /* the entrance is not */
    }
    add(&command, "--");
    add_all(&command, program->argv);
    if (command.is_too_long)
        return fvm_fail(error, FLASHVM_INTERNAL, "too many arguments for %s", program->argv[0]);
    return program->environment ? fvm_process_start_in(program->environment, NULL, command.argv,
                                                       fds, fd_count, ret_pid, error)
                                : fvm_process_start(command.argv, fds, fd_count, ret_pid, error);
}

/* Return: how many descriptors the program gets. */
static size_t lay_out(const struct fvm_vm_program *program, const struct ends *ends, int *fds)
{
    for (size_t i = 0; i < FDS_MAX; i++)
        fds[i] = -1;
    fds[STDERR_FILENO] = ends->log[1];
    if (program->keeps_rights) {
        fds[STDIN_FILENO] = fds[STDOUT_FILENO] = ends->channel[1];
        fds[KEPT_RIGHTS_CONTROL_FD] = ends->control[1];
        return KEPT_RIGHTS_CONTROL_FD + 1;
    }
    fds[STDOUT_FILENO] = ends->console[1];
    fds[CONTROL_FD] = ends->control[1];
    fds[FVM_VM_CHANNEL_FD] = ends->channel[1];
    fds[FVM_VM_MONITOR_FD] = ends->monitor[1];
    memcpy(fds + FVM_VM_FIRST_FILE_FD, program->files, program->file_count * sizeof *fds);
    return FVM_VM_FIRST_FILE_FD + program->file_count;
}

int fvm_vm_process_start(const struct fvm_host *host, const struct fvm_vm_program *program,
                         struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    __attribute__((cleanup(ends_close))) struct ends ends;
    cleanup_free char *jail = fvm_format("%s/flashvm-jail", host->libexec_dir);
    int fds[FDS_MAX];
    pid_t pid;

    if (jail == NULL)
        return fvm_fail_no_memory(error);
    if (ends_open(&ends) < 0)
        return fvm_fail_errno(error, errno, "cannot make the sockets of a VM");
    if (start(program, jail, fds, lay_out(program, &ends, fds), &pid, error) < 0)
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
    const struct fvm_engine *engine = vm->engine;
    void *belongings = steal_pointer(vm->belongings);
    pid_t jail_pid = fvm_vm_end(vm);

    if (jail_pid > 0)
        fvm_process_wait(jail_pid);
    if (belongings)
        engine->give_back(belongings, true);
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
    if (vm->belongings)
        vm->engine->give_back(vm->belongings, false);
    *vm = (struct fvm_vm)FVM_VM_NONE;
}
