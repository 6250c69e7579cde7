/* SPDX-License-Identifier: MIT */
/*
 * All that a guest can reach of the monitor: a console, a mailbox, and a latch by which Linux believes
 * in a PCI bus, on which it then finds nothing. Without one it never gets as far as to enter
 * persistent memory into its list of resources (pcibios_init() in arch/x86/pci/common.c). Every other
 * port is empty.
 */
#pragma once

#include "vmm/console.h"
#include "vmm/mailbox.h"

struct ports {
    struct console console;
    struct mailbox mailbox;
    uint32_t pci_address;
};

/* One access of 1, 2 or 4 bytes. @data: what is written, or room for what is read. */
void ports_write(struct ports *ports, uint16_t port, const void *data, size_t size);
void ports_read(struct ports *ports, uint16_t port, void *ret_data, size_t size);
