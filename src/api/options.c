/* SPDX-License-Identifier: MIT */
#include "api/options.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/guest_path.h"
#include "api/library.h"
#include "base/cleanup.h"
#include "base/json.h"

enum { CPUS_MAX = 64 };
enum { MEMORY_MB_MIN = 128, MEMORY_MB_MAX = 1024 * 1024 };
enum { CODE_MAX = 64 * 1024 * 1024 };
enum { PATH_BYTES_MAX = 4095 };
/* As many as the guest has numbers for. */
enum { MAX_PROCESSES_MIN = 8, MAX_PROCESSES_MAX = 32768 };
/* One string: execve(2), "Limits on size of arguments and environment". */
enum { STRINGS_MAX = 4000, STRINGS_BYTES_MAX = 1024 * 1024, STRING_BYTES_MAX = 131071 };

static const uint64_t TIMEOUT_MS_MAX = 365ULL * 24 * 3600 * 1000;
static const uint64_t DEFAULT_TIMEOUT_MS = 30 * 1000;
static const uint64_t DEFAULT_BOOT_TIMEOUT_MS = 90 * 1000;
static const uint64_t DEFAULT_OUTPUT_BYTES = 64ULL << 20;
static const uint64_t DEFAULT_FILE_BYTES = 256ULL << 20; /* of artifacts, and of files in */
enum { DEFAULT_PROCESSES = 4096, DEFAULT_ARTIFACTS = 1000, DEFAULT_FILES_IN = 10000 };

static const char *const no_strings[] = {NULL};
static const char *const default_python_args[] = {"-u", NULL};

/* Emulated guests on a busy machine are slow. */
static const uint64_t START_TIMEOUT_MS = 60 * 1000;
static const uint64_t GRACE_MS = 15 * 1000;
static const uint64_t COLLECT_TIMEOUT_MS = 300 * 1000;

static int check_timeout(const char *name, uint64_t given_ms, uint64_t default_ms,
                         uint64_t *ret_timeout_ms, struct flashvm_error *error)
{
    if (given_ms > TIMEOUT_MS_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "%s is %ju; it can be up to %ju (a year)",
                        name, (uintmax_t)given_ms, (uintmax_t)TIMEOUT_MS_MAX);
    *ret_timeout_ms = given_ms ? given_ms : default_ms;
    return 0;
}

static int check_timeouts(const struct flashvm_run_options *options, struct fvm_run_spec *spec,
                          struct flashvm_error *error)
{
    spec->start_timeout_ms = START_TIMEOUT_MS;
    spec->grace_ms = GRACE_MS;
    spec->collect_timeout_ms = COLLECT_TIMEOUT_MS;
    if (check_timeout("timeout_ms", options->timeout_ms, DEFAULT_TIMEOUT_MS, &spec->timeout_ms,
                      error) < 0 ||
        check_timeout("boot_timeout_ms", options->boot_timeout_ms, DEFAULT_BOOT_TIMEOUT_MS,
                      &spec->boot_timeout_ms, error) < 0)
        return -1;
    return 0;
}

static uint64_t or_default(uint64_t given, uint64_t default_value)
{
    return given ? given : default_value;
}

static int check_limits(const struct flashvm_run_options *options, struct fvm_run_spec *spec,
                        struct flashvm_error *error)
{
    spec->max_processes = (uint32_t)or_default(options->max_processes, DEFAULT_PROCESSES);
    spec->max_disk_bytes = (uint64_t)options->max_disk_mb << 20;
    spec->max_stdout_bytes = or_default(options->max_stdout_bytes, DEFAULT_OUTPUT_BYTES);
    spec->max_stderr_bytes = or_default(options->max_stderr_bytes, DEFAULT_OUTPUT_BYTES);
    spec->max_artifacts = (uint32_t)or_default(options->max_artifacts, DEFAULT_ARTIFACTS);
    spec->max_artifact_bytes = or_default(options->max_artifact_bytes, DEFAULT_FILE_BYTES);
    if (spec->max_artifact_bytes > INT64_MAX)
        spec->max_artifact_bytes = INT64_MAX; /* what the request can say */
    if (spec->max_processes < MAX_PROCESSES_MIN || spec->max_processes > MAX_PROCESSES_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "max_processes is %u; it can be %d to %d",
                        spec->max_processes, MAX_PROCESSES_MIN, MAX_PROCESSES_MAX);
    if (options->max_disk_mb > MEMORY_MB_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "max_disk_mb is %u; it can be 1 to %d",
                        options->max_disk_mb, MEMORY_MB_MAX);
    return 0;
}

