/* SPDX-License-Identifier: MIT */
/*
 * Starting Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst): the kernel's
 * segments, a command line, an initramfs and the "zero page" in memory, and a processor in long mode
 * with identity-mapped pages.
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/memory.h"

/*
 * Put an ELF kernel (vmlinux) and all that it wants into the RAM.
 * @kernel_fd, initramfs_fd: files.
 * Return: where the kernel starts.
 */
uint64_t boot_load(const struct memory *memory, int kernel_fd, int initramfs_fd,
                   const char *command_line, unsigned cpus);

/* The registers of the first processor at that moment. @sregs: a new processor's, to be changed. */
void boot_set_registers(uint64_t entry, struct kvm_regs *ret_regs, struct kvm_sregs *sregs);
