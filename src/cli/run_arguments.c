/* SPDX-License-Identifier: MIT */
#include "cli/run_arguments.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/message.h"

enum { MAX_TIMEOUT_SECONDS = 365 * 24 * 3600 };

enum option_key {
    OPTION_CODE = 'c',
    OPTION_HELP = 'h',
    OPTION_QUIET = 'q',
    OPTION_BOOT_TIMEOUT = 256,
    OPTION_COLD_BOOT,
    OPTION_ENGINE,
    OPTION_ENV,
    OPTION_EXPECT,
    OPTION_IMAGE,
    OPTION_IN,
    OPTION_JSON,
    OPTION_NETWORK,
    OPTION_OUT,
    OPTION_PORT,
    OPTION_PYTHON_ARG,
    OPTION_TIMEOUT,
    OPTION_WORKDIR,
    /* Those whose number goes as it is into a field: see `numbers`. */
    OPTION_CPUS,
    OPTION_MEMORY,
    OPTION_MAX_PROCESSES,
    OPTION_MAX_DISK,
    OPTION_MAX_STDOUT,
    OPTION_MAX_STDERR,
    OPTION_MAX_ARTIFACTS,
    OPTION_MAX_ARTIFACT_BYTES,
    OPTION_MAX_FILES_IN,
    OPTION_MAX_FILES_IN_BYTES,
    OPTION_END,
};

static const struct option long_options[] = {
    {"boot-timeout", required_argument, NULL, OPTION_BOOT_TIMEOUT},
    {"code", required_argument, NULL, OPTION_CODE},
    {"cold-boot", no_argument, NULL, OPTION_COLD_BOOT},
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"engine", required_argument, NULL, OPTION_ENGINE},
    {"env", required_argument, NULL, OPTION_ENV},
    {"expect", required_argument, NULL, OPTION_EXPECT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"image", required_argument, NULL, OPTION_IMAGE},
    {"in", required_argument, NULL, OPTION_IN},
    {"json", no_argument, NULL, OPTION_JSON},
    {"max-artifact-bytes", required_argument, NULL, OPTION_MAX_ARTIFACT_BYTES},
    {"max-artifacts", required_argument, NULL, OPTION_MAX_ARTIFACTS},
    {"max-disk", required_argument, NULL, OPTION_MAX_DISK},
    {"max-files-in", required_argument, NULL, OPTION_MAX_FILES_IN},
    {"max-files-in-bytes", required_argument, NULL, OPTION_MAX_FILES_IN_BYTES},
    {"max-processes", required_argument, NULL, OPTION_MAX_PROCESSES},
    {"max-stderr", required_argument, NULL, OPTION_MAX_STDERR},
    {"max-stdout", required_argument, NULL, OPTION_MAX_STDOUT},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"network", no_argument, NULL, OPTION_NETWORK},
    {"out", required_argument, NULL, OPTION_OUT},
    {"port", required_argument, NULL, OPTION_PORT},
    {"python-arg", required_argument, NULL, OPTION_PYTHON_ARG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"workdir", required_argument, NULL, OPTION_WORKDIR},
    {0},
};

/* What the number of an option goes into, and what it may be. */
static const struct number {
    const char *option;
    size_t offset; /* in flashvm_run_options */
    bool is_wide;  /* uint64_t, else unsigned */
    uint64_t low, high;
} numbers[] = {
#define NUMBER(key, option, field, low, high)                                                      \
    [(key)-OPTION_CPUS] = {option, offsetof(struct flashvm_run_options, field),                    \
                           sizeof((struct flashvm_run_options *)0)->field == 8, low, high}
    NUMBER(OPTION_CPUS, "--cpus", cpus, 1, 64),
    NUMBER(OPTION_MEMORY, "--memory", memory_mb, 128, 1048576),
    NUMBER(OPTION_MAX_PROCESSES, "--max-processes", max_processes, 8, 32768),
    NUMBER(OPTION_MAX_DISK, "--max-disk", max_disk_mb, 1, 1048576),
    NUMBER(OPTION_MAX_STDOUT, "--max-stdout", max_stdout_bytes, 1, INT64_MAX),
    NUMBER(OPTION_MAX_STDERR, "--max-stderr", max_stderr_bytes, 1, INT64_MAX),
    NUMBER(OPTION_MAX_ARTIFACTS, "--max-artifacts", max_artifacts, 1, UINT32_MAX),
    NUMBER(OPTION_MAX_ARTIFACT_BYTES, "--max-artifact-bytes", max_artifact_bytes, 1, INT64_MAX),
    NUMBER(OPTION_MAX_FILES_IN, "--max-files-in", max_files_in, 1, UINT32_MAX),
    NUMBER(OPTION_MAX_FILES_IN_BYTES, "--max-files-in-bytes", max_files_in_bytes, 1, INT64_MAX),
#undef NUMBER
};
static_assert(sizeof numbers / sizeof *numbers == OPTION_END - OPTION_CPUS, "one for each option");

