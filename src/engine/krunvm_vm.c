/* SPDX-License-Identifier: MIT */
#include "engine/krunvm_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/tool.h"
#include "engine/krunvm_volume.h"

#define DIRECTORY   "krunvm" /* of the cache */
#define NAME_PREFIX "flashvm-"

enum { CALL_TIMEOUT_MS = 120000, ARGS_MAX = 20 };

/* ---- the tools ------------------------------------------------------------------------------- */

void fvm_krunvm_tools_finish(struct fvm_krunvm_tools *tools)
{
    free(tools->krunvm);
    fvm_storage_tools_finish(&tools->storage);
}

int fvm_krunvm_find_tools(struct fvm_krunvm_tools *ret_tools, struct flashvm_error *error)
{
    cleanup_krunvm_tools struct fvm_krunvm_tools tools = {
        .krunvm = fvm_find_program("krunvm"),
        .is_root = geteuid() == 0,
    };

    if (fvm_storage_find_tools(&tools.storage, error) < 0)
        return -1;
    if (tools.krunvm == NULL || tools.storage.buildah == NULL)
        return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE, "there is no %s on PATH",
                        tools.krunvm ? "buildah" : "krunvm");
    *ret_tools = tools;
    tools = (struct fvm_krunvm_tools){0}; // NOLINT(*DeadStores): cleanup reads it
    return 0;
}

/* ---- making one ------------------------------------------------------------------------------ */

void fvm_krunvm_vm_finish(struct fvm_krunvm_vm *vm)
{
    fvm_cleanup_close(&vm->parent_fd);
    fvm_cleanup_close(&vm->lock_fd);
    free(vm->name);
    free(vm->path);
    free(vm->volume);
    free(vm->environment);
    *vm = (struct fvm_krunvm_vm)FVM_KRUNVM_VM_NONE;
}

static int set_names(struct fvm_krunvm_vm *vm, const char *cache_dir, const char *name,
                     struct flashvm_error *error)
{
    cleanup_free char *config =
        fvm_format("XDG_CONFIG_HOME=%s/" DIRECTORY "/%s/config", cache_dir, name);

    vm->name = strdup(name);
    vm->path = fvm_format("%s/" DIRECTORY "/%s", cache_dir, name);
    vm->volume = fvm_format("%s/" DIRECTORY "/%s/volume", cache_dir, name);
    vm->environment = config ? fvm_storage_environment(config) : NULL;
    return vm->name && vm->path && vm->volume && vm->environment ? 0 : fvm_fail_no_memory(error);
}

/*
 * buildah looks for its own configuration where krunvm looks for its one, too, and a storage of the
 * user's choice has to be found by both.
 */
static int link_containers_configuration(const struct fvm_krunvm_vm *vm)
{
    const char *config_home = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    cleanup_free char *theirs = config_home && *config_home
                                    ? fvm_format("%s/containers", config_home)
                                    : fvm_format("%s/.config/containers", home ? home : "");
    cleanup_free char *ours = fvm_format("%s/config/containers", vm->path);

    if (theirs == NULL || ours == NULL) {
        errno = ENOMEM;
        return -1;
    }
    return access(theirs, F_OK) < 0 ? 0 : symlink(theirs, ours);
}

static int make_directories(const struct fvm_krunvm_vm *vm, struct flashvm_error *error)
{
    cleanup_free char *config = fvm_format("%s/config", vm->path);

    if (config == NULL)
        return fvm_fail_no_memory(error);
    if (mkdir(vm->path, 0700) < 0 || mkdir(config, 0700) < 0 || mkdir(vm->volume, 0700) < 0 ||
        link_containers_configuration(vm) < 0)
        return fvm_fail_errno(error, errno, "cannot make the directory of a VM, %s", vm->path);
    return 0;
}

