/* SPDX-License-Identifier: MIT */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/acpi.h"
#include "vmm/fail.h"

/* Below the kernel, which is at 16 MiB; Linux keeps the first page free itself. */
enum {
    GDT = 0x1000,
    ZERO_PAGE = 0x7000,
    STACK_TOP = 0x8ff0,
    PML4 = 0x9000,
    PDPT = 0xa000,
    PAGE_DIRECTORY = 0xb000, /* 1 GiB of pages of 2 MiB */
    COMMAND_LINE = 0x20000,
    COMMAND_LINE_MAX = 2048,
    LOW_RAM_END = 0x9fc00,
    HIGH_RAM_BEGIN = 0x100000,
};

/* The selectors that the boot protocol wants: __BOOT_CS and __BOOT_DS. */
enum { CODE_SELECTOR = 0x10, DATA_SELECTOR = 0x18 };

enum { E820_PERSISTENT = 12 };

static void *must_have(const struct memory *memory, uint64_t address, uint64_t size,
                       const char *what)
{
    void *where = memory_at(memory, address, size);

    if (where == NULL)
        fail("%s does not fit into %ju MiB of memory", what, (uintmax_t)memory->ram_size >> 20);
    return where;
}

static const uint8_t *map_file(int fd, const char *what, size_t *ret_size)
{
    struct stat status;
    void *bytes;

    if (fstat(fd, &status) < 0)
        fail_errno("cannot look at %s", what);
    *ret_size = (size_t)status.st_size;
    bytes = mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        fail_errno("cannot map %s", what);
    return bytes;
}

static uint64_t load_kernel(const struct memory *memory, int fd)
{
    size_t size;
    const uint8_t *file = map_file(fd, "the kernel", &size);
    Elf64_Ehdr elf;

    if (size < sizeof elf)
        fail("the kernel is no ELF file");
    memcpy(&elf, file, sizeof elf);
    if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_machine != EM_X86_64 ||
        elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phoff > size ||
        elf.e_phnum > (size - elf.e_phoff) / sizeof(Elf64_Phdr))
        fail("the kernel is no ELF file for this processor");
    for (unsigned i = 0; i < elf.e_phnum; i++) {
        Elf64_Phdr segment;

        memcpy(&segment, file + elf.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type != PT_LOAD)
            continue;
        if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset ||
            segment.p_filesz > segment.p_memsz || segment.p_paddr < HIGH_RAM_BEGIN)
            fail("the kernel's segment %u is damaged", i);
        memcpy(must_have(memory, segment.p_paddr, segment.p_memsz, "the kernel"),
               file + segment.p_offset, segment.p_filesz);
    }
    munmap((void *)file, size);
    return elf.e_entry;
}

/* At the end of the low RAM, out of the kernel's way. */
static void load_initramfs(const struct memory *memory, int fd, struct setup_header *header)
{
    size_t size;
    const uint8_t *file = map_file(fd, "the initramfs", &size);
    const uint64_t end = memory_low_size(memory) & ~(uint64_t)(PAGE_BYTES - 1);
    const uint64_t address = size < end ? (end - size) & ~(uint64_t)(PAGE_BYTES - 1) : end;

    memcpy(must_have(memory, address, size, "the initramfs"), file, size);
    munmap((void *)file, size);
    header->ramdisk_image = (uint32_t)address;
    header->ramdisk_size = (uint32_t)size;
}

static void add_range(struct boot_params *zero_page, uint64_t address, uint64_t size, uint32_t type)
{
    if (size > 0)
        zero_page->e820_table[zero_page->e820_entries++] =
            (struct boot_e820_entry){.addr = address, .size = size, .type = type};
}

static void describe_memory(const struct memory *memory, struct boot_params *zero_page)
{
    enum { RAM = 1, RESERVED = 2 };

    add_range(zero_page, 0, LOW_RAM_END, RAM);
    add_range(zero_page, ACPI_ADDRESS, ACPI_SIZE, RESERVED);
    add_range(zero_page, HIGH_RAM_BEGIN, memory_low_size(memory) - HIGH_RAM_BEGIN, RAM);
    add_range(zero_page, HIGH_RAM, memory_high_size(memory), RAM);
    add_range(zero_page, memory_image_address(memory), memory->image_size, E820_PERSISTENT);
}

static void write_tables(const struct memory *memory)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff /* 64-bit code */,
                                   0x00cf93000000ffff /* data */};
    const uint64_t present = 3, large = 0x83; /* and writable */
    uint64_t *directory = must_have(memory, PAGE_DIRECTORY, PAGE_BYTES, "a page table");

    memcpy(must_have(memory, GDT, sizeof gdt, "a table"), gdt, sizeof gdt);
    *(uint64_t *)must_have(memory, PML4, PAGE_BYTES, "a page table") = PDPT | present;
    *(uint64_t *)must_have(memory, PDPT, PAGE_BYTES, "a page table") = PAGE_DIRECTORY | present;
    for (uint64_t i = 0; i < PAGE_BYTES / sizeof *directory; i++)
        directory[i] = i << 21 | large;
}

uint64_t boot_load(const struct memory *memory, int kernel_fd, int initramfs_fd,
                   const char *command_line, unsigned cpus)
{
    struct boot_params *zero_page =
        must_have(memory, ZERO_PAGE, sizeof *zero_page, "the zero page");
    const uint64_t entry = load_kernel(memory, kernel_fd);
    const size_t line_size = strlen(command_line) + 1;

    if (line_size > COMMAND_LINE_MAX)
        fail("the kernel's command line is too long");
    memcpy(must_have(memory, COMMAND_LINE, line_size, "the command line"), command_line, line_size);
    zero_page->hdr = (struct setup_header){
        .boot_flag = 0xaa55,
        .header = 0x53726448, /* "HdrS" */
        .type_of_loader = 0xff,
        .cmd_line_ptr = COMMAND_LINE,
        .cmdline_size = (uint32_t)line_size,
    };
    load_initramfs(memory, initramfs_fd, &zero_page->hdr);
    zero_page->acpi_rsdp_addr =
        acpi_write(must_have(memory, ACPI_ADDRESS, ACPI_SIZE, "the ACPI tables"), cpus);
    describe_memory(memory, zero_page);
    write_tables(memory);
    return entry;
}

void boot_set_registers(uint64_t entry, struct kvm_regs *ret_regs, struct kvm_sregs *sregs)
{
    const struct kvm_segment code = {.limit = 0xffffffff,
                                     .selector = CODE_SELECTOR,
                                     .type = 11, /* execute, read, accessed */
                                     .present = 1,
                                     .s = 1,
                                     .l = 1,
                                     .g = 1};
    const struct kvm_segment data = {.limit = 0xffffffff,
                                     .selector = DATA_SELECTOR,
                                     .type = 3, /* read, write, accessed */
                                     .present = 1,
                                     .s = 1,
                                     .db = 1,
                                     .g = 1};

    sregs->cs = code;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->gdt.base = GDT;
    sregs->gdt.limit = 4 * sizeof(uint64_t) - 1;
    sregs->cr0 = 0x80050033; /* PG, AM, WP, NE, ET, MP, PE */
    sregs->cr3 = PML4;
    sregs->cr4 = 1 << 5;            /* PAE */
    sregs->efer = 1 << 10 | 1 << 8; /* LMA, LME */
    *ret_regs = (struct kvm_regs){
        .rip = entry, .rsi = ZERO_PAGE, .rsp = STACK_TOP, .rflags = 2 /* always set */};
}
