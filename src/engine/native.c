/* SPDX-License-Identifier: MIT */
#include "engine/native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/guest_files.h"
#include "engine/vm_process.h"
#include "engine/vm_state.h"
#include "protocol/mailbox.h"

#define PROGRAM "flashvm-vmm"

enum { CPUS_MAX = 32 };

/* Address space that the monitor needs beside the guest's memory and its image: KVM's objects, the
 * guest's kernel while it is loaded, stacks of threads. */
static const uint64_t OVERHEAD_BYTES = 1ULL << 30;

static char *program_path(const struct fvm_host *host)
{
    return fvm_format("%s/" PROGRAM, host->libexec_dir);
}

static int probe(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error)
{
    cleanup_free char *program = program_path(host);
    cleanup_error struct flashvm_error damage = {0};
    struct fvm_probe found = {0};

    if (program == NULL)
        return fvm_fail_no_memory(error);
    if (!fvm_is_program(program)) {
        found.reason = fvm_format("%s is missing", program);
        found.remedy = strdup("Install flashVM again");
    } else if (!fvm_guest_files_are_whole(host->data_dir, host->cache_dir, &damage)) {
        found.reason = strdup(damage.message);
        found.remedy = strdup("Install flashVM again, or in its source tree run: make guest");
    } else if (!fvm_kvm_is_usable(&host->kvm, host->libexec_dir, host->cache_dir)) {
        found.reason = fvm_format("it needs KVM, which is not usable: %s", host->kvm.reason);
        found.remedy = strdup(host->kvm.remedy);
    } else {
        found.usable = true;
        found.accelerator = "kvm";
        found.reason = strdup("flashVM's own monitor, with KVM");
    }
    if (found.reason == NULL) {
        fvm_probe_finish(&found);
        return fvm_fail_no_memory(error);
    }
    *ret_probe = found;
    return 0;
}

/* It is a part of flashVM: there are no versions of it. */
static int examine(struct flashvm_error *error)
{
    (void)error;
    return 0;
}

static bool lacks_memory(const struct fvm_vm *vm)
{
    return vm->log.data && strstr(vm->log.data, "of guest memory");
}

/* ---- the command line ------------------------------------------------------------------------ */

enum { ARGS_MAX = 24, STRINGS_MAX = 10 };

/* The monitor's arguments and files while they are put together. */
struct command {
    const char *argv[ARGS_MAX];
    size_t argc;
    int files[FVM_VM_FILES_MAX];
    size_t file_count;
    char *strings[STRINGS_MAX]; /* that are to be freed */
    size_t string_count;
    bool failed; /* for want of memory */
};

static void command_finish(struct command *command)
{
    for (size_t i = 0; i < command->string_count; i++)
        free(command->strings[i]);
}

static void add(struct command *command, const char *option, uint64_t value)
{
    char *text = fvm_format("%ju", (uintmax_t)value);

    command->failed |= text == NULL;
    command->strings[command->string_count++] = text;
    command->argv[command->argc++] = option;
    command->argv[command->argc++] = text;
}

/* Hand a file over, when there is one. */
static void add_file(struct command *command, const char *option, int fd)
{
    if (fd < 0)
        return;
    add(command, option, FVM_VM_FIRST_FILE_FD + command->file_count);
    command->files[command->file_count++] = fd;
}

static int start(struct fvm_host *host, const struct fvm_vm_spec *spec, struct command *command,
                 int ram_fd, struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    cleanup_free char *path = program_path(host);
    const uint64_t memory_bytes = (uint64_t)spec->memory_mb << 20;
    struct fvm_vm_program program = {.argv = command->argv, .device = "/dev/kvm"};
    struct stat image;

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (fstat(spec->rootfs_fd, &image) < 0)
        return fvm_fail_errno(error, errno, "cannot look at the image");
    command->argv[0] = path;
    add(command, "--cpus", spec->cpus);
    add(command, "--memory", memory_bytes);
    add(command, "--channel", FVM_VM_CHANNEL_FD);
    add(command, "--monitor", FVM_VM_MONITOR_FD);
    add_file(command, "--image", spec->rootfs_fd);
    add_file(command, "--ram", ram_fd);
    if (command->failed)
        return fvm_fail_no_memory(error);
    program.files = command->files;
    program.file_count = command->file_count;
    program.memory_bytes_max = memory_bytes + (uint64_t)image.st_size + OVERHEAD_BYTES;
    if (fvm_vm_process_start(host, &program, ret_vm, error) < 0)
        return -1;
    ret_vm->engine = &fvm_engine_native;
    return 0;
}

