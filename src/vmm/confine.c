/* SPDX-License-Identifier: MIT */
#include "vmm/confine.h"

#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm_filter.h" /* made by vmm/filter.c */

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

/* Stage 3: the system calls of src/vmm/filter.c, and no others; for all threads. */
static void filter_calls(void)
{
    const struct sock_fprog program = {
        .len = sizeof vmm_filter / sizeof *vmm_filter,
        .filter = (struct sock_filter *)vmm_filter,
    };

    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        fail_errno("cannot filter system calls");
}

void confine(void)
{
    hide();
    leave_file_systems();
    filter_calls();
}
