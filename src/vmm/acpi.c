/* SPDX-License-Identifier: MIT */
#include "vmm/acpi.h"

#include <stddef.h>
#include <string.h>

/* The tables' places within the area. The MADT is the last, since it grows with the processors. */
enum { RSDP = 0x0, XSDT = 0x40, DSDT = 0x100, FADT = 0x200, MADT = 0x400 };

enum { LOCAL_APIC_ADDRESS = 0xfee00000 };

/* ACPI 6.5, table 5.4. */
struct header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

/* Table 5.3. */
struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt_address;
    uint32_t length;
    uint64_t xsdt_address;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

struct xsdt {
    struct header header;
    uint64_t tables[2];
} __attribute__((packed));

/* Table 5.9, as far as it is not all zero here. */
struct fadt {
    struct header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t ignored[65];
    uint16_t boot_architecture;
    uint8_t reserved;
    uint32_t flags;
    uint8_t reset_register[12];
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
    uint8_t blocks[128];
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "the size of a FADT of version 6");

enum {
    FADT_NO_VGA = 1 << 2,
    FADT_NO_CMOS_CLOCK = 1 << 5,
    FADT_WBINVD = 1 << 0,
    FADT_NO_POWER_BUTTON = 1 << 4, /* a fixed one */
    FADT_NO_SLEEP_BUTTON = 1 << 5,
    FADT_HARDWARE_REDUCED = 1 << 20,
};

struct madt {
    struct header header;
    uint32_t local_apic_address, flags;
} __attribute__((packed));

/* Table 5.37: a local APIC that has always been there. */
struct madt_cpu {
    uint8_t type, length;
    uint8_t processor_uid, apic_id;
    uint32_t flags;
} __attribute__((packed));

static uint8_t checksum(const void *table, size_t size)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

static struct header header(const char *signature, size_t length, uint8_t revision)
{
    struct header header = {
        .length = (uint32_t)length,
        .revision = revision,
        .oem_revision = 1,
        .creator_revision = 1,
    };

    memcpy(header.signature, signature, sizeof header.signature);
    memcpy(header.oem_id, "FLSHVM", sizeof header.oem_id);
    memcpy(header.oem_table_id, "FLASHVM ", sizeof header.oem_table_id);
    memcpy(header.creator_id, "FLVM", sizeof header.creator_id);
    return header;
}

/* Put a table in its place. */
static void place(uint8_t *where, struct header *table)
{
    table->checksum = checksum(table, table->length);
    memcpy(where, table, table->length);
}

static void write_fadt(uint8_t *where)
{
    struct fadt fadt = {
        .header = header("FACP", sizeof fadt, 6),
        .dsdt = ACPI_ADDRESS + DSDT,
        .boot_architecture = FADT_NO_VGA | FADT_NO_CMOS_CLOCK,
        .flags = FADT_WBINVD | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_HARDWARE_REDUCED,
        .minor_version = 5,
        .x_dsdt = ACPI_ADDRESS + DSDT,
    };

    place(where, &fadt.header);
}

static void write_madt(uint8_t *where, unsigned cpus)
{
    struct madt madt = {
        .header = header("APIC", sizeof madt + cpus * sizeof(struct madt_cpu), 5),
        .local_apic_address = LOCAL_APIC_ADDRESS,
    };
    uint8_t *next = where + sizeof madt;

    for (unsigned i = 0; i < cpus; i++, next += sizeof(struct madt_cpu)) {
        const struct madt_cpu cpu = {
            .length = sizeof cpu,
            .processor_uid = (uint8_t)i,
            .apic_id = (uint8_t)i,
            .flags = 1, /* enabled */
        };

        memcpy(next, &cpu, sizeof cpu);
    }
    memcpy(where, &madt, sizeof madt);
    madt.header.checksum = checksum(where, madt.header.length);
    memcpy(where, &madt, sizeof madt);
}

uint64_t acpi_write(uint8_t *area, unsigned cpus)
{
    struct header dsdt = header("DSDT", sizeof dsdt, 2);
    struct xsdt xsdt = {
        .header = header("XSDT", sizeof xsdt, 1),
        .tables = {ACPI_ADDRESS + FADT, ACPI_ADDRESS + MADT},
    };
    struct rsdp rsdp = {
        .revision = 2,
        .length = sizeof rsdp,
        .xsdt_address = ACPI_ADDRESS + XSDT,
    };

    place(area + DSDT, &dsdt);
    write_fadt(area + FADT);
    write_madt(area + MADT, cpus);
    place(area + XSDT, &xsdt.header);
    memcpy(rsdp.signature, "RSD PTR ", sizeof rsdp.signature);
    memcpy(rsdp.oem_id, "FLSHVM", sizeof rsdp.oem_id);
    rsdp.checksum = checksum(&rsdp, offsetof(struct rsdp, length));
    rsdp.extended_checksum = checksum(&rsdp, sizeof rsdp);
    memcpy(area + RSDP, &rsdp, sizeof rsdp);
    return ACPI_ADDRESS + RSDP;
}
