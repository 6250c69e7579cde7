/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/engine.h"
#include "engine/krunvm.h"
#include "engine/native.h"
#include "engine/qemu.h"

const struct fvm_engine *const fvm_engines[] = {&fvm_engine_native, &fvm_engine_qemu,
                                                &fvm_engine_krunvm, NULL};

void fvm_probe_finish(struct fvm_probe *probe)
{
    free(probe->reason);
    free(probe->remedy);
    *probe = (struct fvm_probe){0};
}

static int probe_one(struct fvm_host *host, const struct fvm_engine *engine,
                     const char **ret_accelerator, struct flashvm_error *error)
{
    __attribute__((cleanup(fvm_probe_finish))) struct fvm_probe probe = {0};

    if (engine->probe(host, &probe, error) < 0)
        return -1;
    if (!probe.usable)
        return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE, "the engine %s is not usable: %s%s%s",
                        engine->name, probe.reason, probe.remedy ? ". " : "",
                        probe.remedy ? probe.remedy : "");
    *ret_accelerator = probe.accelerator;
    return 0;
}

static int fail_unknown(const char *name, struct flashvm_error *error)
{
    cleanup_buffer struct fvm_buffer names = {0};

    for (size_t i = 0; fvm_engines[i]; i++) {
        fvm_buffer_append(&names, ", ", 2);
        fvm_buffer_append(&names, fvm_engines[i]->name, strlen(fvm_engines[i]->name));
    }
    return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                    "there is no engine called \"%s\"; it can be auto%s", name,
                    names.data ? names.data : "");
}

/* Take the first. If there is none, the error has the reasons of all, the best engine's first. */
static int choose(struct fvm_host *host, const struct fvm_engine **ret_engine,
                  const char **ret_accelerator, struct flashvm_error *error)
{
    cleanup_buffer struct fvm_buffer reasons = {0};

    for (size_t i = 0; fvm_engines[i]; i++) {
        cleanup_error struct flashvm_error reason = {0};

        if (probe_one(host, fvm_engines[i], ret_accelerator, &reason) == 0) {
            *ret_engine = fvm_engines[i];
            return 0;
        }
        if (reason.message == NULL || (i > 0 && fvm_buffer_append(&reasons, "; ", 2) < 0) ||
            fvm_buffer_append(&reasons, reason.message, strlen(reason.message)) < 0)
            return fvm_fail_no_memory(error);
    }
    return fvm_fail(error, FLASHVM_ENGINE_UNAVAILABLE, "%s", reasons.data ?: "");
}

int fvm_engine_select(struct fvm_host *host, const char *name, const struct fvm_engine **ret_engine,
                      const char **ret_accelerator, struct flashvm_error *error)
{
    if (strcmp(name, "auto") == 0)
        return choose(host, ret_engine, ret_accelerator, error);
    for (size_t i = 0; fvm_engines[i]; i++) {
        if (strcmp(name, fvm_engines[i]->name) != 0)
            continue;
        if (probe_one(host, fvm_engines[i], ret_accelerator, error) < 0)
            return -1;
        *ret_engine = fvm_engines[i];
        return 0;
    }
    return fail_unknown(name, error);
}