static int check_numbers(const struct flashvm_run_options *options, struct fvm_run_spec *spec,
                         struct flashvm_error *error)
{
    spec->cpus = options->cpus ? options->cpus : 1;
    spec->memory_mb = options->memory_mb ? options->memory_mb : 512;
    if (spec->cpus > CPUS_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "cpus is %u; it can be 1 to %d",
                        spec->cpus, CPUS_MAX);
    if (spec->memory_mb < MEMORY_MB_MIN || spec->memory_mb > MEMORY_MB_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "memory_mb is %u; it can be %d to %d",
                        spec->memory_mb, MEMORY_MB_MIN, MEMORY_MB_MAX);
    if (check_limits(options, spec, error) < 0)
        return -1;
    return check_timeouts(options, spec, error);
}

/* These travel to the guest as JSON. */
static int check_utf8(const char *name, const char *text, struct flashvm_error *error)
{
    cleanup_json json_t *json = json_string(text);

    if (json == NULL)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "%s has \"%.200s\"; it must be valid UTF-8", name, text);
    return 0;
}

static int check_list(const char *name, const char *const *list, struct flashvm_error *error)
{
    size_t count = 0, bytes = 0;

    for (; list[count]; count++) {
        size_t size = strlen(list[count]);

        bytes += size + 1;
        if (check_utf8(name, list[count], error) < 0)
            return -1;
        if (size > STRING_BYTES_MAX)
            return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                            "%s has a string of %zu bytes, \"%.60s…\"; the limit is %d, what Linux "
                            "can hand to a program; files_in and stdin take more",
                            name, size, list[count], STRING_BYTES_MAX);
    }
    if (count > STRINGS_MAX || bytes > STRINGS_BYTES_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "%s has %zu entries of %zu bytes together; the limits are %d and %d", name,
                        count, bytes, STRINGS_MAX, STRINGS_BYTES_MAX);
    return 0;
}

static int check_env(const char *const *env, struct flashvm_error *error)
{
    if (check_list("env", env, error) < 0)
        return -1;
    for (size_t i = 0; env[i]; i++)
        if (env[i][0] == '=' || strchr(env[i], '=') == NULL)
            return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                            "env has the entry \"%s\"; it must have the form NAME=value", env[i]);
    return 0;
}

static int check_workdir(const char *workdir, struct flashvm_error *error)
{
    if (workdir == NULL)
        return 0;
    if (check_utf8("workdir", workdir, error) < 0)
        return -1;
    if (workdir[0] != '/' || strlen(workdir) > PATH_BYTES_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "workdir is \"%.200s\"; it must be an absolute path of at most %d bytes",
                        workdir, PATH_BYTES_MAX);
    return 0;
}

/* Return: the glob relative to /work, to be freed; NULL with the error set. */
static char *normalise_glob(const char *glob, struct flashvm_error *error)
{
    cleanup_free char *relative = NULL;
    int outcome = fvm_guest_path_below("/work/", glob, &relative);

    if (outcome < 0)
        fvm_fail_no_memory(error);
    else if (outcome > 0 || strlen(relative) > PATH_BYTES_MAX)
        fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                 "expect has \"%.200s\"; a glob is relative to /work, or absolute below it, "
                 "without \"..\", of at most %d bytes",
                 glob, PATH_BYTES_MAX);
    else
        return steal_pointer(relative);
    return NULL;
}

static int check_expect(const char *const *expect, struct fvm_checked_options *checked,
                        struct flashvm_error *error)
{
    size_t count = 0;

    if (check_list("expect", expect, error) < 0)
        return -1;
    while (expect[count])
        count++;
    checked->expect = calloc(count + 1, sizeof *checked->expect);
    if (checked->expect == NULL)
        return fvm_fail_no_memory(error);
    for (size_t i = 0; i < count; i++) {
        checked->expect[i] = normalise_glob(expect[i], error);
        if (checked->expect[i] == NULL)
            return -1;
    }
    return 0;
}

static int check_interrupt_fd(int fd, struct flashvm_error *error)
{
    if (fd >= 0 && fcntl(fd, F_GETFD) < 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "interrupt_fd is %d, which is not open",
                        fd);
    return 0;
}

