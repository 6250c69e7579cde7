/* SPDX-License-Identifier: MIT */
#include "engine/qemu_version.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"

enum { MAJOR_MIN = 7, MINOR_MIN = 2, DEADLINE_MS = 2000, ANSWER_MAX = 4096 };

/* Read to the end, the deadline, or ANSWER_MAX. Return: how much. */
static size_t read_answer(int fd, char *answer)
{
    uint64_t deadline = fvm_now_us() + DEADLINE_MS * 1000, now;
    size_t size = 0;

    while (size < ANSWER_MAX && (now = fvm_now_us()) < deadline) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t count;

        if (poll(&wait, 1, (int)((deadline - now) / 1000) + 1) <= 0)
            continue;
        count = read(fd, answer + size, ANSWER_MAX - size);
        if (count == 0 || (count < 0 && errno != EINTR))
            break;
        if (count > 0)
            size += (size_t)count;
    }
    return size;
}

static int ask(const char *program, char ret_answer[ANSWER_MAX + 1], struct flashvm_error *error)
{
    const char *argv[] = {program, "--version", NULL};
    cleanup_close int reader = -1;
    int ends[2], outcome;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return fvm_fail_errno(error, errno, "cannot make a pipe");
    reader = ends[0];
    outcome = fvm_process_start(argv, (const int[]){-1, ends[1], ends[1]}, 3, &pid, error);
    close(ends[1]);
    if (outcome < 0)
        return -1;
    ret_answer[read_answer(reader, ret_answer)] = '\0';
    kill(pid, SIGKILL);
    fvm_process_wait(pid);
    return 0;
}

int fvm_qemu_check_version(const char *program, struct flashvm_error *error)
{
    static const char name[] = "QEMU emulator version ";
    char answer[ANSWER_MAX + 1];

    if (ask(program, answer, error) < 0)
        return -1;
    if (strncmp(answer, name, strlen(name)) == 0) {
        char *end;
        unsigned long major = strtoul(answer + strlen(name), &end, 10);
        unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;

        if (major > MAJOR_MIN || (major == MAJOR_MIN && minor >= MINOR_MIN))
            return 0;
        return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE,
                        "%s is QEMU %lu.%lu, and flashVM needs %d.%d or later", program, major,
                        minor, MAJOR_MIN, MINOR_MIN);
    }
    answer[strcspn(answer, "\n")] = '\0';
    return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE,
                    "%s does not work as QEMU: to --version it answers \"%s\"", program, answer);
}
