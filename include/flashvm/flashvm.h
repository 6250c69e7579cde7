/* SPDX-License-Identifier: MIT */
/*
 * flashVM: run a Python snippet in a microVM of its own.
 *
 *     struct flashvm_error error = {0};
 *     struct flashvm *fvm = NULL;
 *     struct flashvm_result *result = NULL;
 *     struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
 *
 *     if (flashvm_open(NULL, &fvm, &error) ||
 *         flashvm_run(fvm, &options, code, size, &result, &error))
 *         fprintf(stderr, "%s\n", error.message);
 *     flashvm_result_free(result);
 *     flashvm_close(fvm);
 *     flashvm_error_finish(&error);
 *
 * Rules that hold for every call:
 *  - A function that can fail returns a status: FLASHVM_OK, or the one that `error` (which may be
 *    NULL) then explains. `ret_` parameters are set only on success.
 *  - Strings are NUL-terminated and are copied: the caller keeps what it passes in. Paths of the
 *    host are raw bytes; what goes to the guest (env, expect, python_args, workdir) must be UTF-8.
 *  - All calls are thread-safe. One `struct flashvm` may be shared by any number of threads.
 *  - The library installs no signal handlers, prints nothing and keeps no global state.
 */
#ifndef FLASHVM_H
#define FLASHVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLASHVM_API __attribute__((visibility("default")))

/* ---- errors ---------------------------------------------------------------------------------- */

/*
 * Why a call failed. The `flashvm` command exits with the same numbers (they lie above the exit
 * codes of signals, 128+n, so that a snippet rarely uses them), and Python has one exception class
 * for each.
 */
enum flashvm_status {
    FLASHVM_OK = 0,
    FLASHVM_INVALID_ARGUMENT = 240,   /* the caller asked for something that makes no sense */
    FLASHVM_NOT_FOUND = 241,          /* a file, image or program that is needed is not there */
    FLASHVM_IO = 242,                 /* the host's operating system refused or failed */
    FLASHVM_UNSUPPORTED = 243,        /* the chosen engine cannot enforce what was asked */
    FLASHVM_ENGINE_UNAVAILABLE = 244, /* no usable engine on this machine */
    FLASHVM_BOOT_FAILED = 245,        /* the microVM did not come up in time */
    FLASHVM_GUEST_FAILED = 246,  /* the microVM broke off, or spoke nonsense, before a result */
    FLASHVM_IMAGE_INVALID = 247, /* an image is damaged, unsafe, or not one whose Python starts */
    FLASHVM_CACHE_UNSAFE = 248,  /* the cache directory is not the caller's own */
    FLASHVM_CANCELLED = 249,     /* the caller's `interrupted` callback said so */
    FLASHVM_INTERNAL = 250,      /* a defect of flashVM */
};

/* Start from `= {0}`; a call that fails replaces the message. Free with flashvm_error_finish(). */
struct flashvm_error {
    enum flashvm_status status;
    char *message; /* what was wrong, why, and what to do; NULL while status is FLASHVM_OK */
    int os_errno;  /* of the system call that failed, such as ENOSPC; 0: there was none */
};

FLASHVM_API void flashvm_error_finish(struct flashvm_error *error);

/* A short name such as "invalid-argument". Never NULL; the string is static. */
FLASHVM_API const char *flashvm_status_name(enum flashvm_status status);

/* ---- the library handle ---------------------------------------------------------------------- */

/*
 * Structs that the caller fills begin with `struct_size` and start from their _INIT macro, so that
 * fields can be added at the end without breaking a program that was compiled earlier.
 */
struct flashvm_config {
    size_t struct_size;
    const char
        *data_dir; /* kernel, initramfs and embedded image; NULL: where the library was installed */
    const char *libexec_dir; /* holds flashvm-jail; NULL: where the library was installed */
    const char *cache_dir;   /* NULL: $XDG_CACHE_HOME/flashvm or ~/.cache/flashvm */
    /*
     * Called at the start of work that may take longer than a moment, in the calling thread, with a
     * phrase such as "booting a microVM", and with NULL when that work ends. May be NULL.
     */
    void (*progress)(void *progress_data, const char *stage);
    void *progress_data;
    /*
     * Asked now and then in the calling thread by calls that may take long. If it returns true the
     * call ends with FLASHVM_CANCELLED. flashvm_run_options has means of its own, which take its
     * place. May be NULL.
     */
    bool (*interrupted)(void *interrupted_data);
    void *interrupted_data;
    /*
     * Called in the calling thread, with a sentence, when a part of a call failed that the caller
     * can do without: the call itself succeeds. Today: what concerns containers-storage. May be
     * NULL.
     */
    void (*notice)(void *notice_data, const char *text);
    void *notice_data;
};
#define FLASHVM_CONFIG_INIT                                                                        \
    {                                                                                              \
        .struct_size = sizeof(struct flashvm_config)                                               \
    }

