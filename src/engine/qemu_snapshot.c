/* SPDX-License-Identifier: MIT */
#include "engine/qemu_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "engine/qmp.h"

enum { SNAPSHOT_MS = 60000 };
static const uint64_t STATE_BYTES_MAX = 64 << 20;

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

/*
 * Copy the state from QEMU, which may not write files, to the file: until its end, which comes when
 * QEMU has sent all.
 */
static int copy_state(struct fvm_vm *vm, int from, int to, struct fvm_caller *caller,
                      struct flashvm_error *error)
{
    const uint64_t deadline_us = fvm_now_us() + SNAPSHOT_MS * 1000ULL;
    static const char limit[] = "QEMU sends more of its devices than makes sense";
    uint64_t bytes = 0;
    char chunk[65536];

    for (;;) {
        struct pollfd polls[] = {
            {.fd = from, .events = POLLIN},
            {.fd = vm->control_fd, .events = POLLIN},
            {.fd = caller->interrupt_fd, .events = POLLIN},
        };
        int ready = poll(polls, sizeof polls / sizeof *polls, 1000);
        ssize_t count;

        if ((ready < 0 || polls[2].revents) && fvm_caller_check(caller, error) < 0)
            return -1;
        if (fvm_qmp_take(vm, error) < 0)
            return -1;
        if (fvm_now_us() > deadline_us || (ready > 0 && polls[0].revents == 0 && polls[1].revents))
            return fvm_fail(error, FLASHVM_GUEST_FAILED, "QEMU does not give the state of the VM");
        if (ready <= 0 || polls[0].revents == 0)
            continue;
        count = read(from, chunk, sizeof chunk);
        if (count == 0)
            return 0;
        bytes += count > 0 ? (uint64_t)count : 0;
        if (bytes > STATE_BYTES_MAX)
            return fvm_fail(error, FLASHVM_GUEST_FAILED, limit);
        if (count < 0 || fvm_write_all(to, chunk, (size_t)count) < 0)
            return fvm_fail_errno(error, errno, "cannot keep the state of the VM");
    }
}

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
    return copy_state(vm, from, state_fd, caller, error);
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