/* A number of digits only, within its bounds. Return: 0 or the exit code after a message. */
static int parse_number(const struct number *number, const char *text,
                        struct flashvm_run_options *options)
{
    char *field = (char *)options + number->offset;
    uint64_t value;

    errno = 0;
    value = strtoull(text, NULL, 10);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0 ||
        value < number->low || value > number->high)
        return command_usage_error(
            &run_command, "%s must be a whole number from %ju to %ju, not '%s'", number->option,
            (uintmax_t)number->low, (uintmax_t)number->high, text);
    if (number->is_wide)
        *(uint64_t *)(void *)field = value;
    else
        *(unsigned *)(void *)field = (unsigned)value;
    return 0;
}

static int parse_timeout(const char *option, const char *text, uint64_t *ret_timeout_ms)
{
    char *end;
    double seconds = strtod(text, &end);

    /* Digits and a point only: strtod() also takes "inf", "nan" and hexadecimal. */
    if (*text == '\0' || text[strspn(text, "0123456789.")] != '\0' || *end != '\0' ||
        !(seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS))
        return command_usage_error(&run_command,
                                   "%s must be a number of seconds above 0 and up to %d, not '%s'",
                                   option, MAX_TIMEOUT_SECONDS, text);
    *ret_timeout_ms = (uint64_t)ceil(seconds * 1000);
    return 0;
}

static int fail_no_memory(void)
{
    show_error("the host is out of memory");
    return FLASHVM_IO;
}

/* There is room for as many strings as argv has. */
static void append_string(const char **strings, const char *string)
{
    while (*strings)
        strings++;
    *strings = string;
}

static int parse_env(const char **env, const char *text)
{
    if (*text == '=' || strchr(text, '=') == NULL)
        return command_usage_error(&run_command, "--env must be NAME=VALUE, not '%s'", text);
    append_string(env, text);
    return 0;
}

/* HOST or HOST:GUEST. A HOST that has colons needs a GUEST. */
static int parse_file_in(struct run_arguments *arguments, const char *text)
{
    struct flashvm_file_in *file = &arguments->files_in[arguments->options.file_in_count];
    char *host_path = strdup(text), *colon, *name;

    if (host_path == NULL)
        return fail_no_memory();
    file->host_path = host_path;
    arguments->options.file_in_count++;
    colon = strrchr(host_path, ':');
    if (colon) {
        *colon = '\0';
        file->guest_path = colon + 1;
    } else {
        for (size_t end = strlen(host_path); end > 1 && host_path[end - 1] == '/'; end--)
            host_path[end - 1] = '\0';
        name = strrchr(host_path, '/');
        file->guest_path = name ? name + 1 : host_path;
    }
    if (*host_path == '\0' || *file->guest_path == '\0' || strcmp(file->guest_path, ".") == 0 ||
        strcmp(file->guest_path, "..") == 0)
        return command_usage_error(
            &run_command,
            "--in must be HOST or HOST:GUEST, as in 'data.csv:input/data.csv', not '%s'", text);
    return 0;
}

