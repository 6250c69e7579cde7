/* SPDX-License-Identifier: MIT */
#include "cli/run_arguments.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
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
    OPTION_CPUS = 256,
    OPTION_ENGINE,
    OPTION_ENV,
    OPTION_EXPECT,
    OPTION_IMAGE,
    OPTION_JSON,
    OPTION_MEMORY,
    OPTION_OUT,
    OPTION_PYTHON_ARG,
    OPTION_TIMEOUT,
    OPTION_WORKDIR,
};

static const struct option long_options[] = {
    {"code", required_argument, NULL, OPTION_CODE},
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"engine", required_argument, NULL, OPTION_ENGINE},
    {"env", required_argument, NULL, OPTION_ENV},
    {"expect", required_argument, NULL, OPTION_EXPECT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"image", required_argument, NULL, OPTION_IMAGE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"out", required_argument, NULL, OPTION_OUT},
    {"python-arg", required_argument, NULL, OPTION_PYTHON_ARG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"workdir", required_argument, NULL, OPTION_WORKDIR},
    {0},
};

/* A number of digits only, within its bounds. Return: 0 or the exit code after a message. */
static int parse_count(const char *option, const char *text, unsigned low, unsigned high,
                       unsigned *ret_count)
{
    unsigned long long count;

    errno = 0;
    count = strtoull(text, NULL, 10);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0 || count < low ||
        count > high)
        return command_usage_error(&run_command,
                                   "%s must be a whole number from %u to %u, not '%s'", option, low,
                                   high, text);
    *ret_count = (unsigned)count;
    return 0;
}

static int parse_timeout(const char *text, uint64_t *ret_timeout_ms)
{
    char *end;
    double seconds = strtod(text, &end);

    /* Digits and a point only: strtod() also takes "inf", "nan" and hexadecimal. */
    if (*text == '\0' || text[strspn(text, "0123456789.")] != '\0' || *end != '\0' ||
        !(seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS))
        return command_usage_error(
            &run_command, "--timeout must be a number of seconds above 0 and up to %d, not '%s'",
            MAX_TIMEOUT_SECONDS, text);
    *ret_timeout_ms = (uint64_t)ceil(seconds * 1000);
    return 0;
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

/* Take one option. Return: 0 or the exit code after a message. */
static int take_option(struct run_arguments *arguments, int key, char **argv)
{
    struct flashvm_run_options *options = &arguments->options;

    switch (key) {
    case OPTION_CODE:
        if (arguments->code)
            return command_usage_error(&run_command, "-c can be given only once");
        arguments->code = optarg;
        return 0;
    case OPTION_HELP:
        arguments->help = true;
        return 0;
    case OPTION_QUIET:
        arguments->quiet = true;
        return 0;
    case OPTION_CPUS:
        return parse_count("--cpus", optarg, 1, 64, &options->cpus);
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
    case OPTION_JSON:
        arguments->as_json = true;
        return 0;
    case OPTION_MEMORY:
        return parse_count("--memory", optarg, 128, 1048576, &options->memory_mb);
    case OPTION_OUT:
        if (*optarg == '\0')
            return command_usage_error(&run_command, "--out must be a directory, not ''");
        arguments->out_dir = optarg;
        return 0;
    case OPTION_PYTHON_ARG:
        append_string(arguments->python_args, optarg);
        return 0;
    case OPTION_TIMEOUT:
        return parse_timeout(optarg, &options->timeout_ms);
    case OPTION_WORKDIR:
        if (*optarg != '/')
            return command_usage_error(
                &run_command, "--workdir must be an absolute path in the guest, not '%s'", optarg);
        options->workdir = optarg;
        return 0;
    default:
        return command_option_error(&run_command, key, argv);
    }
}

/* What is left after the options says where the snippet is. */
static int take_source(struct run_arguments *arguments, int count, char **values)
{
    if (arguments->code && count > 0)
        return command_usage_error(&run_command, "give either -c or a file, not both: '%s'",
                                   values[0]);
    if (count > 1)
        return command_usage_error(&run_command, "'%s' is one argument too many", values[1]);
    arguments->file = count > 0 ? values[0] : "-";
    if (arguments->code == NULL && count == 0 && isatty(STDIN_FILENO))
        return command_usage_error(&run_command,
                                   "no snippet: give -c CODE, a file, or '-' for standard input");
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
    arguments->python_args = calloc(room, sizeof *arguments->python_args);
    if (arguments->env == NULL || arguments->expect == NULL || arguments->python_args == NULL) {
        show_error("the host is out of memory");
        return FLASHVM_IO;
    }
    while (exit_code == 0 && !arguments->help &&
           (key = getopt_long(argc, argv, ":c:hq", long_options, NULL)) != -1)
        exit_code = take_option(arguments, key, argv);
    if (exit_code == 0 && !arguments->help)
        exit_code = take_source(arguments, argc - optind, argv + optind);
    arguments->options.env = arguments->env;
    arguments->options.expect = arguments->expect;
    if (arguments->python_args[0])
        arguments->options.python_args = arguments->python_args;
    return exit_code;
}

void run_arguments_finish(struct run_arguments *arguments)
{
    free(arguments->env);
    free(arguments->expect);
    free(arguments->python_args);
}
