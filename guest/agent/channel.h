/* SPDX-License-Identifier: MIT */
/* The agent's end of the frame stream. Losing the host ends the agent: nothing is left to do. */
#pragma once

#include "protocol/frame.h"

struct channel {
    int in_fd, out_fd; /* may be the same */
    struct fvm_frame_decoder decoder;
    struct fvm_buffer outgoing; /* not sent yet: each write is a request to the device */
};

/* Send one frame, with the next flush or when there are many. */
void channel_send(struct channel *channel, enum fvm_frame_type type, const void *payload,
                  size_t size);

/* Send what is left; blocks while the host does not read. Before waiting for anything. */
void channel_flush(struct channel *channel);

/* Send a frame whose payload is a sentence at once, and log it. */
void channel_send_sentence(struct channel *channel, enum fvm_frame_type type, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));

/* Read once (blocks if nothing is there) and keep the bytes for channel_next(). */
void channel_fill(struct channel *channel);

/* The next frame that has arrived whole. Return: 1 and *ret_frame, or 0. */
int channel_next(struct channel *channel, struct fvm_frame *ret_frame);

/* Wait for the next frame. */
void channel_receive(struct channel *channel, struct fvm_frame *ret_frame);