struct flashvm;

/*
 * Open the library. Cheap: it looks at nothing but its directories.
 * @config: NULL for the defaults.
 */
FLASHVM_API int flashvm_open(const struct flashvm_config *config, struct flashvm **ret_fvm,
                             struct flashvm_error *error);

/* Close the library after the last call that uses it. NULL is allowed. Results stay valid. */
FLASHVM_API void flashvm_close(struct flashvm *fvm);

/* The version as "MAJOR.MINOR.PATCH"; static. */
FLASHVM_API const char *flashvm_version(void);

/* ---- images ---------------------------------------------------------------------------------- */

/*
 * What an image can be called, here and in flashvm_run_options:
 *  - NULL or "localhost/flashvm:python-basic": the embedded image;
 *  - "oci:PATH[:REF]": an image of the OCI image layout in a directory of the host, as skopeo
 *    writes it. The path ends at the first ':', so it cannot have one; REF, which may, is what
 *    the layout's index names the image. Without REF the layout must have one image for
 *    linux/amd64;
 *  - "REFERENCE@sha256:…" or "sha256:…": what the cache has under this digest of a manifest,
 *    whatever its name; an "oci:" or embedded image that it lacks is taken from its layout;
 *  - any other reference: the image in the cache that was last used under it.
 * flashVM fetches no images. What a run says that it used ("image_used") is one of these names,
 * always with the digest; an "oci:" path is absolute there.
 */

/*
 * Get an image ready, so that the first run need not: its layers, every digest verified, become one
 * file in the cache. Idempotent. FLASHVM_NOT_FOUND, FLASHVM_IMAGE_INVALID: the message names what
 * was asked for, and what there is or what is wrong with it.
 *
 * Where skopeo or buildah is on PATH, the image is then imported into their containers-storage, if
 * it is not there: the embedded one as localhost/flashvm:python-basic, others as
 * localhost/flashvm:sha256-XXXXXXXXXXXXXXXX after the digest of their manifest. Another image of that
 * name loses it. A failure of this is a `notice` (see flashvm_config), no error: the image is
 * ready for every engine but krunvm. A run imports nothing there.
 * @ret_image_used: NULL, or receives the image's full reference with its digest; free() it.
 */
FLASHVM_API int flashvm_prepare_image(struct flashvm *fvm, const char *image, char **ret_image_used,
                                      struct flashvm_error *error);

/* An image in the cache. Fields are only ever added at the end. */
struct flashvm_cached_image {
    const char *reference;         /* the first of `references` */
    const char *const *references; /* what it was called, NULL-terminated; the newest last */
    const char *digest;            /* of its manifest: "sha256:…" */
    uint64_t size_bytes;           /* that it takes in the cache */
    int64_t made_at, used_at;      /* seconds since 1970 */
    /* Is it in containers-storage, too? Asked of skopeo or buildah, if one is on PATH. */
    bool in_containers_storage;
};

/* Read-only, allocated by the library; fields are only ever added at the end. */
struct flashvm_cached_images {
    const struct flashvm_cached_image *const *images; /* those used last first */
    size_t image_count;
};

/*
 * List the images in the cache. Those that are damaged or of another version are left out. Images
 * that are only in containers-storage, under localhost/flashvm, stand at the end, with 0 for size
 * and times. When the tools cannot be asked, that is a `notice`, and the list is of the cache alone.
 */
FLASHVM_API int flashvm_list_cached_images(struct flashvm *fvm,
                                           struct flashvm_cached_images **ret_images,
                                           struct flashvm_error *error);
FLASHVM_API void flashvm_cached_images_free(struct flashvm_cached_images *images);

/*
 * A template in the cache: a guest that has booted and waits, of which a run gets a copy. The first
 * run with such a guest makes it. Fields are only ever added at the end.
 */
struct flashvm_cached_template {
    const char *image; /* with its digest: "localhost/flashvm:python-basic@sha256:…" */
    const char *engine, *accelerator;
    unsigned cpus, memory_mb;
    uint64_t size_bytes;      /* that it takes in the cache */
    int64_t made_at, used_at; /* seconds since 1970; it is used for a day, then made anew */
};

