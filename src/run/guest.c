/* SPDX-License-Identifier: MIT */
#include "run/guest.h"

#include "base/cleanup.h"
#include "run/conversation.h"

struct fvm_vm_spec fvm_guest_spec(const struct fvm_guest *guest)
{
    return (struct fvm_vm_spec){
        .accelerator = guest->accelerator,
        .cpus = guest->cpus,
        .memory_mb = guest->memory_mb,
        .image = guest->image,
        .rootfs_fd = guest->image->rootfs_fd,
        .memory_fd = -1,
    };
}

int fvm_guest_boot(const struct fvm_guest *guest, int memory_fd, struct fvm_caller *caller,
                   struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    struct fvm_vm_spec spec = fvm_guest_spec(guest);
    cleanup_vm struct fvm_vm vm = FVM_VM_NONE;
    cleanup_error struct flashvm_error flaw = {0};

    spec.memory_fd = memory_fd;
    if (guest->engine->boot(guest->host, &spec, caller, &vm, error) < 0)
        return -1;
    if (fvm_conversation_boot(&vm, guest->image, memory_fd >= 0, guest->boot_timeout_ms, caller,
                              error) < 0) {
        if (error->status == FLASHVM_BOOT_FAILED && guest->engine->examine(&flaw) < 0)
            fvm_fail_context(error, "%s", flaw.message);
        return -1;
    }
    *ret_vm = vm;
    vm = (struct fvm_vm)FVM_VM_NONE;
    return 0;
}

int fvm_guest_restore(const struct fvm_guest *guest, const struct fvm_snapshot *snapshot,
                      bool learns, struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    struct fvm_vm_spec spec = fvm_guest_spec(guest);

    spec.learns = learns;
    return guest->engine->restore(guest->host, &spec, snapshot, ret_vm, error);
}
