/* SPDX-License-Identifier: MIT */
#include "engine/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/packages.h"
#include "engine/guest_files.h"
#include "engine/qemu_snapshot.h"
#include "engine/qemu_version.h"
#include "engine/qmp.h"
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

#define MACHINE "q35,usb=off,vmport=off,sata=off,smbus=off,dump-guest-core=off"

/* 16 take 14 s to boot on two processors; of boots with 24 some fail. */
enum { TCG_CPUS_MAX = 16 };

/* Without "enhanced rep movsb", which the emulator is slow at: a tenth of a restored run. */
#define TCG_CPU "max,-erms"

static char *why_no_program(void)
{
    cleanup_free char *other = fvm_find_on_path(PROGRAM);

    return other ? fvm_format("%s cannot be executed by this user", other)
                 : strdup("there is no " PROGRAM " on PATH");
}

static char *say_what_to_install(void)
{
    cleanup_free char *hint = fvm_package_hint(PROGRAM, NULL);

    return hint ? fvm_format("Install it: %s", hint) : NULL;
}

static int probe(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error)
{
    cleanup_free char *program = fvm_find_program(PROGRAM);
    cleanup_error struct flashvm_error damage = {0};
    struct fvm_probe found = {0};

    if (program == NULL) {
        found.reason = why_no_program();
        found.remedy = say_what_to_install();
    } else if (access("/proc/self/fd", X_OK) < 0) {
        found.reason = strdup("there is no /proc, by which QEMU gets its files");
        found.remedy = strdup("Mount it: mount -t proc proc /proc");
    } else if (!fvm_guest_files_are_whole(host->data_dir, host->cache_dir, &damage)) {
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
        found.remedy = strdup(host->kvm.remedy); /* so that it is faster */
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

static bool lacks_memory(const struct fvm_vm *vm)
{
    static const char *const complaints[] = {
        "cannot set up guest memory", "unable to map backing store for guest RAM",
        "phys-bits too low", /* more than the processor has addresses for */
    };

    for (size_t i = 0; vm->log.data && i < sizeof complaints / sizeof *complaints; i++)
        if (strstr(vm->log.data, complaints[i]))
            return true;
    return false;
}

/* ---- the command line ------------------------------------------------------------------------ */

enum { ARGS_MAX = 64 };

/* QEMU's arguments and files while they are put together. */
struct command {
    const char *argv[ARGS_MAX];
    size_t argc;
    int files[FVM_VM_FILES_MAX]; /* descriptors FVM_VM_FIRST_FILE_FD, … of QEMU */
    size_t file_count;
    char *strings[8]; /* that are to be freed */
    size_t string_count;
    bool failed; /* for want of memory */
};

static void command_finish(struct command *command)
{
    for (size_t i = 0; i < command->string_count; i++)
        free(command->strings[i]);
}

static void add(struct command *command, const char *option, const char *value)
{
    command->argv[command->argc++] = option;
    if (value)
        command->argv[command->argc++] = value;
}

/* Takes over the value. */
static void add_string(struct command *command, const char *option, char *value)
{
    command->failed |= value == NULL;
    command->strings[command->string_count++] = value;
    add(command, option, value);
}

/* Return: the number of the descriptor in QEMU. The user that it runs as may not reach the file's
 * directory, so it gets the file itself. */
static int add_file(struct command *command, int fd)
{
    command->files[command->file_count] = fd;
    return FVM_VM_FIRST_FILE_FD + (int)command->file_count++;
}

static bool is_kvm(const struct fvm_vm_spec *spec)
{
    return strcmp(spec->accelerator, "kvm") == 0;
}

/* All that a guest which was stopped has to find again where it goes on. */
static void add_machine(struct command *command, const struct fvm_vm_spec *spec, int memory_fd,
                        bool share)
{
    add(command, "-nodefaults", NULL);
    add(command, "-no-user-config", NULL);
    add(command, "-no-reboot", NULL);
    add(command, "-display", "none");
    add(command, "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add_string(command, "-machine",
               fvm_format("%s,accel=%s%s", MACHINE, spec->accelerator,
                          memory_fd < 0 ? "" : ",memory-backend=memory"));
    add(command, "-cpu", is_kvm(spec) ? "host" : TCG_CPU);
    add_string(command, "-smp", fvm_format("%u", spec->cpus));
    add_string(command, "-m", fvm_format("%uM", spec->memory_mb));
    if (memory_fd >= 0)
        add_string(command, "-object",
                   fvm_format("memory-backend-file,id=memory,size=%uM,mem-path=/proc/self/fd/%d,"
                              "share=%s",
                              spec->memory_mb, add_file(command, memory_fd), share ? "on" : "off"));
    add(command, "-chardev", "stdio,id=console,signal=off");
    add(command, "-serial", "chardev:console");
    add(command, "-device", "virtio-serial-pci,max_ports=2");
    add(command, "-chardev", "socket,id=channel,fd=4");
    add(command, "-device", "virtserialport,chardev=channel,name=flashvm");
    add(command, "-chardev", "socket,id=monitor,fd=5");
    add(command, "-mon", "chardev=monitor,mode=control");
    add_string(command, "-add-fd", fvm_format("fd=%d,set=1", add_file(command, spec->rootfs_fd)));
    add(command, "-blockdev",
        "driver=raw,node-name=rootfs,read-only=on,file.driver=file,"
        "file.filename=/dev/fdset/1,file.read-only=on,file.locking=off");
    add(command, "-device", "virtio-blk-pci,drive=rootfs");
}

static int start(struct fvm_host *host, const struct fvm_vm_spec *spec, struct command *command,
                 struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    const struct fvm_vm_program program = {
        .argv = command->argv,
        .files = command->files,
        .file_count = command->file_count,
        .memory_bytes_max = ((uint64_t)spec->memory_mb << 20) + OVERHEAD_BYTES,
        .device = is_kvm(spec) ? "/dev/kvm" : NULL,
    };

    if (command->failed)
        return fvm_fail_no_memory(error);
    if (fvm_vm_process_start(host, &program, ret_vm, error) < 0)
        return -1;
    ret_vm->engine = &fvm_engine_qemu;
    return 0;
}

static char *find_qemu(struct flashvm_error *error)
{
    char *program = fvm_find_program(PROGRAM);

    if (program == NULL)
        fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE, "there is no " PROGRAM " on PATH");
    return program;
}

/* ---- boot ------------------------------------------------------------------------------------ */

static int boot(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_caller *caller,
                struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    __attribute__((cleanup(command_finish))) struct command command = {0};
    cleanup_free char *program = find_qemu(error);
    cleanup_close int kernel_fd =
        program ? fvm_guest_file_open(host->data_dir, FVM_GUEST_KERNEL, error) : -1;
    cleanup_close int initramfs_fd =
        kernel_fd < 0 ? -1 : fvm_guest_file_open(host->data_dir, FVM_GUEST_INITRAMFS, error);

    (void)caller;
    if (initramfs_fd < 0)
        return -1;
    if (!is_kvm(spec) && spec->cpus > TCG_CPUS_MAX)
        return fvm_fail(error, FLASHVM_UNSUPPORTED,
                        "cpus is %u, but without KVM a guest has at most %d: more take so long to "
                        "start that its kernel gives up",
                        spec->cpus, TCG_CPUS_MAX);
    add(&command, program, NULL);
    add_machine(&command, spec, spec->memory_fd, true);
    add_string(&command, "-kernel", fvm_format("/proc/self/fd/%d", add_file(&command, kernel_fd)));
    add_string(&command, "-initrd",
               fvm_format("/proc/self/fd/%d", add_file(&command, initramfs_fd)));
    add(&command, "-append", is_kvm(spec) ? COMMAND_LINE_KVM : COMMAND_LINE);
    return start(host, spec, &command, ret_vm, error);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* A guest under KVM has found the host's processor; one under TCG, QEMU's. */
static char *describe_cpu(const struct fvm_vm_spec *spec)
{
    return is_kvm(spec) ? fvm_kvm_describe_host() : strdup(TCG_CPU);
}

static char *snapshot_key(const struct fvm_host *host, const struct fvm_vm_spec *spec,
                          struct flashvm_error *error)
{
    cleanup_free char *program = find_qemu(error);
    cleanup_free char *cpu = describe_cpu(spec);
    char identity[FVM_FILE_IDENTITY_SIZE];
    struct stat status;
    char *key;

    (void)host;
    if (program == NULL)
        return NULL;
    if (stat(program, &status) < 0) {
        fvm_fail_errno(error, errno, "cannot look at %s", program);
        return NULL;
    }
    fvm_file_identity(&status, identity);
    key = cpu ? fvm_format("qemu %s %s %s %s", identity, spec->accelerator, MACHINE, cpu) : NULL;
    if (key == NULL)
        fvm_fail_no_memory(error);
    return key;
}

static int restore(struct fvm_host *host, const struct fvm_vm_spec *spec,
                   const struct fvm_snapshot *snapshot, struct fvm_vm *ret_vm,
                   struct flashvm_error *error)
{
    __attribute__((cleanup(command_finish))) struct command command = {0};
    cleanup_free char *program = find_qemu(error);
    cleanup_vm struct fvm_vm vm = FVM_VM_NONE;

    if (program == NULL)
        return -1;
    add(&command, program, NULL);
    add_machine(&command, spec, snapshot->memory_fd, false);
    /* The one part of a boot that a machine keeps: the ROM by which QEMU starts an ELF kernel. */
    add(&command, "-option-rom", "pvh.bin");
    add(&command, "-incoming", "defer");
    if (start(host, spec, &command, &vm, error) < 0 ||
        fvm_qemu_load(&vm, snapshot->state_fd, error) < 0)
        return -1;
    *ret_vm = vm;
    vm = (struct fvm_vm)FVM_VM_NONE;
    return 0;
}

/* Answers that are no errors need no thought. */
static int take_news(struct fvm_vm *vm, struct flashvm_error *error)
{
    char byte;

    if (fvm_qmp_take(vm, error) < 0)
        return -1;
    return recv(vm->monitor_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0; /* the end */
}

const struct fvm_engine fvm_engine_qemu = {
    .name = "qemu",
    .probe = probe,
    .examine = examine,
    .lacks_memory = lacks_memory,
    .boot = boot,
    .take_news = take_news,
    .snapshot_key = snapshot_key,
    .snapshot = fvm_qemu_snapshot,
    .restore = restore,
};