/* Read-only, allocated by the library; fields are only ever added at the end. */
struct flashvm_cached_templates {
    const struct flashvm_cached_template *const *templates; /* those used last first */
    size_t template_count;
};

/* List the templates in the cache. */
FLASHVM_API int flashvm_list_cached_templates(struct flashvm *fvm,
                                              struct flashvm_cached_templates **ret_templates,
                                              struct flashvm_error *error);
FLASHVM_API void flashvm_cached_templates_free(struct flashvm_cached_templates *templates);

/*
 * Remove all images and templates from the cache, of other versions too, and what makers that died
 * have left. Safe at any time: one that another process is making stays, and what a microVM runs
 * from goes when the run ends. Nothing but flashVM's own files is removed.
 * In containers-storage the names of localhost/flashvm are removed; an image goes with its last
 * name, and one that has other names, or is used by a container, stays. What cannot be removed there
 * is a `notice`: skopeo without buildah can remove nothing. Containers that callers of the engine
 * krunvm have left, who died, go as well.
 * @ret_freed_bytes: of the cache; may be NULL.
 */
FLASHVM_API int flashvm_clear_cache(struct flashvm *fvm, uint64_t *ret_freed_bytes,
                                    struct flashvm_error *error);

/* ---- runs ------------------------------------------------------------------------------------ */

/* A file, or a directory with all that is in it, that the snippet finds below /work/in. */
struct flashvm_file_in {
    const char *guest_path; /* relative to /work/in; raw bytes, no "." or ".." components */
    /*
     * Where its bytes are: a regular file of the host, or a directory whose regular files are taken
     * (anything else in it is an error; empty directories are not made). Read during the call; a
     * file that changes meanwhile is an error. NULL: they are in `data`.
     */
    const char *host_path;
    const void *data;
    size_t data_size;
};

struct flashvm_run_options {
    size_t struct_size;
    const char *image;  /* see "images" above; NULL: the embedded one */
    const char *engine; /* "auto" or the name of an engine; NULL: "auto" */
    unsigned cpus;      /* virtual CPUs, 1 to 64; 0: 1 */
    unsigned memory_mb; /* guest memory in MiB, 128 to 1048576; 0: 512 */
    /*
     * From the snippet's first instruction; with other python_args, or variables that an
     * interpreter reads at its start, from the start of that interpreter. 0: 30000.
     */
    uint64_t timeout_ms;
    uint64_t boot_timeout_ms; /* for the microVM to come up, before the snippet; 0: 90000 */
    const char *workdir; /* absolute guest path, made if missing; NULL: the image's, or "/work" */
    const char *const *env;         /* NULL-terminated "NAME=value" strings; NULL: none */
    const char *const *python_args; /* NULL-terminated interpreter options; NULL: {"-u"} */
    const char *const *args;        /* NULL-terminated, the snippet's sys.argv[1:]; NULL: none */
    const char *const *expect;      /* NULL-terminated globs of artifacts to return; NULL: none */
    const struct flashvm_file_in *files_in; /* no two with the same guest_path */
    size_t file_in_count;
    /*
     * Read to its end and passed on to the snippet's standard input while the run lasts; -1: the
     * snippet's input is empty. Stays the caller's.
     */
    int stdin_fd;
    /*
     * Boot a VM instead of copying one that has booted: its kernel's and its interpreter's address
     * layouts and hash secret are shared with no other run then, and it takes seconds.
     */
    bool cold_boot;
    bool network;             /* not built yet: true is FLASHVM_UNSUPPORTED */
    const char *const *ports; /* likewise, if it has entries */

    /* Limits. Beyond the first four, output and artifacts are cut, and the result says so. */
    uint32_t max_processes;      /* in the guest at once, threads counted; 0: 4096 */
    uint32_t max_disk_mb;        /* MiB of files, not in /dev/shm; 0: half of the memory */
    uint32_t max_files_in;       /* more of files_in are an error; 0: 10000 */
    uint64_t max_files_in_bytes; /* likewise for their bytes together; 0: 256 MiB */
    uint64_t max_stdout_bytes;   /* kept of stdout, the rest is counted; 0: 64 MiB */
    uint64_t max_stderr_bytes;   /* likewise for stderr; 0: 64 MiB */
    uint32_t max_artifacts;      /* 0: 1000 */
    uint64_t max_artifact_bytes; /* of all artifacts together; 0: 256 MiB */