static int check_files_in(struct fvm_checked_options *checked, struct flashvm_error *error)
{
    const struct flashvm_run_options *options = &checked->options;
    uint32_t max_files = (uint32_t)or_default(options->max_files_in, DEFAULT_FILES_IN);
    uint64_t max_bytes = or_default(options->max_files_in_bytes, DEFAULT_FILE_BYTES);

    if (fvm_files_in_collect(options->files_in, options->file_in_count, max_files, max_bytes,
                             &checked->files_in, error) < 0)
        return -1;
    if (checked->files_in.bytes > (uint64_t)checked->spec.memory_mb << 19)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "files_in has %ju bytes, but a guest with a memory_mb of %u holds at most "
                        "half of that in files; raise memory_mb",
                        (uintmax_t)checked->files_in.bytes, checked->spec.memory_mb);
    checked->spec.files_in = checked->files_in.files;
    checked->spec.file_in_count = checked->files_in.count;
    checked->spec.files_in_bytes = checked->files_in.bytes;
    return 0;
}

static int check_network(const struct flashvm_run_options *options, struct flashvm_error *error)
{
    if (options->network || (options->ports && options->ports[0]))
        return fvm_fail(error, FLASHVM_UNSUPPORTED,
                        "%s is not supported yet: a microVM has no network but its own loopback; "
                        "give the snippet what it needs with files_in, and take files out with "
                        "expect",
                        options->network ? "network" : "ports");
    return 0;
}

/* Nothing is ever run with an input other than the one that was asked for. */
static int check_stdin(int fd, struct flashvm_error *error)
{
    int flags = fd < 0 ? O_RDONLY : fcntl(fd, F_GETFL);
    struct stat status;

    if (flags < 0 || flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                        "stdin_fd is %d, which is not open for reading", fd);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "stdin_fd is %d, which is a directory",
                        fd);
    return 0;
}

static int check(struct fvm_checked_options *checked, const char *code, size_t code_size,
                 struct flashvm_error *error)
{
    const struct flashvm_run_options *options = &checked->options;
    struct fvm_run_spec *spec = &checked->spec;

    *spec = (struct fvm_run_spec){
        .engine = options->engine ? options->engine : "auto",
        .workdir = options->workdir,
        .env = options->env ? options->env : no_strings,
        .python_args = options->python_args ? options->python_args : default_python_args,
        .stdin_fd = options->stdin_fd < 0 ? -1 : options->stdin_fd,
        .args = options->args ? options->args : no_strings,
        .caller =
            {
                .interrupt_fd = options->interrupt_fd,
                .interrupted = options->interrupted,
                .interrupted_data = options->interrupted_data,
            },
        .code = code,
        .code_size = code_size,
        .cold_boot = options->cold_boot,
    };
    if (code == NULL && code_size > 0)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "code is NULL");
    if (code_size > CODE_MAX)
        return fvm_fail(error, FLASHVM_INVALID_ARGUMENT, "code has %zu bytes; the limit is %d",
                        code_size, CODE_MAX);
    if (check_numbers(options, spec, error) < 0 || check_env(spec->env, error) < 0 ||
        check_list("python_args", spec->python_args, error) < 0 ||
        check_list("args", spec->args, error) < 0 || check_workdir(spec->workdir, error) < 0 ||
        check_network(options, error) < 0 || check_stdin(options->stdin_fd, error) < 0 ||
        check_interrupt_fd(options->interrupt_fd, error) < 0 ||
        check_expect(options->expect ? options->expect : no_strings, checked, error) < 0 ||
        check_files_in(checked, error) < 0)
        return -1;
    spec->expect = (const char *const *)checked->expect;
    return 0;
}

int fvm_options_check(const struct flashvm_run_options *given, const char *code, size_t code_size,
                      struct fvm_checked_options *ret_checked, struct flashvm_error *error)
{
    struct fvm_checked_options checked = {.options = FLASHVM_RUN_OPTIONS_INIT};

    if (given && fvm_options_copy(&checked.options, sizeof checked.options, given,
                                  given->struct_size, "flashvm_run_options", error) < 0)
        return -1;
    if (check(&checked, code, code_size, error) < 0) {
        fvm_checked_options_finish(&checked);
        return -1;
    }
    *ret_checked = checked;
    return 0;
}

void fvm_checked_options_finish(struct fvm_checked_options *checked)
{
    for (char **glob = checked->expect; glob && *glob; glob++)
        free(*glob);
    free(checked->expect);
    checked->expect = NULL;
    fvm_files_in_finish(&checked->files_in);
}
