/* SPDX-License-Identifier: MIT */
#include "engine/vm_state.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"

enum { DEADLINE_MS = 60000, ENDING_MS = 1000 };
static const uint64_t BYTES_MAX = 64 << 20;

/* Its log says why. */
static int fail_ended(const struct fvm_vm *vm, struct flashvm_error *error)
{
    char words[400];
    ssize_t length;

    fvm_vm_ends(vm, ENDING_MS); /* the jail has the last word */
    length = read(vm->log_fd, words, sizeof words - 1);
    words[length > 0 ? length : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    return fvm_fail(error, FLASHVM_GUEST_FAILED, "%s has ended without the state of the VM%s%s",
                    vm->engine->name, *words ? ": " : "", words);
}

int fvm_vm_copy_state(struct fvm_vm *vm, int from, int to, struct fvm_caller *caller,
                      struct flashvm_error *error)
{
    const uint64_t deadline_us = fvm_now_us() + DEADLINE_MS * 1000ULL;
    const char *engine = vm->engine->name;
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
        if (vm->engine->take_news(vm, error) < 0)
            return -1;
        if (fvm_now_us() > deadline_us)
            return fvm_fail(error, FLASHVM_GUEST_FAILED, "%s does not give the state of the VM",
                            engine);
        if (ready > 0 && polls[0].revents == 0 && polls[1].revents)
            return fail_ended(vm, error);
        if (ready <= 0 || polls[0].revents == 0)
            continue;
        count = read(from, chunk, sizeof chunk);
        if (count == 0 && bytes > 0)
            return 0;
        if (count == 0)
            return fail_ended(vm, error);
        bytes += count > 0 ? (uint64_t)count : 0;
        if (bytes > BYTES_MAX)
            return fvm_fail(error, FLASHVM_GUEST_FAILED,
                            "%s sends more of its devices than makes sense", engine);
        if (count < 0 || fvm_write_all(to, chunk, (size_t)count) < 0)
            return fvm_fail_errno(error, errno, "cannot keep the state of the VM");
    }
}
