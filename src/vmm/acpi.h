/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables by which Linux learns of its processors' local APICs: it has no MP table parser,
 * and without either it would have no timer. The machine is "hardware-reduced" (ACPI 6.5, 4.1): no
 * power management hardware, no legacy devices; its DSDT describes nothing.
 */
#pragma once

#include <stdint.h>

enum {
    ACPI_ADDRESS = 0xe0000, /* where a kernel would look for them, too */
    ACPI_SIZE = 0x20000,
};

/* Write the tables. @area: ACPI_SIZE bytes, which the guest has at ACPI_ADDRESS. Return: the guest's
 * address of the RSDP, their root. */
uint64_t acpi_write(uint8_t *area, unsigned cpus);
