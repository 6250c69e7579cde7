/* SPDX-License-Identifier: MIT */
#include "engine/qemu_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/qmp.h"
#include "engine/vm_state.h"

/*
 * The guest's memory is a file that both sides map, so only the state of processors and devices
 * travels (the capability x-ignore-shared, as QEMU's developers made it for updates of QEMU).
 */
#define QMP_BEGIN                                                                                  \
    "{\"execute\":\"qmp_capabilities\"}\n"                                                         \
    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":["                  \
    "{\"capability\":\"x-ignore-shared\",\"state\":true}]}}\n"
#define QMP_TAKE_FD "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"state\"}}\n"
#define QMP_SAVE    "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:state\"}}\n"
#define QMP_LOAD    "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:state\"}}\n"

enum { BEGIN_COMMANDS = 2, TAKE_FD_COMMANDS = 1, SAVE_COMMANDS = 1, LOAD_COMMANDS = 1 };

int fvm_qemu_snapshot(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                      struct flashvm_error *error)
{
    cleanup_close int from = -1, to = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return fvm_fail_errno(error, errno, "cannot make a pipe");
    from = ends[0];
    to = ends[1];
    if (fvm_qmp_send(vm->monitor_fd, QMP_BEGIN, -1, error) < 0 ||
        fvm_qmp_send(vm->monitor_fd, QMP_TAKE_FD, to, error) < 0 ||
        fvm_qmp_send(vm->monitor_fd, QMP_SAVE, -1, error) < 0 ||
        fvm_qmp_await(vm, BEGIN_COMMANDS + TAKE_FD_COMMANDS + SAVE_COMMANDS, caller, error) < 0)
        return -1;
    fvm_cleanup_close(&to); /* QEMU has its own by now: the end comes with its last byte */
    to = -1;
    return fvm_vm_copy_state(vm, from, state_fd, caller, error);
}

int fvm_qemu_load(struct fvm_vm *vm, int state_fd, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("/proc/self/fd/%d", state_fd);
    cleanup_close int own_fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (own_fd < 0)
        return fvm_fail_errno(error, errno, "cannot open the state of the template");
    if (fvm_qmp_send(vm->monitor_fd, QMP_BEGIN, -1, error) < 0 ||
        fvm_qmp_send(vm->monitor_fd, QMP_TAKE_FD, own_fd, error) < 0 ||
        fvm_qmp_send(vm->monitor_fd, QMP_LOAD, -1, error) < 0)
        return -1;
    return 0;
}
