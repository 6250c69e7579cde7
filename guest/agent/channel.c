/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <poll.h>
#include <stdarg.h>

#include "base/clock.h"
#include "log.h"
#include "mailbox.h"

enum { OUTGOING_MAX = 256 * 1024 };
/* Between looks into the mailbox: how late the host's stdin, or its wish to end a run, may come. */
enum { LOOK_MS = 10 };

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
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, size, header);
    if (fvm_buffer_append(&channel->outgoing, header, sizeof header) < 0 ||
        fvm_buffer_append(&channel->outgoing, payload, size) < 0)
        agent_die("out of memory");
    if (channel->outgoing.size >= OUTGOING_MAX)
        channel_flush(channel);
}

void channel_flush(struct channel *channel)
{
    if (channel->outgoing.size == 0)
        return;
    if (channel->is_mailbox)
        mailbox_send(channel->outgoing.data, channel->outgoing.size);
    else
        send_bytes(channel->out_fd, channel->outgoing.data, channel->outgoing.size);
    channel->outgoing.size = 0;
}

void channel_send_sentence(struct channel *channel, enum fvm_frame_type type, const char *format,
                           ...)
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
    channel_send(channel, type, message, (size_t)size);
    channel_flush(channel);
}

static void keep(struct channel *channel, const char *bytes, size_t size)
{
    if (fvm_frame_decoder_feed(&channel->decoder, bytes, size) < 0)
        agent_die("out of memory");
}

static void fill_from_descriptor(struct channel *channel)
{
    static char bytes[FVM_FRAME_MAX_PAYLOAD];
    ssize_t count = read(channel->in_fd, bytes, sizeof bytes);

    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (count <= 0)
        agent_die("the host has closed the channel");
    keep(channel, bytes, (size_t)count);
}

void channel_fill(struct channel *channel)
{
    const char *bytes;
    size_t size;

    if (!channel->is_mailbox) {
        fill_from_descriptor(channel);
        return;
    }
    size = mailbox_receive(&bytes);
    keep(channel, bytes, size);
    channel->look_us = fvm_now_us() + LOOK_MS * 1000;
}

bool channel_look(struct channel *channel, short revents)
{
    const char *bytes;
    size_t size;

    if (!channel->is_mailbox) {
        if (revents)
            fill_from_descriptor(channel);
        return revents != 0;
    }
    if (fvm_now_us() < channel->look_us)
        return false;
    channel->look_us = fvm_now_us() + LOOK_MS * 1000;
    size = mailbox_look(&bytes);
    keep(channel, bytes, size);
    return size > 0;
}

int channel_patience_ms(const struct channel *channel, int ms)
{
    return channel->is_mailbox && (ms < 0 || ms > LOOK_MS) ? LOOK_MS : ms;
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
    while (!channel_next(channel, ret_frame)) {
        channel_flush(channel);
        channel_fill(channel);
    }
}
