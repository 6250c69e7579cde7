/* SPDX-License-Identifier: MIT */
/*
 * In the place of flashvm-jail and of all that runs in it: a process that speaks the agent's
 * protocol by itself. Its last argument says how it behaves; see stand_in_engine.h.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"
#include "engine/vm_process.h"
#include "protocol/frame.h"

enum { CONTROL_FD = 3, SLOWNESS_MS = 100 };

static const char *behaviour;
static int reseeds;

static bool is(const char *word)
{
    return strcmp(behaviour, word) == 0;
}

static void say(enum fvm_frame_type type, const char *text)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, strlen(text), header);
    if (fvm_write_all(FVM_VM_CHANNEL_FD, header, sizeof header) < 0 ||
        fvm_write_all(FVM_VM_CHANNEL_FD, text, strlen(text)) < 0)
        exit(1);
}

static void run(void)
{
    char text[100];

    if (is("frail"))
        exit(0);
    snprintf(text, sizeof text, "reseeded %d times", reseeds);
    say(FVM_FRAME_STARTED, "");
    say(FVM_FRAME_STDOUT, text);
    say(FVM_FRAME_RESULT,
        "{\"exit_code\":0,\"term_signal\":0,\"started\":true,\"timed_out\":false,"
        "\"oom_killed\":false,\"reseeded\":true,\"cpu_time_us\":1,\"peak_memory_bytes\":1,"
        "\"execute_us\":1}");
}

static void rehearse(void)
{
    if (is("fails"))
        say(FVM_FRAME_FAILED, "the interpreter is gone");
    if (is("slow"))
        nanosleep(&(struct timespec){.tv_nsec = SLOWNESS_MS * 1000000L}, NULL);
    say(FVM_FRAME_READY, "");
    if (is("brittle"))
        exit(0);
}

static void take(const struct fvm_frame *frame)
{
    if (is("mute"))
        return;
    if (frame->type == FVM_FRAME_SETUP)
        say(FVM_FRAME_READY, "");
    else if (frame->type == FVM_FRAME_REHEARSE)
        rehearse();
    else if (frame->type == FVM_FRAME_RESEED)
        reseeds++;
    else if (frame->type == FVM_FRAME_STDIN_END)
        run();
}

static void converse(void)
{
    struct fvm_frame_decoder decoder = {0};
    struct fvm_frame frame;
    char chunk[4096];
    ssize_t size;

    for (;;) {
        struct pollfd polls[] = {{.fd = CONTROL_FD, .events = POLLIN},
                                 {.fd = FVM_VM_CHANNEL_FD, .events = POLLIN}};

        poll(polls, 2, -1);
        if (polls[0].revents && (read(CONTROL_FD, chunk, sizeof chunk) <= 0 || *chunk == 'q'))
            exit(0);
        if (polls[1].revents == 0)
            continue;
        size = read(FVM_VM_CHANNEL_FD, chunk, sizeof chunk);
        if (size <= 0 || fvm_frame_decoder_feed(&decoder, chunk, (size_t)size) < 0)
            exit(1);
        while (fvm_frame_decoder_next(&decoder, &frame) > 0)
            take(&frame);
    }
}

int main(int argc, char **argv)
{
    behaviour = argv[argc - 1];
    printf("this guest is %s\n", behaviour);
    fflush(stdout);
    if (!is("dead"))
        converse();
    return 1;
}
