/* SPDX-License-Identifier: MIT */
#include "engine/krunvm.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/packages.h"
#include "engine/guest_files.h"
#include "engine/krunvm_vm.h"
#include "engine/vm_process.h"
#include "image/containers_storage.h"
#include "image/rootfs_look.h"

/* ---- can it be used? ------------------------------------------------------------------------- */

/* For what fvm_krunvm_find_tools() misses. */
static char *say_what_to_install(void)
{
    cleanup_free char *krunvm = fvm_find_program("krunvm");
    cleanup_free char *hint = fvm_package_hint(krunvm ? "buildah" : "krunvm", NULL);

    return hint ? fvm_format("Install it: %s", hint) : NULL;
}

static int probe(struct fvm_host *host, struct fvm_probe *ret_probe, struct flashvm_error *error)
{
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {0};
    cleanup_error struct flashvm_error flaw = {0};
    struct fvm_probe found = {0};

    if (fvm_krunvm_find_tools(&tools, &flaw) < 0) {
        found.reason = strdup(flaw.message);
        found.remedy = say_what_to_install();
    } else if (!fvm_kvm_is_usable(&host->kvm, host->libexec_dir, host->cache_dir)) {
        found.reason = fvm_format("it needs KVM, which is not usable: %s", host->kvm.reason);
        found.remedy = strdup(host->kvm.remedy);
    } else if (!fvm_guest_files_are_whole(host->data_dir, host->cache_dir, &flaw)) {
        found.reason = strdup(flaw.message);
        found.remedy = strdup("Install flashVM again, or in its source tree run: make guest");
    } else {
        found.usable = true;
        found.accelerator = "kvm";
        found.reason =
            fvm_format("%s with KVM; each run boots, since it cannot copy a guest", tools.krunvm);
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
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {0};

    return fvm_krunvm_find_tools(&tools, error);
}

/* ---- boot ------------------------------------------------------------------------------------ */

/*
 * krunvm writes to the container's root file system from the host, and follows symlinks there:
 * create to /etc/resolv.conf, start to /.krunvm.lock and to where a volume is mounted. The layers'
 * digests are those of the image that was imported, so what holds of our file holds of it.
 */
static int check_paths(int rootfs_fd, struct flashvm_error *error)
{
    static const struct {
        const char *path;
        mode_t type; /* that it may have, if it is there */
    } written[] = {
        {"etc", S_IFDIR},
        {"etc/resolv.conf", S_IFREG},
        {".krunvm.lock", S_IFREG},
        {"flashvm", S_IFDIR},
    };

    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        mode_t type;

        if (fvm_rootfs_find_type(rootfs_fd, written[i].path, &type, error) < 0)
            return -1;
        if (type != 0 && type != written[i].type)
            return fvm_fail(error, FLASHVM_UNSUPPORTED,
                            "the engine krunvm cannot run this image safely: /%s is no %s there, "
                            "and krunvm would write to what it leads to on the host; use another "
                            "engine",
                            written[i].path,
                            written[i].type == S_IFDIR ? "directory" : "regular file");
    }
    return 0;
}

static int create(const struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools,
                  const struct fvm_vm_spec *spec, const char *image, struct fvm_caller *caller,
                  struct flashvm_error *error)
{
    cleanup_free char *cpus = fvm_format("%u", spec->cpus);
    cleanup_free char *memory = fvm_format("%u", spec->memory_mb);
    cleanup_free char *volume = fvm_format("%s:" FVM_KRUNVM_VOLUME, vm->volume);
    /* "-w" ends the list of volumes, which would swallow the image's name. */
    const char *const arguments[] = {"create", "--cpus", cpus, "--mem",           memory,
                                     "-v",     volume,   "-w", FVM_KRUNVM_VOLUME, "--name",
                                     vm->name, image,    NULL};

    if (cpus == NULL || memory == NULL || volume == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_krunvm_vm_call(vm, tools, arguments, caller, error) < 0)
        return error && error->status == FLASHVM_CANCELLED
                   ? -1
                   : fvm_fail_context(error, "cannot make a VM");
    return 0;
}

static int start(const struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools,
                 const struct fvm_host *host, struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    static const char agent[] = FVM_KRUNVM_VOLUME "/agent";
    const char *const entrance[] = {tools->storage.buildah, "unshare", NULL};
    const char *const argv[] = {tools->krunvm, "start", vm->name, agent, NULL};
    const struct fvm_vm_program program = {
        .argv = argv,
        .keeps_rights = true,
        .environment = (const char *const *)vm->environment,
        .entrance = tools->is_root ? NULL : entrance,
    };

    return fvm_vm_process_start(host, &program, ret_vm, error);
}

static int boot(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_caller *caller,
                struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {0};
    cleanup_free struct fvm_krunvm_vm *vm = malloc(sizeof *vm);
    char image[FVM_IMAGE_ID_SIZE];

    if (vm == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_krunvm_find_tools(&tools, error) < 0 || check_paths(spec->rootfs_fd, error) < 0)
        return -1;
    fvm_krunvm_vms_sweep(host->cache_dir, &tools);
    if (fvm_storage_import(&tools.storage, host->data_dir, host->cache_dir, spec->image, caller,
                           image, error) < 0 ||
        fvm_krunvm_vm_make(host, vm, error) < 0)
        return -1;
    fvm_caller_tell(caller, "booting a microVM");
    if (create(vm, &tools, spec, image, caller, error) < 0 ||
        start(vm, &tools, host, ret_vm, error) < 0) {
        fvm_krunvm_vm_remove(vm, &tools);
        return -1;
    }
    ret_vm->engine = &fvm_engine_krunvm;
    ret_vm->belongings = steal_pointer(vm);
    return 0;
}

static void give_back(void *belongings, bool is_over)
{
    cleanup_free struct fvm_krunvm_vm *vm = belongings;
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {0};

    if (is_over && fvm_krunvm_find_tools(&tools, NULL) == 0)
        fvm_krunvm_vm_remove(vm, &tools);
    else
        fvm_krunvm_vm_finish(vm);
}

static void sweep(const struct fvm_host *host)
{
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {0};

    if (fvm_krunvm_find_tools(&tools, NULL) == 0)
        fvm_krunvm_vms_sweep(host->cache_dir, &tools);
}

/* It says nothing. */
static int take_news(struct fvm_vm *vm, struct flashvm_error *error)
{
    (void)vm, (void)error;
    return 1;
}

const struct fvm_engine fvm_engine_krunvm = {
    .name = "krunvm",
    .probe = probe,
    .examine = examine,
    .boot = boot,
    .take_news = take_news,
    .give_back = give_back,
    .sweep = sweep,
};
