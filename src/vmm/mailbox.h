/* SPDX-License-Identifier: MIT */
/* The monitor's end of the mailbox (protocol/mailbox.h). All that it is told is a guest's word. */
#pragma once

#include <stdbool.h>

#include "protocol/mailbox.h"
#include "vmm/memory.h"

struct mailbox {
    const struct memory *memory;
    int channel_fd; /* a stream socket: the host */
    uint32_t page_count;
    uint64_t pages[FVM_MAILBOX_PAGES]; /* guest addresses; each is in the RAM */
};

/* Is it one of the mailbox's ports? */
bool mailbox_has_port(uint16_t port);

/* The guest writes to a port. What makes no sense is left undone. */
void mailbox_write(struct mailbox *mailbox, uint16_t port, uint32_t value);

/* Fill the mailbox with what the host has sent, if anything. Return: what the guest reads from its
 * port. */
uint32_t mailbox_receive(struct mailbox *mailbox);