/* Take one option. Return: 0 or the exit code after a message. */
static int take_option(struct run_arguments *arguments, int key, char **argv)
{
    struct flashvm_run_options *options = &arguments->options;

    if (key >= OPTION_CPUS && key < OPTION_END)
        return parse_number(&numbers[key - OPTION_CPUS], optarg, options);
    switch (key) {
    case OPTION_BOOT_TIMEOUT:
        return parse_timeout("--boot-timeout", optarg, &options->boot_timeout_ms);
    case OPTION_CODE:
        if (arguments->code)
            return command_usage_error(&run_command, "-c can be given only once");
        arguments->code = optarg;
        return 0;
    case OPTION_COLD_BOOT:
        options->cold_boot = true;
        return 0;
    case OPTION_HELP:
        arguments->help = true;
        return 0;
    case OPTION_QUIET:
        arguments->quiet = true;
        return 0;
    case OPTION_ENGINE:
        options->engine = optarg;
        return 0;
    case OPTION_ENV:
        return parse_env(arguments->env, optarg);
    case OPTION_EXPECT:
        if (*optarg == '\0')
            return command_usage_error(&run_command, "--expect must be a glob such as 'out/*.txt'");
        append_string(arguments->expect, optarg);
        return 0;
    case OPTION_IMAGE:
        options->image = optarg;
        return 0;
    case OPTION_IN:
        return parse_file_in(arguments, optarg);
    case OPTION_JSON:
        arguments->as_json = true;
        return 0;
    case OPTION_NETWORK:
        options->network = true;
        return 0;
    case OPTION_OUT:
        if (*optarg == '\0')
            return command_usage_error(&run_command, "--out must be a directory, not ''");
        arguments->out_dir = optarg;
        return 0;
    case OPTION_PORT:
        append_string(arguments->ports, optarg);
        return 0;
    case OPTION_PYTHON_ARG:
        append_string(arguments->python_args, optarg);
        return 0;
    case OPTION_TIMEOUT:
        return parse_timeout("--timeout", optarg, &options->timeout_ms);
    case OPTION_WORKDIR:
        if (*optarg != '/')
            return command_usage_error(
                &run_command, "--workdir must be an absolute path in the guest, not '%s'", optarg);
        options->workdir = optarg;
        return 0;
    default:
        return command_option_error(&run_command, key, long_options, argv);
    }
}

/*
 * What is left after the options: where the snippet is, unless -c said it, and its arguments. As
 * for python3 itself.
 */
static int take_source(struct run_arguments *arguments, const char *const *values)
{
    if (arguments->code == NULL && *values == NULL && isatty(STDIN_FILENO))
        return command_usage_error(&run_command,
                                   "no snippet: give -c CODE, a file, or '-' for standard input");
    if (arguments->code == NULL)
        arguments->file = *values ? *values++ : "-";
    if (arguments->file && *arguments->file == '\0')
        return command_usage_error(&run_command, "the snippet's file has an empty name; give -c "
                                                 "CODE, a file, or '-' for standard input");
    arguments->options.args = values;
    if (arguments->out_dir && arguments->expect[0] == NULL)
        return command_usage_error(
            &run_command,
            "--out saves artifacts; say which ones, with --expect 'out/*' for example");
    return 0;
}

int run_arguments_parse(struct run_arguments *arguments, int argc, char **argv)
{
    size_t room = (size_t)argc + 1;
    int key, exit_code = 0;

    *arguments = (struct run_arguments){.options = FLASHVM_RUN_OPTIONS_INIT};
    arguments->env = calloc(room, sizeof *arguments->env);
    arguments->expect = calloc(room, sizeof *arguments->expect);
    arguments->ports = calloc(room, sizeof *arguments->ports);
    arguments->python_args = calloc(room, sizeof *arguments->python_args);
    arguments->files_in = calloc(room, sizeof *arguments->files_in);
    if (arguments->env == NULL || arguments->expect == NULL || arguments->ports == NULL ||
        arguments->python_args == NULL || arguments->files_in == NULL)
        return fail_no_memory();
    while (exit_code == 0 && !arguments->help &&
           (key = getopt_long(argc, argv, ":c:hq", long_options, NULL)) != -1)
        exit_code = take_option(arguments, key, argv);
    if (exit_code == 0 && !arguments->help)
        exit_code = take_source(arguments, (const char *const *)argv + optind);
    arguments->options.env = arguments->env;
    arguments->options.expect = arguments->expect;
    arguments->options.ports = arguments->ports;
    arguments->options.files_in = arguments->files_in;
    if (arguments->python_args[0])
        arguments->options.python_args = arguments->python_args;
    return exit_code;
}

void run_arguments_finish(struct run_arguments *arguments)
{
    free(arguments->env);
    free(arguments->expect);
    free(arguments->ports);
    free(arguments->python_args);
    for (size_t i = 0; i < arguments->options.file_in_count; i++)
        free((char *)arguments->files_in[i].host_path); /* its guest_path is in the same string */
    free(arguments->files_in);
}
