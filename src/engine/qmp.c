/* SPDX-License-Identifier: MIT */
#include "engine/qmp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/json.h"

enum { AWAIT_MS = 30000 };
enum { PENDING_BYTES_MAX = 1 << 20 };

int fvm_qmp_send(int monitor_fd, const char *command, int pass_fd, struct flashvm_error *error)
{
    struct iovec text = {.iov_base = (char *)command, .iov_len = strlen(command)};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};

    if (pass_fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET,
            .cmsg_type = SCM_RIGHTS,
            .cmsg_len = CMSG_LEN(sizeof pass_fd),
        };
        memcpy(CMSG_DATA(&control.header), &pass_fd, sizeof pass_fd);
    }
    /* A few hundred bytes: there is room for them, whether QEMU reads already or not. */
    if (sendmsg(monitor_fd, &message, MSG_NOSIGNAL) != (ssize_t)text.iov_len)
        return fvm_fail_errno(error, errno, "cannot send to QEMU's monitor");
    return 0;
}

/* Return: 1 for the answer to a command, 0 for an event or the greeting, -1 for an error. */
static int take_line(const char *line, size_t size, struct flashvm_error *error)
{
    cleanup_json json_t *json = json_loadb(line, size, 0, NULL);
    const char *description = "?";

    if (json == NULL)
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "QEMU's monitor speaks no JSON");
    if (json_object_get(json, "error")) {
        json_unpack(json, "{s:{s:s}}", "error", "desc", &description);
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "QEMU's monitor refuses: %s", description);
    }
    return json_object_get(json, "return") != NULL;
}

int fvm_qmp_take(struct fvm_vm *vm, struct flashvm_error *error)
{
    char chunk[4096];
    ssize_t count;
    int answers = 0;
    size_t taken = 0;
    char *end;

    while ((count = recv(vm->monitor_fd, chunk, sizeof chunk, MSG_DONTWAIT)) > 0) {
        if (fvm_buffer_append(&vm->monitor, chunk, (size_t)count) < 0)
            return fvm_fail_no_memory(error);
        if (vm->monitor.size > PENDING_BYTES_MAX)
            return fvm_fail(error, FLASHVM_GUEST_FAILED,
                            "QEMU's monitor says more than makes sense");
    }
    while (taken < vm->monitor.size &&
           (end = memchr(vm->monitor.data + taken, '\n', vm->monitor.size - taken)) != NULL) {
        const char *line = vm->monitor.data + taken;
        int outcome = take_line(line, (size_t)(end - line), error);

        if (outcome < 0)
            return -1;
        answers += outcome;
        taken += (size_t)(end - line) + 1;
    }
    fvm_buffer_consume(&vm->monitor, taken);
    return answers;
}

int fvm_qmp_await(struct fvm_vm *vm, int count, struct fvm_caller *caller,
                  struct flashvm_error *error)
{
    const uint64_t deadline_us = fvm_now_us() + AWAIT_MS * 1000ULL;

    while (count > 0) {
        struct pollfd polls[] = {
            {.fd = vm->monitor_fd, .events = POLLIN},
            {.fd = vm->control_fd, .events = POLLIN},
            {.fd = caller->interrupt_fd, .events = POLLIN},
        };
        int ready = poll(polls, sizeof polls / sizeof *polls, AWAIT_MS);
        int answers;

        if (ready < 0 && errno != EINTR)
            return fvm_fail_errno(error, errno, "cannot wait for QEMU's monitor");
        if ((ready < 0 || polls[2].revents) && fvm_caller_check(caller, error) < 0)
            return -1;
        answers = fvm_qmp_take(vm, error);
        if (answers < 0)
            return -1;
        count -= answers;
        if (count > 0 && (polls[0].revents & (POLLHUP | POLLERR) || polls[1].revents ||
                          fvm_now_us() > deadline_us))
            return fvm_fail(error, FLASHVM_GUEST_FAILED, "QEMU's monitor does not answer");
    }
    return 0;
}
