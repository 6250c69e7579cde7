/* SPDX-License-Identifier: MIT */
#include "vmm/console.h"

#include <unistd.h>

enum { FIRST_PORT = 0x3f8, PORTS = 8 };

/* Registers, as offsets; the first two change their meaning with DIVISOR_ACCESS. */
enum {
    DATA,
    INTERRUPT_ENABLE,
    INTERRUPT_ID,
    LINE_CONTROL,
    MODEM_CONTROL,
    LINE_STATUS,
    MODEM_STATUS,
    SCRATCH,
};

enum {
    DIVISOR_ACCESS = 0x80,    /* in LINE_CONTROL */
    NO_INTERRUPT = 0x01,      /* in INTERRUPT_ID */
    TRANSMITTER_EMPTY = 0x60, /* in LINE_STATUS: always */
    CONNECTED = 0xb0,         /* in MODEM_STATUS: carrier, data set ready, clear to send */
};

bool console_has_port(uint16_t port)
{
    return port >= FIRST_PORT && port < FIRST_PORT + PORTS;
}

void console_write(struct console *console, uint16_t port, uint8_t value)
{
    const bool divisor = console->line_control & DIVISOR_ACCESS;

    switch (port - FIRST_PORT) {
    case DATA:
        if (!divisor && write(console->fd, &value, 1) < 0)
            return; /* nobody reads: it is lost, and the guest goes on */
        break;
    case INTERRUPT_ENABLE:
        if (!divisor)
            console->interrupts_enabled = value & 0x0f;
        break;
    case LINE_CONTROL:
        console->line_control = value;
        break;
    case MODEM_CONTROL:
        console->modem_control = value;
        break;
    case SCRATCH:
        console->scratch = value;
        break;
    default:
        break;
    }
}

uint8_t console_read(const struct console *console, uint16_t port)
{
    switch (port - FIRST_PORT) {
    case INTERRUPT_ENABLE:
        return console->line_control & DIVISOR_ACCESS ? 0 : console->interrupts_enabled;
    case INTERRUPT_ID:
        return NO_INTERRUPT;
    case LINE_CONTROL:
        return console->line_control;
    case MODEM_CONTROL:
        return console->modem_control;
    case LINE_STATUS:
        return TRANSMITTER_EMPTY;
    case MODEM_STATUS:
        return CONNECTED;
    case SCRATCH:
        return console->scratch;
    default:
        return 0;
    }
}
