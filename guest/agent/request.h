/* SPDX-License-Identifier: MIT */
/* The JSON that the host sends: SETUP (once, the image) and REQUEST (the run). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings live as long as the struct. */
struct setup {
    void *json;
    const char *const *env; /* of the image: NULL-terminated "NAME=value" */
    const char *user;       /* "uid[:gid]" or names; "" for the default */
    const char *python;     /* path of the interpreter */
    bool warm; /* the guest becomes a template: interpreters load more while they start */
};

/* What a host does not say is as usual: "-u", no lists, /work, no limits on disk or artifacts of
 * none. Parsing takes an emulated guest long. */
struct request {
    void *json;
    const char *const *python_args;
    const char *const *args;
    const char *const *env;
    const char *const *expect;
    const char *workdir;
    uint64_t timeout_ms;
    uint64_t max_artifact_bytes;
    uint64_t max_artifacts;
    uint64_t max_processes;
    uint64_t max_disk_bytes; /* 0: what there is */
    int64_t clock_ns;
};

/* Return: NULL, or what is wrong with the JSON (static text). */
const char *setup_parse(const char *data, size_t size, struct setup *ret_setup);
void setup_finish(struct setup *setup);
const char *request_parse(const char *data, size_t size, struct request *ret_request);
void request_finish(struct request *request);

/* Can the waiting interpreter serve this request, or must a real one be started with its options?
 */
bool request_fits_zygote(const struct request *request);
