/* SPDX-License-Identifier: MIT */
/* What a guest of the native engine finds in its memory when it starts: kernel, zero page, ACPI. */
#include "assertions.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "vmm/acpi.h"
#include "vmm/boot.h"

enum { MIB = 1 << 20, KERNEL_ADDRESS = 16 * MIB, ENTRY = KERNEL_ADDRESS + 0x40 };
enum { E820_RAM = 1, E820_RESERVED = 2, E820_PERSISTENT = 12 };

static const char code[] = "this would be a kernel";

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    return fd;
}

/* A kernel with one segment. */
struct kernel {
    Elf64_Ehdr elf;
    Elf64_Phdr segment;
    char code[sizeof code];
};

static struct kernel sound_kernel(void)
{
    struct kernel kernel = {
        .elf =
            {
                .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3},
                .e_machine = EM_X86_64,
                .e_entry = ENTRY,
                .e_phoff = offsetof(struct kernel, segment),
                .e_phentsize = sizeof(Elf64_Phdr),
                .e_phnum = 1,
            },
        .segment =
            {
                .p_type = PT_LOAD,
                .p_offset = offsetof(struct kernel, code),
                .p_paddr = KERNEL_ADDRESS,
                .p_filesz = sizeof code,
                .p_memsz = 4096,
            },
    };

    memcpy(kernel.code, code, sizeof code);
    return kernel;
}

/* RAM of that size, an image of one byte, and all that a boot puts there. */
static struct memory booted(uint64_t ram_size, unsigned cpus)
{
    const struct kernel kernel = sound_kernel();
    const char initramfs[] = "an initramfs";
    int kernel_fd = file_of(&kernel, sizeof kernel);
    int initramfs_fd = file_of(initramfs, sizeof initramfs), image_fd = file_of("x", 1);
    struct memory memory;

    memory_map_ram(&memory, ram_size, -1, 0);
    memory_map_image(&memory, image_fd);
    assert_int_equal(boot_load(&memory, kernel_fd, initramfs_fd, "a=b quiet", cpus), ENTRY);
    close(kernel_fd);
    close(initramfs_fd);
    close(image_fd);
    return memory;
}

static void unmap(struct memory *memory)
{
    munmap(memory->ram, memory->ram_size);
    munmap(memory->image, memory->image_size);
}

static const struct boot_params *zero_page(const struct memory *memory)
{
    struct kvm_sregs sregs = {0};
    struct kvm_regs regs;

    boot_set_registers(ENTRY, &regs, &sregs);
    return memory_at(memory, regs.rsi, sizeof(struct boot_params));
}

static void the_kernel_lies_where_it_wants_to(void **state)
{
    struct memory memory = booted(64 * MIB, 1);

    (void)state;
    assert_memory_equal(memory_at(&memory, KERNEL_ADDRESS, sizeof code), code, sizeof code);
    unmap(&memory);
}

static void the_zero_page_leads_to_command_line_and_initramfs(void **state)
{
    struct memory memory = booted(64 * MIB, 1);
    const struct setup_header *header = &zero_page(&memory)->hdr;

    (void)state;
    assert_int_equal(header->header, 0x53726448);
    assert_string_equal(memory_at(&memory, header->cmd_line_ptr, 10), "a=b quiet");
    assert_int_equal(header->ramdisk_size, sizeof "an initramfs");
    assert_int_equal(header->ramdisk_image % 4096, 0);
    assert_string_equal(memory_at(&memory, header->ramdisk_image, header->ramdisk_size),
                        "an initramfs");
    unmap(&memory);
}

static void the_memory_map_tells_all_of_the_ram_and_the_image(void **state)
{
    const uint64_t sizes[] = {64 * MIB, 3 * GIB, 5 * GIB};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct memory memory = booted(sizes[i], 1);
        const struct boot_params *params = zero_page(&memory);
        uint64_t ram = 0, end = 0;

        for (unsigned entry = 0; entry < params->e820_entries; entry++) {
            const struct boot_e820_entry *range = &params->e820_table[entry];

            assert_true(range->addr >= end); /* in order, and none over another */
            end = range->addr + range->size;
            if (range->type == E820_RAM)
                ram += range->size;
            else if (range->type == E820_RESERVED)
                assert_int_equal(range->addr, ACPI_ADDRESS);
            else
                assert_int_equal(range->type, E820_PERSISTENT);
        }
        /* All but what lies between 639 KiB and 1 MiB. */
        assert_int_equal(ram, sizes[i] - (MIB - 0x9fc00));
        assert_int_equal(end, memory_image_address(&memory) + memory.image_size);
        unmap(&memory);
    }
}

static void the_first_processor_starts_in_long_mode_with_its_memory_mapped(void **state)
{
    struct memory memory = booted(64 * MIB, 1);
    struct kvm_sregs sregs = {0};
    struct kvm_regs regs;
    const uint64_t *table;

    (void)state;
    boot_set_registers(ENTRY, &regs, &sregs);
    assert_int_equal(regs.rip, ENTRY);
    assert_int_equal(sregs.efer & 0x500, 0x500); /* LME, LMA */
    assert_true(sregs.cr0 & 1 && sregs.cr0 & 1U << 31 && sregs.cr4 & 1 << 5);
    assert_int_equal(sregs.cs.selector, 0x10);
    assert_int_equal(sregs.ds.selector, 0x18);
    table = memory_at(&memory, sregs.cr3, 4096);
    table = memory_at(&memory, table[0] & ~0xfffULL, 4096);
    table = memory_at(&memory, table[0] & ~0xfffULL, 4096);
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(table[i], i << 21 | 0x83); /* 2 MiB each, writable, where they are */
    unmap(&memory);
}

