/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <poll.h>
#include <stdarg.h>

#include "log.h"

static void send_bytes(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t count = write(fd, next, size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            agent_die_errno("lost the host while sending");
        next += count;
        size -= (size_t)count;
    }
}

void channel_send(struct channel *channel, enum fvm_frame_type type, const void *payload,
                  size_t size)
{
    static uint8_t frame[FVM_FRAME_HEADER_SIZE + FVM_FRAME_MAX_PAYLOAD];

    /* One write per frame: each write is a request of its own to the virtio device. */
    fvm_frame_encode_header(type, size, frame);
    if (size > 0)
        memcpy(frame + FVM_FRAME_HEADER_SIZE, payload, size);
    send_bytes(channel->fd, frame, FVM_FRAME_HEADER_SIZE + size);
}

void channel_send_failed(struct channel *channel, const char *format, ...)
{
    char message[1024];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (size >= (int)sizeof message)
        size = sizeof message - 1;
    agent_log("%s", message);
    channel_send(channel, FVM_FRAME_FAILED, message, (size_t)size);
}

void channel_fill(struct channel *channel)
{
    static char bytes[FVM_FRAME_MAX_PAYLOAD];
    ssize_t count = read(channel->fd, bytes, sizeof bytes);

    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (count <= 0)
        agent_die("the host has closed the channel");
    if (fvm_frame_decoder_feed(&channel->decoder, bytes, (size_t)count) < 0)
        agent_die("out of memory");
}

int channel_next(struct channel *channel, struct fvm_frame *ret_frame)
{
    int outcome = fvm_frame_decoder_next(&channel->decoder, ret_frame);

    if (outcome < 0)
        agent_die("the host sent something that is no frame");
    return outcome;
}

void channel_receive(struct channel *channel, struct fvm_frame *ret_frame)
{
    while (!channel_next(channel, ret_frame))
        channel_fill(channel);
}
