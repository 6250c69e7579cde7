/* SPDX-License-Identifier: MIT */
/*
 * A conversation with a guest that follows a script: a thread at the other end of a VM's sockets
 * and pipes. Asserts nothing in that thread; a guest whose host has gone simply ends.
 */
#pragma once

#include <pthread.h>
#include <signal.h>

#include "assertions.h"

#include "base/buffer.h"
#include "protocol/frame.h"
#include "run/conversation.h"

enum { GUEST_FILES_MAX = 16 };

struct guest_file {
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t size; /* as announced */
    bool executable;
    struct fvm_buffer data;
};

struct guest {
    int channel_fd, console_fd, log_fd, control_fd, monitor_fd; /* the VM's ends */
    void (*script)(struct guest *guest);
    pthread_t host; /* the thread that waits for the guest */

    /* What a script of several tests does or says in this one. */
    void (*attack)(struct guest *guest);
    const char *text;

    struct fvm_frame_decoder decoder;

    /* What the host has sent so far. */
    struct fvm_buffer setup, reseed, rehearsal, request, input;
    int reseeds, rehearsals;                  /* frames of the two */
    struct guest_file files[GUEST_FILES_MAX]; /* the first is main.py */
    size_t file_count;                        /* of those that came to their end */
    bool run, stdin_ended;
};

/* One test: the host's side, and the guest. */
struct talk {
    char *tmpdir;
    struct fvm_vm vm;
    struct fvm_run_spec spec; /* timeouts of 20 s, so that only a test that changes one meets it */
    bool warm;                /* for talk_boot() */
    bool was_reseeded;        /* before talk_run() */
    struct fvm_result *result;
    struct flashvm_error error;
    struct guest guest;
    uint64_t elapsed_us;
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct talk. */
int talk_setup(void **state);
int talk_teardown(void **state);
#define talk_test(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)

/* Any files below /work, for talk->spec.expect. */
extern const char *const everything[];

/* Let the guest follow its script while the host boots it, lets it rehearse or runs a snippet.
 * Return: what the host's call returns. */
int talk_boot(struct talk *talk, void (*script)(struct guest *guest));
int talk_rehearse(struct talk *talk, enum fvm_rehearsal kind, void (*script)(struct guest *guest));
int talk_run(struct talk *talk, void (*script)(struct guest *guest));

/* The run succeeded, and this is its (completed) result. */
const struct flashvm_result *talk_result(struct talk *talk, void (*script)(struct guest *guest));

/* ---- for scripts ----------------------------------------------------------------------------- */

/* Return: false when the host is gone. */
bool guest_send(struct guest *guest, enum fvm_frame_type type, const void *payload, size_t size);
bool guest_say(struct guest *guest, enum fvm_frame_type type, const char *text);
bool guest_send_bytes(struct guest *guest, const void *data, size_t size);

/* Take frames until one of this type has come. Return: false when the host is gone. */
bool guest_receive(struct guest *guest, enum fvm_frame_type last);

/* Take all that belongs to a run, then say that the snippet has begun. */
void guest_start(struct guest *guest);

/* Likewise, and that it has ended well: next are its files. */
void guest_start_and_end(struct guest *guest);

/* A FILE frame. */
bool guest_begin_file(struct guest *guest, const char *path, uint64_t size);
void guest_send_file(struct guest *guest, const char *path, const char *text);

/* On console_fd, log_fd or, as news of the engine's, monitor_fd. */
void guest_print(int fd, const char *text);
void guest_wait_ms(unsigned milliseconds);

/* Do nothing until the host closes the channel. */
void guest_wait_for_the_end(struct guest *guest);

/* The end of the VM's process. */
void guest_die(struct guest *guest);

#define GOOD_RESULT                                                                                \
    "{\"exit_code\":0,\"term_signal\":0,\"started\":true,\"timed_out\":false," RESULT_USAGE ","    \
    "\"execute_us\":1234}"
/* Of a run that a limit ended before the snippet's first line. */
#define RESULT_WITHOUT_START                                                                       \
    "{\"exit_code\":124,\"term_signal\":9,\"started\":false,\"timed_out\":true," RESULT_USAGE      \
    ",\"execute_us\":0}"
#define RESULT_USAGE                                                                               \
    "\"oom_killed\":false,\"reseeded\":true,\"cpu_time_us\":1000,\"peak_memory_bytes\":5000000"
