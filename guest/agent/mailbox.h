/* SPDX-License-Identifier: MIT */
/* The agent's end of the native engine's mailbox (protocol/mailbox.h). */
#pragma once

#include <stddef.h>

/* Have the mailbox and permission to use its ports, and tell the host where it is. */
void mailbox_open(void);

/* Send all of it; waits while the host does not read. */
void mailbox_send(const void *data, size_t size);

/*
 * Wait for bytes from the host, or only look for them.
 * @ret_bytes: where they are, until the next call of any of these functions.
 * Return: how many; 0: none have come.
 */
size_t mailbox_receive(const char **ret_bytes);
size_t mailbox_look(const char **ret_bytes);

/* In a process that becomes the snippet's: give the permission up. Return: 0, or -1 with errno. */
int mailbox_renounce(void);
