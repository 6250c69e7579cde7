/* SPDX-License-Identifier: MIT */
/*
 * Runs when flashVM is built: writes the monitor's filter of system calls as a C array. libseccomp
 * puts it together here, once, and not in each monitor, where that would take longer than to restore
 * a VM.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a machine needs that runs, gives a snapshot of itself or tells its working set. */
static const int calls[] = {
    SCMP_SYS(read),         SCMP_SYS(pread64),
    SCMP_SYS(write),        SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),      SCMP_SYS(poll),
    SCMP_SYS(futex),        SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(tgkill),       SCMP_SYS(getpid),
    SCMP_SYS(pause),        SCMP_SYS(brk),
    SCMP_SYS(mremap),       SCMP_SYS(munmap),
    SCMP_SYS(exit),         SCMP_SYS(exit_group),
};

/* … and, of ioctl(), these of KVM's. */
static const unsigned long requests[] = {
    KVM_RUN,       KVM_SET_CLOCK,     KVM_SET_MSRS,    KVM_SET_REGS,
    KVM_GET_CLOCK, KVM_GET_MP_STATE,  KVM_GET_REGS,    KVM_GET_SREGS,
    KVM_GET_XCRS,  KVM_GET_XSAVE,     KVM_GET_LAPIC,   KVM_GET_VCPU_EVENTS,
    KVM_GET_MSRS,  KVM_GET_DEBUGREGS, KVM_GET_TSC_KHZ, KVM_GET_MSR_INDEX_LIST,
};

static void check(int outcome, const char *what)
{
    if (outcome >= 0)
        return;
    fprintf(stderr, "cannot %s: error %d\n", what, -outcome);
    exit(1);
}

static void allow_all(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0), "allow a system call");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                               SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)requests[i])),
              "allow a request of KVM's");
    /* New memory, never code. */
    check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                           SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
          "allow new memory");
    /* The one that is called all the time is looked for first. */
    check(seccomp_syscall_priority(filter, SCMP_SYS(ioctl), 255), "order the system calls");
}

static void print(FILE *program)
{
    struct sock_filter line;

    puts("/* Made by src/vmm/filter.c. */");
    puts("static const struct sock_filter vmm_filter[] = {");
    while (fread(&line, sizeof line, 1, program) == 1)
        printf("    {0x%04x, %u, %u, 0x%08x},\n", line.code, line.jt, line.jf, line.k);
    puts("};");
}

int main(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    FILE *program = tmpfile();

    if (filter == NULL || program == NULL)
        check(-ENOMEM, "begin");
    allow_all(filter);
    check(seccomp_export_bpf(filter, fileno(program)), "export the filter");
    rewind(program);
    print(program);
    return ferror(program) || fflush(stdout) != 0;
}
