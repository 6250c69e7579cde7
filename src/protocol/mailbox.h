/* SPDX-License-Identifier: MIT */
/*
 * The mailbox: how bytes of the frame stream travel between the agent and the native engine's
 * monitor. Some pages of the guest's memory, whose frame numbers the agent tells once, and ports
 * that the agent reads and writes, 32 bits at a time. Each access stops its processor until the
 * monitor has copied all bytes, so neither side ever sees the other's half-done work, and neither
 * has to believe a length that the other could change meanwhile.
 *
 * A snippet cannot use the ports: its user may not, and its processes give up what they inherit.
 */
#pragma once

enum {
    FVM_MAILBOX_PAGES = 16,
    FVM_MAILBOX_BYTES = FVM_MAILBOX_PAGES * 4096,

    /* Write: the frame number of the mailbox's next page. FVM_MAILBOX_PAGES times. */
    FVM_MAILBOX_PORT_PAGE = 0x510,
    /* Write: the mailbox holds so many bytes for the host. */
    FVM_MAILBOX_PORT_SEND = 0x514,
    /*
     * Read: fill the mailbox with bytes from the host. How many there are; 0: none are there yet,
     * ask again (a guest that was restored waits in the read instead).
     */
    FVM_MAILBOX_PORT_RECEIVE = 0x518,
    /* The same, but it never waits. */
    FVM_MAILBOX_PORT_POLL = 0x51c,
    FVM_MAILBOX_PORTS = 16, /* from the first of them on: what the agent needs permission for */
};

/*
 * What the host writes to the monitor's own socket when the guest waits. The monitor answers, and that
 * is the end of the VM.
 */
#define FVM_MONITOR_SNAPSHOT    'S' /* a booted one: its processors (vmm/snapshot.h) */
#define FVM_MONITOR_WORKING_SET 'W' /* a copy that was asked to watch: vmm/working_set.h */

/* Instead of a number of bytes: the host is gone. */
#define FVM_MAILBOX_CLOSED 0xffffffffU
