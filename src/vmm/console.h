/* SPDX-License-Identifier: MIT */
/*
 * The guest's console: as much of a 16550 (ports 0x3f8–0x3ff) as Linux needs to print what it has to
 * say before it dies. It receives nothing and has no interrupt.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct console {
    int fd; /* what is printed goes there, as far as there is room */
    uint8_t interrupts_enabled, line_control, modem_control, scratch;
};

bool console_has_port(uint16_t port);
void console_write(struct console *console, uint16_t port, uint8_t value);
uint8_t console_read(const struct console *console, uint16_t port);
