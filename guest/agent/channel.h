/* SPDX-License-Identifier: MIT */
/* The agent's end of the frame stream. Losing the host ends the agent: nothing is left to do. */
#pragma once

#include <stdbool.h>

#include "protocol/frame.h"

struct channel {
    int in_fd, out_fd; /* may be the same; -1 with a mailbox */
    bool is_mailbox;
    uint64_t look_us; /* when to look into the mailbox again */
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

/* Wait for bytes, and keep them for channel_next(). */
void channel_fill(struct channel *channel);

/*
 * The same without waiting, in a loop around poll() with in_fd in it. A mailbox has no event that
 * ends a poll(): the loop looks into it from time to time.
 * @revents: what poll() says of in_fd.
 * Return: has anything come?
 */
bool channel_look(struct channel *channel, short revents);

/* How long that poll() may take. @ms: as its argument, by everything else. */
int channel_patience_ms(const struct channel *channel, int ms);

/* The next frame that has arrived whole. Return: 1 and *ret_frame, or 0. */
int channel_next(struct channel *channel, struct fvm_frame *ret_frame);

/* Wait for the next frame. */
void channel_receive(struct channel *channel, struct fvm_frame *ret_frame);