    /*
     * How a caller ends a run early. `interrupted` is asked in the calling thread whenever a system
     * call is interrupted by a signal and whenever `interrupt_fd` becomes readable (it must then
     * empty the descriptor). If it returns true the microVM is ended at once and the call fails
     * with FLASHVM_CANCELLED. `interrupted` may be NULL: then a readable descriptor alone cancels.
     */
    int interrupt_fd; /* -1: none */
    bool (*interrupted)(void *interrupted_data);
    void *interrupted_data;
};
#define FLASHVM_RUN_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .struct_size = sizeof(struct flashvm_run_options), .stdin_fd = -1, .interrupt_fd = -1      \
    }

/* A file that the snippet left under /work. */
struct flashvm_artifact {
    const char *guest_path; /* relative to /work; raw bytes, any but '/' and NUL in a component */
    const char *host_path;  /* a private copy that lives as long as the result */
    uint64_t size_bytes;
    char sha256[65]; /* lower-case hex, NUL-terminated */
};

/* How long each part of the run took, in microseconds. */
struct flashvm_timings {
    uint64_t prepare_us; /* choosing an engine, finding or making the root file system */
    uint64_t boot_us;    /* from spawning the VM until its interpreter waits */
    uint64_t run_us;     /* from handing over the request until the result has arrived */
    uint64_t execute_us; /* of that: the snippet, measured in the guest */
    uint64_t destroy_us; /* ending the VM */
    uint64_t total_us;
};

/*
 * What a run gave. Allocated by the library, read-only for the caller; fields are only ever added
 * at the end. Free with flashvm_result_free().
 */
struct flashvm_result {
    int exit_code;   /* as a shell sees it: 128+n for death by signal n, 124 for a timeout */
    int term_signal; /* the signal that ended the snippet, 0 if it exited */
    bool started;    /* did code of the snippet begin to run? */
    bool timed_out;  /* ended because timeout_ms was over */
    bool oom_killed; /* a process of the snippet was killed for want of memory, and all with it */
    const char *ended_by_limit; /* the limit that ended the run: "timeout", "memory"; NULL: none */
    const char *stdout_data;
    size_t stdout_size;
    uint64_t stdout_bytes; /* written by the snippet; more than stdout_size when truncated */
    bool stdout_truncated;
    const char *stderr_data;
    size_t stderr_size;
    uint64_t stderr_bytes;
    bool stderr_truncated;
    uint64_t cpu_time_us;       /* of the snippet and all that it started */
    uint64_t peak_memory_bytes; /* likewise; with the interpreter, and with the files it wrote */
    const struct flashvm_artifact *artifacts;
    size_t artifact_count;
    const char *artifacts_note; /* what was left out and why; NULL: nothing was */
    /*
     * How the VM came to be: restored from a template of a guest that had booted before, and if so,
     * did it wait in a pool? Before the snippet began its kernel and interpreter got new randomness
     * and its clock was set; without either there is no result.
     */
    bool restored, pooled;
    bool reseeded, clock_set;
    const char *image_used;  /* with its digest: "localhost/flashvm:python-basic@sha256:…" */
    const char *engine;      /* "native", "qemu", "krunvm" */
    const char *accelerator; /* "kvm" or "tcg" */
    struct flashvm_timings timings;
};

/*
 * Run a snippet in a fresh microVM. Blocks until the result is complete and the VM is gone.
 * @options: NULL for the defaults.
 * @code, @code_size: Python source as it would stand in main.py; any bytes, may be empty.
 * A snippet that fails (exception, signal, timeout) is a result, not an error.
 */
FLASHVM_API int flashvm_run(struct flashvm *fvm, const struct flashvm_run_options *options,
                            const char *code, size_t code_size, struct flashvm_result **ret_result,
                            struct flashvm_error *error);

/*
 * Write an artifact to `directory`/`guest_path`, replacing a file that is there. `directory` and
 * missing parents are made. The guest chose that path: nothing is written outside of `directory`,
 * no symlink inside of it is followed (in the place of a parent it is an error, in the place of the
 * file it is replaced), and the file appears complete or not at all, with the mode of an ordinary
 * new file.
 * @ret_path: NULL, or receives the path; free() it.
 */
FLASHVM_API int flashvm_artifact_save(const struct flashvm_artifact *artifact,
                                      const char *directory, char **ret_path,
                                      struct flashvm_error *error);

/* Free a result and delete its artifacts' files. NULL is allowed. */
FLASHVM_API void flashvm_result_free(struct flashvm_result *result);

/* ---- pools ----------------------------------------------------------------------------------- */

/*
 * A pool keeps microVMs of one kind waiting for runs, which then begin at once. Each serves one run
 * and is replaced. They are copies of one template (see flashvm_run_options.cold_boot).
 */
