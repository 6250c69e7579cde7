/* SPDX-License-Identifier: MIT */
#include "vmm/mailbox.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include "vmm/fail.h"

bool mailbox_has_port(uint16_t port)
{
    return port >= FVM_MAILBOX_PORT_PAGE && port < FVM_MAILBOX_PORT_PAGE + FVM_MAILBOX_PORTS;
}

static void add_page(struct mailbox *mailbox, uint32_t frame)
{
    const uint64_t address = (uint64_t)frame * PAGE_BYTES;

    if (mailbox->page_count < FVM_MAILBOX_PAGES && memory_at(mailbox->memory, address, PAGE_BYTES))
        mailbox->pages[mailbox->page_count++] = address;
}

/* The host's view of the first bytes of the mailbox. Return: how many pieces. */
static size_t lay_out(const struct mailbox *mailbox, uint32_t size, struct iovec *ret_pieces)
{
    size_t count = 0;

    for (; size > 0 && count < mailbox->page_count; count++) {
        const uint32_t piece = size < PAGE_BYTES ? size : PAGE_BYTES;

        ret_pieces[count] = (struct iovec){
            .iov_base = memory_at(mailbox->memory, mailbox->pages[count], PAGE_BYTES),
            .iov_len = piece,
        };
        size -= piece;
    }
    return count;
}

/* A host that reads slowly makes the guest wait; one that is gone ends this process elsewhere. */
static void send_bytes(struct mailbox *mailbox, uint32_t size)
{
    struct iovec pieces[FVM_MAILBOX_PAGES];
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = lay_out(mailbox, size, pieces)};

    while (message.msg_iovlen > 0) {
        ssize_t count = sendmsg(mailbox->channel_fd, &message, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return;
        for (; message.msg_iovlen > 0 && (size_t)count >= message.msg_iov->iov_len;
             message.msg_iov++, message.msg_iovlen--)
            count -= (ssize_t)message.msg_iov->iov_len;
        if (message.msg_iovlen > 0) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + count;
            message.msg_iov->iov_len -= (size_t)count;
        }
    }
}

void mailbox_write(struct mailbox *mailbox, uint16_t port, uint32_t value)
{
    if (port == FVM_MAILBOX_PORT_PAGE)
        add_page(mailbox, value);
    else if (port == FVM_MAILBOX_PORT_SEND && value <= mailbox->page_count * PAGE_BYTES)
        send_bytes(mailbox, value);
}

uint32_t mailbox_receive(struct mailbox *mailbox)
{
    struct iovec pieces[FVM_MAILBOX_PAGES];
    struct msghdr message = {.msg_iov = pieces,
                             .msg_iovlen = lay_out(mailbox, FVM_MAILBOX_BYTES, pieces)};
    ssize_t count;

    if (message.msg_iovlen == 0)
        return 0;
    do
        count = recvmsg(mailbox->channel_fd, &message, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EAGAIN)
        return 0;
    return count > 0 ? (uint32_t)count : FVM_MAILBOX_CLOSED;
}
