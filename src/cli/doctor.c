/* SPDX-License-Identifier: MIT */
/* flashvm doctor: what this machine can do, for a person or as JSON. */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/message.h"

/* One table for both forms. */
struct finding {
    const char *key, *question;
    bool value;
};
enum { FINDING_COUNT = 8 };

static void list_findings(const struct flashvm_doctor *doctor,
                          struct finding findings[FINDING_COUNT])
{
    const struct finding all[FINDING_COUNT] = {
        {"krunvm", "is the program there?", doctor->krunvm},
        {"buildah", "is the program there?", doctor->buildah},
        {"skopeo", "is the program there?", doctor->skopeo},
        {"kvm", "does /dev/kvm really run a guest?", doctor->kvm},
        {"qemu", "is QEMU there?", doctor->qemu},
        {"offline_mode", "is FLASHVM_OFFLINE=1 set?", doctor->offline_mode},
        {"embedded_imported", "is the embedded image in the cache?", doctor->embedded_imported},
        {"ready", "would a run work?", doctor->ready},
    };

    for (size_t i = 0; i < FINDING_COUNT; i++)
        findings[i] = all[i];
}

static void print_storage(const struct flashvm_storage_report *storage)
{
    printf("\ncontainers-storage: %s", storage->usable ? "usable" : "not usable");
    if (storage->root)
        printf(", %s in %s", storage->driver ? storage->driver : "?", storage->root);
    printf("\n    %s\n", storage->reason);
    if (storage->remedy)
        printf("    to do: %s\n", storage->remedy);
}

static void print_for_person(const struct flashvm_doctor *doctor)
{
    struct finding findings[FINDING_COUNT];

    list_findings(doctor, findings);
    for (size_t i = 0; i < FINDING_COUNT; i++)
        printf("%-17s  %-3s  %s\n", findings[i].key, findings[i].value ? "yes" : "no",
               findings[i].question);
    printf("\n%-10s  %-6s  %-11s  %s\n", "ENGINE", "USABLE", "ACCELERATOR", "WHY");
    for (size_t i = 0; i < doctor->engine_count; i++) {
        const struct flashvm_engine_report *engine = &doctor->engines[i];

        printf("%-10s  %-6s  %-11s  %s\n", engine->name, engine->usable ? "yes" : "no",
               engine->accelerator ? engine->accelerator : "-",
               engine->reason ? engine->reason : "-");
        if (engine->remedy)
            printf("%-10s  %-6s  %-11s  to do: %s\n", "", "", "", engine->remedy);
    }
    print_storage(doctor->containers_storage);
    printf("\ndata   %s\ncache  %s\n", doctor->data_dir, doctor->cache_dir);
    if (doctor->note)
        printf("\n%s\n", doctor->note);
}

static json_t *engines_json(const struct flashvm_doctor *doctor)
{
    cleanup_json json_t *engines = json_object();

    for (size_t i = 0; i < doctor->engine_count; i++) {
        const struct flashvm_engine_report *engine = &doctor->engines[i];

        if (json_object_set_new(engines, engine->name,
                                json_pack("{s:b, s:o, s:o, s:o}", "usable", engine->usable,
                                          "accelerator", json_text_or_null(engine->accelerator),
                                          "reason", json_text_or_null(engine->reason), "remedy",
                                          json_text_or_null(engine->remedy))) < 0)
            return NULL;
    }
    return steal_pointer(engines);
}

static json_t *storage_json(const struct flashvm_storage_report *storage)
{
    return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o}", "tool", json_text_or_null(storage->tool),
                     "usable", storage->usable, "driver", json_text_or_null(storage->driver),
                     "root", json_text_or_null(storage->root), "reason",
                     json_text_or_null(storage->reason), "remedy",
                     json_text_or_null(storage->remedy));
}

static char *report_text(const struct flashvm_doctor *doctor)
{
    cleanup_json json_t *report = json_object();
    struct finding findings[FINDING_COUNT];
    int status = 0;

    list_findings(doctor, findings);
    for (size_t i = 0; i < FINDING_COUNT; i++)
        status |= json_object_set_new(report, findings[i].key, json_boolean(findings[i].value));
    status |= json_object_set_new(report, "note", json_text_or_null(doctor->note));
    status |= json_object_set_new(report, "engines", engines_json(doctor));
    status |=
        json_object_set_new(report, "containers_storage", storage_json(doctor->containers_storage));
    status |= json_object_set_new(report, "data_dir", json_text_or_null(doctor->data_dir));
    status |= json_object_set_new(report, "cache_dir", json_text_or_null(doctor->cache_dir));
    return status < 0 ? NULL : json_text(report);
}

static void free_doctor(struct flashvm_doctor **doctor)
{
    flashvm_doctor_free(*doctor);
}

static int examine(bool as_json)
{
    __attribute__((cleanup(free_doctor))) struct flashvm_doctor *doctor = NULL;
    cleanup_error struct flashvm_error error = {0};
    cleanup_library struct library library = {0};

    if (library_open(&library, &error) != FLASHVM_OK ||
        flashvm_doctor(library.fvm, &doctor, &error) != FLASHVM_OK) {
        if (as_json)
            json_show_error(&error);
        return show_failure(&error);
    }
    if (as_json) {
        cleanup_free char *text = report_text(doctor);

        if (text == NULL) {
            show_error("cannot print the report as JSON: the host is out of memory");
            return FLASHVM_IO;
        }
        fputs(text, stdout);
    } else {
        print_for_person(doctor);
    }
    return doctor->ready ? 0 : FLASHVM_ENGINE_UNAVAILABLE;
}

static int doctor_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    bool as_json = false;
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h')
            return command_show_help(&doctor_command);
        if (option != 'j')
            return command_option_error(&doctor_command, option, options, argv);
        as_json = true;
    }
    if (optind < argc)
        return command_usage_error(&doctor_command, "'%s' is one argument too many", argv[optind]);
    return examine(as_json);
}

const struct command doctor_command = {
    .name = "doctor",
    .summary = "tell what this machine can do, and what is missing",
    .help = "Usage: flashvm doctor [--json]\n"
            "Tell what this machine can do: which programs are there, which engines work, and\n"
            "for each one that does not, why and what to do.\n"
            "\n"
            "      --json  print one JSON object\n"
            "  -h, --help  print this text\n"
            "\n"
            "The exit code is 0 when a run would work and 244 when not.\n",
    .run = doctor_run,
};
