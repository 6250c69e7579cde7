/* SPDX-License-Identifier: MIT */
/*
 * flashvm-probe-kvm: does /dev/kvm really run a guest? Prints one line: "usable" or why not.
 *
 * Some clouds give a /dev/kvm that opens and creates VMs but then emulates guest code instruction
 * by instruction, hundreds of times slower: a kernel never gets to its end. So this runs a small
 * loop in 64-bit mode, with paging as a kernel has it, against a deadline. A program of its own,
 * because a guest that does not come back can only be ended with its process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A processor does the loop in a millisecond or so, KVM nested in an emulated machine in some tens;
 * an emulated guest needs seconds.
 */
enum { LOOP_COUNT = 2000000, DEADLINE_SECONDS = 1 };
enum { MEMORY_SIZE = 0x6000, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000 };

static void give_up(const char *why)
{
    printf("%s: %s\n", why, strerror(errno));
    exit(1);
}

static void deadline(int signal)
{
    static const char message[] = "it takes VMs but emulates their code far too slowly\n";

    (void)signal;
    if (write(STDOUT_FILENO, message, sizeof message - 1) < 0)
        _exit(2);
    _exit(1);
}

/* Identity-mapped page tables, and: mov $LOOP_COUNT,%ecx; 1: dec %ecx; jnz 1b; hlt */
static void fill_memory(uint8_t *memory)
{
    static const uint8_t code[] = {
        0xb9,
        LOOP_COUNT & 255,
        LOOP_COUNT >> 8 & 255,
        LOOP_COUNT >> 16 & 255,
        0,
        0xff,
        0xc9,
        0x75,
        0xfc,
        0xf4,
    };

    *(uint64_t *)(memory + PML4) = PDPT | 3; /* present, writable */
    *(uint64_t *)(memory + PDPT) = PD | 3;
    *(uint64_t *)(memory + PD) = 0x83; /* and one page of 2 MiB */
    memcpy(memory + CODE, code, sizeof code);
}

static void enter_long_mode(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
        give_up("it does not give a CPU's registers");
    sregs.cs = (struct kvm_segment){
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    sregs.ss = sregs.ds = sregs.es = (struct kvm_segment){
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    sregs.cr3 = PML4;
    sregs.cr4 |= 1 << 5;           /* PAE */
    sregs.cr0 = 0x80050033;        /* PG, WP, AM, NE, ET, MP, PE */
    sregs.efer = 1 << 8 | 1 << 10; /* LME, LMA */
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
        give_up("it does not take a CPU's registers");
}

/* Long mode is a CPUID feature: hand the host's CPUID on. */
static void set_cpuid(int kvm, int vcpu)
{
    enum { ENTRIES = 256 };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + ENTRIES * sizeof cpuid->entries[0]);

    if (cpuid == NULL)
        give_up("out of memory");
    cpuid->nent = ENTRIES;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 || ioctl(vcpu, KVM_SET_CPUID2, cpuid) < 0)
        give_up("it does not take a CPU's features");
    free(cpuid);
}

static void run(int vcpu, const struct kvm_run *state)
{
    while (ioctl(vcpu, KVM_RUN, 0) < 0)
        if (errno != EINTR && errno != EAGAIN)
            give_up("it does not run a guest");
    if (state->exit_reason != KVM_EXIT_HLT) {
        printf("its guest ended in an unexpected way (exit reason %u)\n", state->exit_reason);
        exit(1);
    }
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_SIZE};
    int version, vm, vcpu, state_size;
    uint8_t *memory;
    void *state;

    if (kvm < 0)
        give_up("cannot open /dev/kvm");
    version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version < 0)
        give_up("/dev/kvm is no KVM device");
    if (version != KVM_API_VERSION) {
        printf("/dev/kvm has the API version %d, and not %d\n", version, KVM_API_VERSION);
        return 1;
    }
    signal(SIGALRM, deadline);
    alarm(DEADLINE_SECONDS);
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        give_up("/dev/kvm does not make VMs");
    memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        give_up("out of memory");
    fill_memory(memory);
    region.userspace_addr = (uintptr_t)memory;
    vcpu = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
    if (vcpu < 0)
        give_up("/dev/kvm does not make CPUs");
    state_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    state = mmap(NULL, (size_t)state_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (state == MAP_FAILED)
        give_up("out of memory");
    set_cpuid(kvm, vcpu);
    enter_long_mode(vcpu);
    run(vcpu, state);
    puts("usable");
    return 0;
}
