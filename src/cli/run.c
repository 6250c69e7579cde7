/* SPDX-License-Identifier: MIT */
/* flashvm run: one snippet, whose output and exit code become the command's own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/message.h"
#include "cli/option_names.h"
#include "cli/run_arguments.h"
#include "cli/run_help.h"
#include "cli/snippet.h"
#include "cli/text.h"

static void free_result(struct flashvm_result **result)
{
    flashvm_result_free(*result);
}

/* NULL-terminated, for as many paths as there are artifacts. */
static void free_paths(char ***paths)
{
    for (char **path = *paths; path && *path; path++)
        free(*path);
    free(*paths);
}

/* Write bytes as they are, unless a signal ends that. */
static int write_stream(int fd, const char *name, const char *data, size_t size,
                        struct flashvm_error *error)
{
    while (size > 0 && interrupt_signal() == 0) {
        ssize_t count = write(fd, data, size);

        if (count < 0 && errno == EAGAIN) { /* somebody made our terminal or pipe non-blocking */
            struct pollfd room = {.fd = fd, .events = POLLOUT};

            poll(&room, 1, -1);
        } else if (count < 0 && errno != EINTR) {
            return fvm_fail_errno(error, errno, "cannot write to %s", name);
        }
        if (count > 0) {
            data += count;
            size -= (size_t)count;
        }
    }
    return 0;
}

/* Both streams are tried, and the first failure counts. */
static int write_streams(const struct flashvm_result *result, struct flashvm_error *error)
{
    int status = write_stream(STDOUT_FILENO, "standard output", result->stdout_data,
                              result->stdout_size, error);

    if (write_stream(STDERR_FILENO, "standard error", result->stderr_data, result->stderr_size,
                     status == 0 ? error : NULL) < 0)
        status = -1;
    return status;
}

static int write_json(const struct flashvm_result *result, char *const *saved_paths,
                      struct flashvm_error *error)
{
    cleanup_free char *text = NULL;

    if (json_result_text(result, (const char *const *)saved_paths, &text, error) < 0)
        return -1;
    return write_stream(STDOUT_FILENO, "standard output", text, strlen(text), error);
}

static int save_artifacts(const struct flashvm_result *result, const char *directory,
                          char ***ret_paths, struct flashvm_error *error)
{
    __attribute__((cleanup(free_paths))) char **paths =
        calloc(result->artifact_count + 1, sizeof *paths);

    if (paths == NULL)
        return fvm_fail_no_memory(error);
    for (size_t i = 0; i < result->artifact_count && interrupt_signal() == 0; i++)
        if (flashvm_artifact_save(&result->artifacts[i], directory, &paths[i], error) != FLASHVM_OK)
            return -1;
    *ret_paths = steal_pointer(paths);
    return 0;
}

static void note_truncation(const char *name, bool truncated, size_t kept, uint64_t written)
{
    if (truncated)
        show_note("%s was cut: %zu of its %ju bytes are here", name, kept, (uintmax_t)written);
}

static void note_artifact(const struct flashvm_artifact *artifact, const char *saved_path)
{
    const char *path = saved_path ? saved_path : artifact->guest_path;
    cleanup_free char *printable = text_printable(path, strlen(path), false);

    show_note("%s %s (%ju bytes)", saved_path ? "saved" : "artifact", printable ? printable : "?",
              (uintmax_t)artifact->size_bytes);
}

/* What the streams and the exit code do not tell. */
static void show_notes(const struct run_arguments *arguments, const struct flashvm_result *result,
                       char *const *saved_paths)
{
    uint64_t timeout_ms = arguments->options.timeout_ms ? arguments->options.timeout_ms : 30000;

    note_truncation("stdout", result->stdout_truncated, result->stdout_size, result->stdout_bytes);
    note_truncation("stderr", result->stderr_truncated, result->stderr_size, result->stderr_bytes);
    if (result->timed_out)
        show_note("the snippet was ended at its timeout of %g s", (double)timeout_ms / 1000);
    if (result->oom_killed)
        show_note("the snippet was ended because it took all memory; --memory gives it more");
    for (size_t i = 0; i < result->artifact_count; i++)
        note_artifact(&result->artifacts[i], saved_paths ? saved_paths[i] : NULL);
    if (result->artifact_count > 0 && arguments->out_dir == NULL)
        show_note("artifacts are kept only with --out DIR");
    if (arguments->expect[0] && result->artifact_count == 0)
        show_note("no file matches --expect");
    if (result->artifacts_note)
        show_note("not all artifacts are here: %s", result->artifacts_note);
}

static int hand_over(const struct run_arguments *arguments, const struct flashvm_result *result,
                     struct flashvm_error *error)
{
    __attribute__((cleanup(free_paths))) char **saved_paths = NULL;
    int status = 0;

    /* The output first: it must not be lost because a file cannot be saved. */
    if (!arguments->as_json)
        status = write_streams(result, error);
    if (arguments->out_dir &&
        save_artifacts(result, arguments->out_dir, &saved_paths, status == 0 ? error : NULL) < 0)
        status = -1;
    if (arguments->as_json && status == 0)
        status = write_json(result, saved_paths, error);
    if (!arguments->as_json && !arguments->quiet && status == 0 && interrupt_signal() == 0)
        show_notes(arguments, result, saved_paths);
    return status;
}

/* -1 when it is closed: main() has put something in its place that cannot be read. */
static int readable_stdin(void)
{
    int flags = fcntl(STDIN_FILENO, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != O_WRONLY ? STDIN_FILENO : -1;
}

static int run_snippet(struct run_arguments *arguments, struct flashvm_result **ret_result,
                       struct flashvm_error *error)
{
    cleanup_buffer struct fvm_buffer read_code = {0};
    cleanup_library struct library library = {0};
    const char *code = arguments->code;
    size_t code_size = code ? strlen(code) : 0;

    if (code == NULL) {
        if (snippet_read(arguments->file, &read_code, error) < 0)
            return -1;
        code = read_code.data ? read_code.data : "";
        code_size = read_code.size;
    }
    /* The one that the code came from is used up. */
    if (arguments->file == NULL || strcmp(arguments->file, "-") != 0)
        arguments->options.stdin_fd = readable_stdin();
    if (interrupt_catch(error) < 0)
        return -1;
    arguments->options.interrupt_fd = interrupt_fd();
    arguments->options.interrupted = interrupt_came;
    if (library_open(&library, error) != FLASHVM_OK ||
        flashvm_run(library.fvm, &arguments->options, code, code_size, ret_result, error) !=
            FLASHVM_OK)
        return -1;
    return 0;
}

static int run_run(int argc, char **argv)
{
    __attribute__((cleanup(free_result))) struct flashvm_result *result = NULL;
    cleanup_run_arguments struct run_arguments arguments;
    cleanup_error struct flashvm_error error = {0};
    int exit_code = run_arguments_parse(&arguments, argc, argv);

    if (exit_code != 0)
        return exit_code;
    if (arguments.help)
        return command_show_help(&run_command);
    if (run_snippet(&arguments, &result, &error) == 0 &&
        hand_over(&arguments, result, &error) == 0 && interrupt_signal() == 0)
        return result->exit_code;
    if (interrupt_signal() != 0)
        return 128 + interrupt_signal();
    option_names_translate(&error);
    if (arguments.as_json)
        json_show_error(&error);
    return show_failure(&error);
}

const struct command run_command = {
    .name = "run",
    .summary = "run a Python snippet in a fresh microVM",
    .help = run_help,
    .run = run_run,
};
