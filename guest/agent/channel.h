/* SPDX-License-Identifier: MIT */
/* The agent's end of the frame stream. Losing the host ends the agent: nothing is left to do. */
#pragma once

#include "protocol/frame.h"

struct channel {
    int fd;
    struct fvm_frame_decoder decoder;
};

/* Send one frame; blocks while the host does not read. */
void channel_send(struct channel *channel, enum fvm_frame_type type, const void *payload,
                  size_t size);

/* Send FAILED with a sentence. */
void channel_send_failed(struct channel *channel, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Read once (blocks if nothing is there) and keep the bytes for channel_next(). */
void channel_fill(struct channel *channel);

/* The next frame that has arrived whole. Return: 1 and *ret_frame, or 0. */
int channel_next(struct channel *channel, struct fvm_frame *ret_frame);

/* Wait for the next frame. */
void channel_receive(struct channel *channel, struct fvm_frame *ret_frame);