/* ---- boot, and copies ------------------------------------------------------------------------ */

static int boot(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_caller *caller,
                struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    __attribute__((cleanup(command_finish))) struct command command = {.argc = 1};
    cleanup_close int kernel_fd = fvm_guest_file_open(host->data_dir, FVM_GUEST_KERNEL, error);
    cleanup_close int initramfs_fd =
        kernel_fd < 0 ? -1 : fvm_guest_file_open(host->data_dir, FVM_GUEST_INITRAMFS, error);

    (void)caller;
    if (initramfs_fd < 0)
        return -1;
    if (spec->cpus > CPUS_MAX)
        return fvm_fail(error, FLASHVM_UNSUPPORTED,
                        "cpus is %u, but with the engine native a guest has at most %d", spec->cpus,
                        CPUS_MAX);
    add_file(&command, "--kernel", kernel_fd);
    add_file(&command, "--initramfs", initramfs_fd);
    return start(host, spec, &command, spec->memory_fd, ret_vm, error);
}

static char *snapshot_key(const struct fvm_host *host, const struct fvm_vm_spec *spec,
                          struct flashvm_error *error)
{
    cleanup_free char *program = program_path(host);
    cleanup_free char *machine = fvm_kvm_describe_host();
    char identity[FVM_FILE_IDENTITY_SIZE];
    struct stat status;
    char *key;

    (void)spec;
    if (program && stat(program, &status) < 0) {
        fvm_fail_errno(error, errno, "cannot look at %s", program);
        return NULL;
    }
    if (program)
        fvm_file_identity(&status, identity);
    key = program && machine ? fvm_format("native %s %s", identity, machine) : NULL;
    if (key == NULL)
        fvm_fail_no_memory(error);
    return key;
}

/* The monitor answers a command with bytes that belong into the state. */
static int ask(struct fvm_vm *vm, char command, int state_fd, struct fvm_caller *caller,
               struct flashvm_error *error)
{
    if (send(vm->monitor_fd, &command, sizeof command, MSG_NOSIGNAL) != sizeof command)
        return fvm_fail_errno(error, errno, "cannot ask for the state of the VM");
    return fvm_vm_copy_state(vm, vm->monitor_fd, state_fd, caller, error);
}

static int snapshot(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                    struct flashvm_error *error)
{
    return ask(vm, FVM_MONITOR_SNAPSHOT, state_fd, caller, error);
}

static int learn(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                 struct flashvm_error *error)
{
    return ask(vm, FVM_MONITOR_WORKING_SET, state_fd, caller, error);
}

static int restore(struct fvm_host *host, const struct fvm_vm_spec *spec,
                   const struct fvm_snapshot *snapshot, struct fvm_vm *ret_vm,
                   struct flashvm_error *error)
{
    __attribute__((cleanup(command_finish))) struct command command = {.argc = 1};

    add_file(&command, "--snapshot", snapshot->state_fd);
    if (spec->learns)
        command.argv[command.argc++] = "--watch";
    return start(host, spec, &command, snapshot->memory_fd, ret_vm, error);
}

/* It says nothing but its snapshot, and that is read elsewhere. */
static int take_news(struct fvm_vm *vm, struct flashvm_error *error)
{
    char byte;

    (void)error;
    return recv(vm->monitor_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0; /* the end */
}

const struct fvm_engine fvm_engine_native = {
    .name = "native",
    .copies_are_warm = true, /* all that it needs is mapped before it starts */
    .probe = probe,
    .examine = examine,
    .lacks_memory = lacks_memory,
    .boot = boot,
    .take_news = take_news,
    .snapshot_key = snapshot_key,
    .snapshot = snapshot,
    .restore = restore,
    .learn = learn,
};
