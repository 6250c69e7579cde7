/* SPDX-License-Identifier: MIT */
/* One snippet in one microVM: the host's side, from options that were checked to a result. */
#pragma once

#include <sys/types.h>
#include <time.h>

#include "run/guest.h"
#include "run/pool.h"
#include "run/result.h"
#include "run/template.h"

/* A file for the snippet; strings and data outlive the run. */
struct fvm_file_in {
    const char *guest_path; /* relative to /work */
    const char *host_path;  /* NULL: its bytes are in `data` */
    const void *data;
    uint64_t size;
    bool executable;
    /* Of host_path, when it was looked at: another file, or a changed one, is not sent. */
    dev_t device;
    ino_t inode;
    struct timespec modified;
};

/* flashvm_run_options with the defaults filled in and all checked; see flashvm.h for meanings. */
struct fvm_run_spec {
    const char *engine;
    unsigned cpus;
    unsigned memory_mb;
    uint64_t timeout_ms;
    /* How long the guest may take for all else; past that it is ended. */
    uint64_t boot_timeout_ms;    /* until its interpreter waits */
    uint64_t start_timeout_ms;   /* from there until the snippet begins */
    uint64_t grace_ms;           /* over timeout_ms, and between two artifact frames */
    uint64_t collect_timeout_ms; /* for all artifacts together */
    const char *workdir;         /* NULL until the image is known, which has one */
    bool workdir_is_images;
    const char *const *env;
    const char *const *python_args;
    const char *const *args;
    const char *const *expect; /* relative to /work */
    const struct fvm_file_in *files_in;
    size_t file_in_count;
    uint64_t files_in_bytes; /* of all of them */
    int stdin_fd;            /* -1: nothing */
    uint32_t max_processes;
    uint64_t max_disk_bytes; /* 0: what the guest has */
    uint64_t max_stdout_bytes;
    uint64_t max_stderr_bytes;
    uint64_t max_artifact_bytes;
    uint32_t max_artifacts;
    const char *code;
    size_t code_size;
    bool cold_boot; /* no copy of a template */
    struct fvm_caller caller;
};

/* Fill in what an image decides. */
void fvm_run_spec_set_image(struct fvm_run_spec *spec, const struct fvm_image *image);

/* Where a run gets its VM from. */
struct fvm_run_providers {
    struct fvm_templates *templates;
    struct fvm_pool *pool; /* NULL: none */
};

/*
 * Run the snippet in a VM of its own: one that waits in the pool, or a copy of the guest's template
 * or, when the spec wants that or the engine has no templates, one that boots. The VM is gone when
 * this returns, or, of a pool, soon afterwards.
 * @error: not NULL.
 */
int fvm_run(const struct fvm_guest *guest, const struct fvm_run_providers *providers,
            struct fvm_run_spec *spec, struct fvm_result *result, struct flashvm_error *error);
