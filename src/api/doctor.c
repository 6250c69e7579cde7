/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "api/library.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "engine/qemu.h"
#include "image/image.h"
#include "image/storage_report.h"

enum { ENGINES_MAX = 8 };

/* The caller sees `public`; the rest is what it points to. */
struct doctor {
    struct flashvm_doctor public;
    struct flashvm_engine_report reports[ENGINES_MAX];
    struct fvm_probe probes[ENGINES_MAX];
    struct flashvm_storage_report storage;
    struct fvm_storage_report storage_report;
    char *note, *data_dir, *cache_dir;
};

static bool is_installed(const char *program)
{
    cleanup_free char *path = fvm_find_program(program);

    return path != NULL;
}

static int examine_engine(const struct fvm_engine *engine, struct fvm_probe *probe,
                          struct flashvm_error *error)
{
    cleanup_error struct flashvm_error flaw = {0};

    if (!probe->usable || engine->examine(&flaw) == 0)
        return 0;
    fvm_probe_finish(probe);
    probe->reason = strdup(flaw.message);
    probe->remedy = strdup("Put a working one first on PATH");
    return probe->reason && probe->remedy ? 0 : fvm_fail_no_memory(error);
}

static int probe_engines(struct flashvm *fvm, struct doctor *doctor, struct flashvm_error *error)
{
    for (size_t i = 0; fvm_engines[i] && i < ENGINES_MAX; i++) {
        struct fvm_probe *probe = &doctor->probes[i];

        if (fvm_engines[i]->probe(&fvm->host, probe, error) < 0 ||
            examine_engine(fvm_engines[i], probe, error) < 0)
            return -1;
        doctor->reports[i] = (struct flashvm_engine_report){
            .name = fvm_engines[i]->name,
            .usable = probe->usable,
            .accelerator = probe->accelerator,
            .reason = probe->reason,
            .remedy = probe->remedy,
        };
        doctor->public.ready |= probe->usable;
        doctor->public.engine_count = i + 1;
    }
    doctor->public.engines = doctor->reports;
    return 0;
}

/* Is one of flashVM's own programs there? */
static bool has_helper(const struct flashvm *fvm, const char *name)
{
    cleanup_free char *path = fvm_format("%s/%s", fvm->libexec_dir, name);

    return path && fvm_is_program(path);
}

static char *say_helper_is_missing(const struct flashvm *fvm, const char *what, const char *name)
{
    return fvm_format("%s: %s is missing in %s, or no program that this user can start. Install "
                      "flashVM again",
                      what, name, fvm->libexec_dir);
}

/* The engine that "auto" takes; where none is usable, the one that needs least. */
static const struct flashvm_engine_report *find_first(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->public.engine_count; i++)
        if (doctor->reports[i].usable)
            return &doctor->reports[i];
    for (size_t i = 0; i < doctor->public.engine_count; i++)
        if (fvm_engines[i] == &fvm_engine_qemu)
            return &doctor->reports[i];
    return &doctor->reports[0];
}

/* One sentence: the first thing that keeps a run from working, or that all is well. */
static char *make_note(struct flashvm *fvm, struct doctor *doctor, const char *cache,
                       const struct flashvm_error *cache_error)
{
    const struct flashvm_engine_report *first = find_first(doctor);
    cleanup_free char *layout = fvm_format("%s/oci/index.json", fvm->data_dir);
    char *note;

    doctor->public.embedded_imported = cache && fvm_image_is_cached(fvm->data_dir, cache);
    if (cache == NULL) {
        doctor->public.ready = false;
        note = fvm_format("Not ready: %s", cache_error->message);
    } else if (!doctor->public.ready) {
        note = fvm_format("Not ready: %s. %s", first->reason, first->remedy ? first->remedy : "");
    } else if (!has_helper(fvm, "flashvm-jail")) {
        doctor->public.ready = false;
        note = say_helper_is_missing(fvm, "Not ready", "flashvm-jail");
    } else if (layout == NULL || access(layout, R_OK) < 0) {
        doctor->public.ready = false;
        note =
            fvm_format("Not ready: the embedded image is missing in %s. Make it with: make guest",
                       fvm->data_dir);
    } else if (!has_helper(fvm, "flashvm-probe-kvm")) {
        note = say_helper_is_missing(fvm, "Ready, but KVM cannot be used", "flashvm-probe-kvm");
    } else {
        note = fvm_format("Ready: engine %s, accelerator %s%s", first->name, first->accelerator,
                          doctor->public.embedded_imported
                              ? "."
                              : "; the embedded image will be imported by the first run.");
    }
    return note;
}

static int examine_storage(const struct flashvm *fvm, struct doctor *doctor,
                           struct flashvm_error *error)
{
    struct fvm_caller caller = fvm->caller;
    const struct fvm_storage_report *report = &doctor->storage_report;

    if (fvm_storage_examine(&caller, &doctor->storage_report, error) < 0)
        return -1;
    doctor->storage = (struct flashvm_storage_report){
        .tool = report->tool,
        .usable = report->usable,
        .driver = report->driver,
        .root = report->root,
        .reason = report->reason,
        .remedy = report->remedy,
    };
    doctor->public.containers_storage = &doctor->storage;
    return 0;
}

static bool is_offline(void)
{
    const char *value = getenv("FLASHVM_OFFLINE");

    return value && strcmp(value, "1") == 0;
}

int flashvm_doctor(struct flashvm *fvm, struct flashvm_doctor **ret_doctor,
                   struct flashvm_error *error)
{
    struct doctor *doctor = calloc(1, sizeof *doctor);
    struct flashvm_error own = {0}, cache_error = {0};
    const char *cache = NULL;

    if (doctor == NULL) {
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    fvm_library_cache(fvm, &cache, &cache_error); /* a trouble to report, not to fail with */
    if (probe_engines(fvm, doctor, &own) < 0 || examine_storage(fvm, doctor, &own) < 0) {
        flashvm_doctor_free(&doctor->public);
        flashvm_error_finish(&cache_error);
        return fvm_error_return(&own, error);
    }
    doctor->public.krunvm = is_installed("krunvm");
    doctor->public.buildah = is_installed("buildah");
    doctor->public.skopeo = is_installed("skopeo");
    doctor->public.qemu = is_installed("qemu-system-x86_64");
    doctor->public.kvm = fvm_kvm_is_usable(&fvm->host.kvm, fvm->libexec_dir, cache);
    doctor->public.offline_mode = is_offline();
    doctor->note = make_note(fvm, doctor, cache, &cache_error);
    doctor->data_dir = strdup(fvm->data_dir);
    doctor->cache_dir = strdup(cache ? cache : "");
    flashvm_error_finish(&cache_error);
    if (doctor->note == NULL || doctor->data_dir == NULL || doctor->cache_dir == NULL) {
        flashvm_doctor_free(&doctor->public);
        fvm_fail_no_memory(&own);
        return fvm_error_return(&own, error);
    }
    doctor->public.note = doctor->note;
    doctor->public.data_dir = doctor->data_dir;
    doctor->public.cache_dir = doctor->cache_dir;
    *ret_doctor = &doctor->public;
    return FLASHVM_OK;
}

void flashvm_doctor_free(struct flashvm_doctor *public)
{
    struct doctor *doctor = (struct doctor *)public; /* its first member */

    if (doctor == NULL)
        return;
    for (size_t i = 0; i < ENGINES_MAX; i++)
        fvm_probe_finish(&doctor->probes[i]);
    fvm_storage_report_finish(&doctor->storage_report);
    free(doctor->note);
    free(doctor->data_dir);
    free(doctor->cache_dir);
    free(doctor);
}
