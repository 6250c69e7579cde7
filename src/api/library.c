/* SPDX-License-Identifier: MIT */
#include "api/library.h"

#include <stdlib.h>
#include <string.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "image/image.h"

int fvm_options_copy(void *ret_own, size_t own_size, const void *given, size_t given_size,
                     const char *name, struct flashvm_error *error)
{
    const char *bytes = given;

    if (given_size < sizeof(size_t))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "%s has struct_size %zu: start from its _INIT macro", name, given_size);
    for (size_t i = own_size; i < given_size; i++)
        if (bytes[i] != 0)
            return fvm_fail(error, FLASHVM_UNSUPPORTED,
                            "%s uses a field that this version of libflashvm (%s) does not know",
                            name, flashvm_version());
    memcpy(ret_own, given, given_size < own_size ? given_size : own_size);
    return 0;
}

const char *flashvm_version(void)
{
    return FLASHVM_VERSION;
}

int flashvm_open(const struct flashvm_config *given, struct flashvm **ret_fvm,
                 struct flashvm_error *error)
{
    struct flashvm_config config = FLASHVM_CONFIG_INIT;
    struct flashvm_error own = {0};
    struct flashvm *fvm;

    if (given && fvm_options_copy(&config, sizeof config, given, given->struct_size,
                                  "flashvm_config", &own) < 0)
        return fvm_error_return(&own, error);
    fvm = calloc(1, sizeof *fvm);
    if (fvm == NULL) {
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    fvm->data_dir = strdup(config.data_dir ? config.data_dir : FLASHVM_DATA_DIR);
    fvm->libexec_dir = strdup(config.libexec_dir ? config.libexec_dir : FLASHVM_LIBEXEC_DIR);
    fvm->cache_dir = config.cache_dir ? strdup(config.cache_dir) : NULL;
    fvm->caller = (struct fvm_caller){
        .progress = config.progress,
        .progress_data = config.progress_data,
        .notice = config.notice,
        .notice_data = config.notice_data,
        .interrupt_fd = -1,
        .interrupted = config.interrupted,
        .interrupted_data = config.interrupted_data,
    };
    fvm->host.data_dir = fvm->data_dir;
    fvm->host.libexec_dir = fvm->libexec_dir;
    fvm_kvm_init(&fvm->host.kvm);
    fvm_templates_init(&fvm->templates);
    pthread_mutex_init(&fvm->lock, NULL);
    if (fvm->data_dir == NULL || fvm->libexec_dir == NULL ||
        (config.cache_dir && !fvm->cache_dir)) {
        flashvm_close(fvm);
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    *ret_fvm = fvm;
    return FLASHVM_OK;
}

int fvm_library_cache(struct flashvm *fvm, const char **ret_path, struct flashvm_error *error)
{
    int outcome = 0;

    pthread_mutex_lock(&fvm->lock);
    if (fvm->cache_path == NULL)
        outcome = fvm_cache_open(fvm->cache_dir, &fvm->cache_path, error);
    fvm->host.cache_dir = fvm->cache_path;
    *ret_path = fvm->cache_path;
    pthread_mutex_unlock(&fvm->lock);
    return outcome;
}

void fvm_library_adopt_caller(const struct flashvm *fvm, struct fvm_caller *caller)
{
    caller->progress = fvm->caller.progress;
    caller->progress_data = fvm->caller.progress_data;
    caller->notice = fvm->caller.notice;
    caller->notice_data = fvm->caller.notice_data;
    if (caller->interrupt_fd >= 0 || caller->interrupted)
        return;
    caller->interrupted = fvm->caller.interrupted;
    caller->interrupted_data = fvm->caller.interrupted_data;
}

void flashvm_close(struct flashvm *fvm)
{
    if (fvm == NULL)
        return;
    fvm_templates_finish(&fvm->templates);
    fvm_kvm_finish(&fvm->host.kvm);
    pthread_mutex_destroy(&fvm->lock);
    free(fvm->cache_path);
    free(fvm->data_dir);
    free(fvm->libexec_dir);
    free(fvm->cache_dir);
    free(fvm);
}
