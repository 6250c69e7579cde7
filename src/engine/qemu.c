/* SPDX-License-Identifier: MIT */
#include "engine/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/guest_files.h"
#include "engine/qemu_version.h"
#include "engine/vm_process.h"

#define PROGRAM "qemu-system-x86_64"

/* Address space that QEMU needs beside the guest's memory: TCG's translated code, threads,
 * libraries. */
static const uint64_t OVERHEAD_BYTES = 4ULL << 30;

/*
 * The guest's command line. Its console is what a failed boot is explained with. Under TCG the
 * whole of it costs nothing measurable; under KVM each byte is an exit to QEMU, so there only
 * warnings are printed.
 */
#define COMMAND_LINE                                                                               \
    "console=ttyS0 panic=-1 reboot=t tsc=reliable no_timer_check cryptomgr.notests audit=0 "       \
    "random.trust_cpu=on"
#define COMMAND_LINE_KVM COMMAND_LINE " quiet"

static char *why_no_program(void)
{
    cleanup_free char *other = fvm_find_on_path(PROGRAM);

    return other ? fvm_format("%s cannot be executed by this user", other)
                 : strdup("there is no " PROGRAM " on PATH");
}

static int probe(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error)
{
    cleanup_free char *program = fvm_find_program(PROGRAM);
    cleanup_error struct flashvm_error damage = {0};
    struct fvm_probe found = {0};

    if (program == NULL) {
        found.reason = why_no_program();
        found.remedy = strdup("Install it, on Debian with: apt-get install qemu-system-x86");
    } else if (access("/proc/self/fd", X_OK) < 0) {
        found.reason = strdup("there is no /proc, by which QEMU gets its files");
        found.remedy = strdup("Mount it: mount -t proc proc /proc");
    } else if (fvm_guest_files_verify(host->data_dir, host->cache_dir, &damage) < 0) {
        found.reason = strdup(damage.message);
        found.remedy = strdup("Install flashVM again, or in its source tree run: make guest");
    } else if (fvm_kvm_is_usable(&host->kvm, host->libexec_dir, host->cache_dir)) {
        found.usable = true;
        found.accelerator = "kvm";
        found.reason = fvm_format("%s with KVM", program);
    } else {
        found.usable = true;
        found.accelerator = "tcg";
        found.reason = fvm_format("%s, emulating the CPU (TCG), since KVM is not usable: %s",
                                  program, host->kvm.reason);
    }
    if (found.reason == NULL) {
        fvm_probe_finish(&found);
        return fvm_fail_no_memory(error);
    }
    *ret_probe = found;
    return 0;
}

static int examine(struct flashvm_error *error)
{
    cleanup_free char *program = fvm_find_program(PROGRAM);

    return program ? fvm_qemu_check_version(program, error) : 0;
}

static int open_data(const struct fvm_host *host, const char *name, struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/%s", host->data_dir, name);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        fvm_fail_errno(error, errno, "cannot open the guest's %s in %s (make it with: make guest)",
                       name, host->data_dir);
    return fd;
}

static int boot(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_vm *ret_vm,
                struct flashvm_error *error)
{
    bool kvm = strcmp(spec->accelerator, "kvm") == 0;
    cleanup_free char *program = fvm_find_program(PROGRAM);
    cleanup_free char *machine = fvm_format("q35,accel=%s,usb=off,vmport=off,sata=off,smbus=off,"
                                            "dump-guest-core=off",
                                            spec->accelerator);
    cleanup_free char *memory = fvm_format("%uM", spec->memory_mb);
    cleanup_free char *cpus = fvm_format("%u", spec->cpus);
    cleanup_close int kernel_fd = open_data(host, FVM_GUEST_KERNEL, error);
    cleanup_close int initramfs_fd =
        kernel_fd < 0 ? -1 : open_data(host, FVM_GUEST_INITRAMFS, error);
    const int files[] = {kernel_fd, initramfs_fd, spec->rootfs_fd};

    if (kernel_fd < 0 || initramfs_fd < 0)
        return -1;
    if (program == NULL)
        return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE, "there is no " PROGRAM " on PATH");
    if (machine == NULL || memory == NULL || cpus == NULL)
        return fvm_fail_no_memory(error);

    /* Files come as descriptors 5, 6 and 7: the user that QEMU runs as may not reach their
     * directories. */
    const char *const argv[] = {
        program,
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine",
        machine,
        "-cpu",
        kvm ? "host" : "max",
        "-smp",
        cpus,
        "-m",
        memory,
        "-kernel",
        "/proc/self/fd/5",
        "-initrd",
        "/proc/self/fd/6",
        "-append",
        kvm ? COMMAND_LINE_KVM : COMMAND_LINE,
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
        "-device",
        "virtio-serial-pci,max_ports=2",
        "-chardev",
        "socket,id=channel,fd=4",
        "-device",
        "virtserialport,chardev=channel,name=flashvm",
        "-add-fd",
        "fd=7,set=1",
        "-blockdev",
        ("driver=raw,node-name=rootfs,read-only=on,file.driver=file,"
         "file.filename=/dev/fdset/1,file.read-only=on,file.locking=off"),
        "-device",
        "virtio-blk-pci,drive=rootfs",
        NULL,
    };
    const struct fvm_vm_program vm_program = {
        .argv = argv,
        .files = files,
        .file_count = sizeof files / sizeof *files,
        .memory_bytes_max = ((uint64_t)spec->memory_mb << 20) + OVERHEAD_BYTES,
        .device = kvm ? "/dev/kvm" : NULL,
        .scratch_dir = spec->scratch_dir,
    };
    return fvm_vm_process_start(host, &vm_program, ret_vm, error);
}

const struct fvm_engine fvm_engine_qemu = {
    .name = "qemu",
    .probe = probe,
    .examine = examine,
    .boot = boot,
};