int fvm_krunvm_vm_make(const struct fvm_host *host, struct fvm_krunvm_vm *ret_vm,
                       struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_krunvm_vm_finish))) struct fvm_krunvm_vm vm = FVM_KRUNVM_VM_NONE;
    char name[sizeof NAME_PREFIX + 16];
    unsigned long long random;
    int locked;

    if (strchr(host->cache_dir, ':'))
        return fvm_fail(error, FLASHVM_UNSUPPORTED,
                        "the engine krunvm cannot use the cache directory %s, which has a ':' in "
                        "its path",
                        host->cache_dir);
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return fvm_fail_errno(error, errno, "cannot name a VM");
    snprintf(name, sizeof name, NAME_PREFIX "%016llx", random);
    if (set_names(&vm, host->cache_dir, name, error) < 0 ||
        fvm_cache_open_directory(host->cache_dir, DIRECTORY, true, &vm.parent_fd, error) < 0)
        return -1;
    locked = fvm_cache_try_lock(vm.parent_fd, name, &vm.lock_fd, error);
    if (locked <= 0)
        return locked < 0 ? -1 : fvm_fail(error, FLASHVM_INTERNAL, "a VM is called %s", name);
    if (make_directories(&vm, error) < 0 ||
        fvm_krunvm_volume_fill(host->data_dir, vm.volume, error) < 0) {
        fvm_krunvm_vm_remove(&vm, NULL);
        return -1;
    }
    *ret_vm = vm;
    vm = (struct fvm_krunvm_vm)FVM_KRUNVM_VM_NONE;
    return 0;
}

/* ---- krunvm ---------------------------------------------------------------------------------- */

int fvm_krunvm_vm_call(const struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools,
                       const char *const *arguments, struct fvm_caller *caller,
                       struct flashvm_error *error)
{
    const char *argv[ARGS_MAX] = {tools->storage.buildah, "unshare", tools->krunvm};
    const struct fvm_tool_call call = {
        .argv = tools->is_root ? argv + 2 : argv,
        .environment = (const char *const *)vm->environment,
        .timeout_ms = CALL_TIMEOUT_MS,
        .lock_fd = vm->lock_fd,
        .must_finish = true,
    };

    for (size_t argc = 3; *arguments; argc++, arguments++) {
        if (argc == ARGS_MAX - 1)
            return fvm_fail(error, FLASHVM_INTERNAL, "too many arguments for krunvm");
        argv[argc] = *arguments;
    }
    return fvm_tool_run(&call, caller, NULL, error);
}

/* ---- removing it ----------------------------------------------------------------------------- */

void fvm_krunvm_vm_remove(struct fvm_krunvm_vm *vm, const struct fvm_krunvm_tools *tools)
{
    cleanup_free char *lock = vm->name ? fvm_format("%s.lock", vm->name) : NULL;
    struct fvm_caller nobody = FVM_CALLER_NONE;

    if (tools && vm->path)
        (void)fvm_krunvm_vm_call(vm, tools, (const char *const[]){"delete", vm->name, NULL},
                                 &nobody, NULL);
    if (vm->path)
        fvm_remove_tree(vm->path);
    if (lock && vm->lock_fd >= 0)
        (void)unlinkat(vm->parent_fd, lock, 0);
    fvm_krunvm_vm_finish(vm);
}

/* The lock comes first and goes last, so its file stands for the rest. Return: is it one? */
static bool is_lock(const char *file)
{
    size_t digits = strncmp(file, NAME_PREFIX, sizeof NAME_PREFIX - 1) == 0
                        ? strspn(file + sizeof NAME_PREFIX - 1, "0123456789abcdef")
                        : 0;

    return digits == 16 && strcmp(file + sizeof NAME_PREFIX - 1 + digits, ".lock") == 0;
}

static void sweep_one(const char *cache_dir, int parent_fd, const char *lock,
                      const struct fvm_krunvm_tools *tools)
{
    cleanup_free char *name = strndup(lock, strlen(lock) - strlen(".lock"));
    struct fvm_krunvm_vm vm = FVM_KRUNVM_VM_NONE;

    vm.parent_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 0);
    if (name && vm.parent_fd >= 0 && set_names(&vm, cache_dir, name, NULL) == 0 &&
        fvm_cache_try_lock(parent_fd, name, &vm.lock_fd, NULL) == 1)
        fvm_krunvm_vm_remove(&vm, tools);
    else
        fvm_krunvm_vm_finish(&vm);
}

void fvm_krunvm_vms_sweep(const char *cache_dir, const struct fvm_krunvm_tools *tools)
{
    cleanup_close int fd = -1;
    cleanup_dir DIR *directory = NULL;
    struct dirent *entry;

    if (fvm_cache_open_directory(cache_dir, DIRECTORY, false, &fd, NULL) < 0 || fd < 0)
        return;
    directory = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    while (directory && (entry = readdir(directory)) != NULL)
        if (is_lock(entry->d_name))
            sweep_one(cache_dir, fd, entry->d_name, tools);
}