struct flashvm_pool_options {
    size_t struct_size;
    /* What the VMs are; as in flashvm_run_options. */
    const char *image;
    const char *engine; /* one that has templates: qemu; else FLASHVM_UNSUPPORTED */
    unsigned cpus;
    unsigned memory_mb;
    uint64_t boot_timeout_ms;
    unsigned size; /* how many wait, 1 to 1000; 0: 2 */
    /* After so long without a run those that wait are ended, until a run comes; 0: never. */
    uint64_t idle_ms;
};
#define FLASHVM_POOL_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .struct_size = sizeof(struct flashvm_pool_options)                                         \
    }

struct flashvm_pool;

/*
 * Open a pool. It begins to fill in a thread of its own, which blocks all signals; a template that
 * is missing is made there. What keeps VMs from waiting (stats.failed) each run meets and explains.
 * After a fork, the child has no pool: flashvm_pool_run() is FLASHVM_INVALID_ARGUMENT there.
 * Neither has it the handle `fvm`, which a thread of the parent may have been using: it opens another.
 */
FLASHVM_API int flashvm_pool_open(struct flashvm *fvm, const struct flashvm_pool_options *options,
                                  struct flashvm_pool **ret_pool, struct flashvm_error *error);

/* Close it after its last run and before its `fvm`: ends all VMs that wait. NULL is allowed. */
FLASHVM_API void flashvm_pool_close(struct flashvm_pool *pool);

/*
 * flashvm_run() in a VM of the pool. When none waits, the call starts one by itself. The VM may
 * still be about to end when the call returns.
 * @options: image, engine, cpus and memory_mb may be left open; to differ from the pool's is
 *           FLASHVM_INVALID_ARGUMENT.
 */
FLASHVM_API int flashvm_pool_run(struct flashvm_pool *pool,
                                 const struct flashvm_run_options *options, const char *code,
                                 size_t code_size, struct flashvm_result **ret_result,
                                 struct flashvm_error *error);

struct flashvm_pool_stats {
    size_t struct_size;
    unsigned size;    /* as the options said */
    unsigned waiting; /* VMs that wait now */
    unsigned running; /* runs that are going on */
    uint64_t served;  /* runs that found a VM waiting */
    uint64_t missed;  /* runs that had to start one */
    uint64_t failed;  /* VMs that did not come to wait, or died while they did */
};
#define FLASHVM_POOL_STATS_INIT                                                                    \
    {                                                                                              \
        .struct_size = sizeof(struct flashvm_pool_stats)                                           \
    }

/* @stats: from FLASHVM_POOL_STATS_INIT; is filled in. */
FLASHVM_API void flashvm_pool_read_stats(struct flashvm_pool *pool,
                                         struct flashvm_pool_stats *stats);

/* ---- what this machine can do ---------------------------------------------------------------- */

struct flashvm_engine_report {
    const char *name; /* "native", "qemu", "krunvm" */
    bool usable;
    const char *accelerator; /* what it would use: "kvm" or "tcg"; NULL when not usable */
    const char *reason;      /* why it is usable, or why not */
    const char *remedy;      /* what to do about it; NULL when nothing needs doing */
};

/* Can images be imported into containers-storage? Strings may be NULL but for `reason`. */
struct flashvm_storage_report {
    const char *tool; /* that imports: "skopeo" or "buildah"; NULL: neither is there */
    bool usable;
    const char *driver; /* of the storage, such as "overlay"; NULL: not known */
    const char *root;   /* its directory; NULL: not known */
    const char *reason; /* why it is usable, or why not */
    const char *remedy; /* what to do about it; NULL when nothing needs doing */
};

/* Read-only, allocated by the library; fields are only ever added at the end. */
struct flashvm_doctor {
    bool krunvm, buildah, skopeo, qemu; /* is the program there? */
    bool kvm;                           /* does /dev/kvm really run a guest? */
    bool offline_mode;                  /* FLASHVM_OFFLINE=1 */
    bool embedded_imported;             /* is the embedded image in the cache? */
    bool ready;                         /* would a run work? */
    const char *note;                   /* one sentence for a person */
    const struct flashvm_engine_report *engines;
    size_t engine_count;
    const char *data_dir;
    const char *cache_dir;
    const struct flashvm_storage_report *containers_storage;
};

FLASHVM_API int flashvm_doctor(struct flashvm *fvm, struct flashvm_doctor **ret_doctor,
                               struct flashvm_error *error);
FLASHVM_API void flashvm_doctor_free(struct flashvm_doctor *doctor);

#ifdef __cplusplus
}
#endif

#endif
