/* SPDX-License-Identifier: MIT */
#include "vmm/confine.h"

#include <linux/kvm.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/fail.h"

/* Stage 1: nobody may look into this process, which holds the guest's memory. */
static void hide(void)
{
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        fail_errno("cannot hide from the host's other processes");
}

/* Stage 2: no file can be opened or changed by its path. Best effort: Linux 5.13 and where it is on. */
static void leave_file_systems(void)
{
    const struct landlock_ruleset_attr all = {
        .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, /* the first version's */
    };
    const int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);

    if (rules < 0)
        return;
    if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        fail_errno("cannot leave the host's file systems");
    close(rules);
}

/* Stage 3: the system calls of a machine that runs, or gives a snapshot of itself. */
static const int calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(tgkill),
    SCMP_SYS(getpid),
    SCMP_SYS(pause),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* … and, of ioctl(), these of KVM's. */
static const unsigned long requests[] = {
    KVM_RUN,       KVM_SET_CLOCK,     KVM_SET_MSRS,    KVM_SET_REGS,
    KVM_GET_CLOCK, KVM_GET_MP_STATE,  KVM_GET_REGS,    KVM_GET_SREGS,
    KVM_GET_XCRS,  KVM_GET_XSAVE,     KVM_GET_LAPIC,   KVM_GET_VCPU_EVENTS,
    KVM_GET_MSRS,  KVM_GET_DEBUGREGS, KVM_GET_TSC_KHZ, KVM_GET_MSR_INDEX_LIST,
};

static void allow(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
            fail("cannot put the filter of system calls together");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)requests[i])) < 0)
            fail("cannot put the filter of KVM's requests together");
    /* New memory for a snapshot; never code. */
    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2_32(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0)) < 0)
        fail("cannot put the filter of mappings together");
}

static void filter_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int err;

    if (filter == NULL)
        fail("out of memory");
    allow(filter);
    if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) < 0)
        fail("this kernel cannot filter the system calls of threads");
    err = seccomp_load(filter);
    if (err < 0)
        fail("cannot filter system calls: %s", strerror(-err));
    seccomp_release(filter);
}

void confine(void)
{
    hide();
    leave_file_systems();
    filter_calls();
}
