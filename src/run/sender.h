/* SPDX-License-Identifier: MIT */
/*
 * What is still to be sent to a guest: a small buffer that is filled again, as it drains, from the
 * run's files and then from its standard input. So a run may send more than the host has memory
 * for, and a guest that takes nothing costs nothing.
 */
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "run/run.h"

enum fvm_sender_stage {
    FVM_SENDER_BUFFER, /* what was put into `pending`, and nothing else */
    FVM_SENDER_FILES,
    FVM_SENDER_STDIN,
};

/* Starts from FVM_SENDER_INIT: sends what is appended to `pending`. */
struct fvm_sender {
    struct fvm_buffer pending;
    enum fvm_sender_stage stage;
    const struct fvm_run_spec *spec;
    size_t file; /* the index of the one that is being sent, or is next */
    bool in_file;
    int file_fd; /* -1: its bytes are in memory */
    uint64_t file_left;
    int own_stdin_fd; /* read instead of the caller's; -1: there is none */
};
#define FVM_SENDER_INIT                                                                            \
    {                                                                                              \
        .file_fd = -1, .own_stdin_fd = -1                                                          \
    }

/* Begin a run: its request and code, then its files, RUN, then its standard input. */
int fvm_sender_begin_run(struct fvm_sender *sender, const struct fvm_run_spec *spec,
                         struct flashvm_error *error);

/* Is there something to send? (Standard input does not count until it has come.) */
bool fvm_sender_has_more(const struct fvm_sender *sender);

/* Send what the channel takes now. Return: 0 or, with the error set, -1. */
int fvm_sender_send(struct fvm_sender *sender, int channel_fd, struct flashvm_error *error);

/* The descriptor of standard input if it is time to read from it, else -1. */
int fvm_sender_wants(const struct fvm_sender *sender);

/* Take what that descriptor has. Call it when poll() says that there is something. */
int fvm_sender_take_stdin(struct fvm_sender *sender, struct flashvm_error *error);

void fvm_sender_finish(struct fvm_sender *sender);
