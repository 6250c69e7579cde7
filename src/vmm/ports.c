/* SPDX-License-Identifier: MIT */
#include "vmm/ports.h"

#include <string.h>

/* PCI Local Bus Specification 3.0, 3.2.2.3.2: CONFIG_ADDRESS. */
enum { PCI_CONFIG_ADDRESS = 0xcf8 };

void ports_write(struct ports *ports, uint16_t port, const void *data, size_t size)
{
    uint32_t value;

    if (console_has_port(port)) {
        console_write(&ports->console, port, *(const uint8_t *)data);
    } else if (mailbox_has_port(port) && size == sizeof value) {
        memcpy(&value, data, sizeof value);
        mailbox_write(&ports->mailbox, port, value);
    } else if (port == PCI_CONFIG_ADDRESS && size == sizeof ports->pci_address) {
        memcpy(&ports->pci_address, data, size);
    }
}

void ports_read(struct ports *ports, uint16_t port, void *ret_data, size_t size)
{
    memset(ret_data, 0xff, size); /* as a bus with nothing on it */
    if (console_has_port(port)) {
        *(uint8_t *)ret_data = console_read(&ports->console, port);
    } else if (mailbox_has_port(port) && size == sizeof(uint32_t)) {
        const uint32_t value = mailbox_receive(&ports->mailbox);

        memcpy(ret_data, &value, sizeof value);
    } else if (port == PCI_CONFIG_ADDRESS && size == sizeof ports->pci_address) {
        memcpy(ret_data, &ports->pci_address, size);
    }
}