/* ---- ACPI ------------------------------------------------------------------------------------ */

static uint8_t sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;

    while (size > 0)
        total = (uint8_t)(total + bytes[--size]);
    return total;
}

static uint64_t number_at(const uint8_t *where, size_t size)
{
    uint64_t number = 0;

    memcpy(&number, where, size);
    return number;
}

/* A table that is sound. Return: it. */
static const uint8_t *table_at(const uint8_t *area, uint64_t address, const char *signature)
{
    const uint8_t *table = area + (address - ACPI_ADDRESS);
    uint64_t length;

    assert_in_range(address, ACPI_ADDRESS, ACPI_ADDRESS + ACPI_SIZE - 36);
    assert_memory_equal(table, signature, 4);
    length = number_at(table + 4, 4);
    assert_in_range(length, 36, ACPI_ADDRESS + ACPI_SIZE - address);
    assert_int_equal(sum(table, length), 0);
    return table;
}

static void the_acpi_tables_are_sound_and_have_all_processors(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= 32; cpus += 31) {
        uint8_t *area = calloc(1, ACPI_SIZE);
        const uint8_t *rsdp = area + (acpi_write(area, cpus) - ACPI_ADDRESS), *xsdt, *fadt, *madt;

        assert_memory_equal(rsdp, "RSD PTR ", 8);
        assert_int_equal(sum(rsdp, 20), 0);
        assert_int_equal(sum(rsdp, 36), 0);
        xsdt = table_at(area, number_at(rsdp + 24, 8), "XSDT");
        fadt = table_at(area, number_at(xsdt + 36, 8), "FACP");
        assert_true(number_at(fadt + 112, 4) & 1 << 20); /* hardware-reduced */
        table_at(area, number_at(fadt + 140, 8), "DSDT");
        madt = table_at(area, number_at(xsdt + 44, 8), "APIC");
        assert_int_equal(number_at(madt + 36, 4), 0xfee00000);
        assert_int_equal(number_at(madt + 4, 4), 44 + cpus * 8);
        for (unsigned i = 0; i < cpus; i++) {
            const uint8_t expected[] = {0, 8, (uint8_t)i, (uint8_t)i, 1, 0, 0, 0};

            assert_memory_equal(madt + 44 + i * sizeof expected, expected, sizeof expected);
        }
        free(area);
    }
}

/* ---- kernels that are none ------------------------------------------------------------------- */

/* Boot it in another process. Its last words go to `ret_words`. Return: its exit code. */
static int boot_elsewhere(const struct kernel *kernel, size_t size, char ret_words[200])
{
    int words[2], status;
    ssize_t length;
    pid_t pid;

    assert_int_equal(pipe2(words, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct memory memory;

        dup2(words[1], STDERR_FILENO);
        memory_map_ram(&memory, 64 * MIB, -1, 0);
        boot_load(&memory, file_of(kernel, size), file_of("", 1), "", 1);
        _exit(0);
    }
    close(words[1]);
    length = read(words[0], ret_words, 199);
    ret_words[length > 0 ? length : 0] = '\0';
    close(words[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_damaged_kernel_is_refused(void **state)
{
    struct kernel none = sound_kernel(), foreign = none, headers = none, beyond = none;
    struct kernel outside = none, shrunk = none, low = none;
    const struct {
        const struct kernel *kernel;
        size_t size;
        const char *says;
    } cases[] = {
        {&none, sizeof none, "no ELF file"},
        {&foreign, sizeof foreign, "no ELF file for this processor"},
        {&headers, sizeof headers, "no ELF file for this processor"},
        {&beyond, sizeof beyond, "segment 0 is damaged"},
        {&outside, sizeof outside, "the kernel does not fit into 64 MiB"},
        {&shrunk, sizeof shrunk, "segment 0 is damaged"},
        {&low, sizeof low, "segment 0 is damaged"},
        {&beyond, 10, "no ELF file"},
    };

    (void)state;
    none.elf.e_ident[0] = 'x';
    foreign.elf.e_machine = EM_AARCH64;
    headers.elf.e_phnum = 2000;
    beyond.segment.p_offset = 1000000;
    outside.segment.p_paddr = 1ULL << 40;
    shrunk.segment.p_memsz = 1;
    low.segment.p_paddr = 0x1000;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char words[200];

        assert_int_equal(boot_elsewhere(cases[i].kernel, cases[i].size, words), 1);
        if (strstr(words, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", words, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_lies_where_it_wants_to),
        cmocka_unit_test(the_zero_page_leads_to_command_line_and_initramfs),
        cmocka_unit_test(the_memory_map_tells_all_of_the_ram_and_the_image),
        cmocka_unit_test(the_first_processor_starts_in_long_mode_with_its_memory_mapped),
        cmocka_unit_test(the_acpi_tables_are_sound_and_have_all_processors),
        cmocka_unit_test(a_damaged_kernel_is_refused),
    };

    return cmocka_run_group_tests_name("vmm_boot", tests, NULL, NULL);
}
