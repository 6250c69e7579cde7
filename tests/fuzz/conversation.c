/* SPDX-License-Identifier: MIT */
/*
 * The host's side of a conversation with a guest that says whatever it likes: the host ends it with
 * an error or with a result that keeps to the limits, and no file is anywhere but in the result's
 * directory.
 *
 * Input: a byte of flags, a byte that chooses the pieces in which the bytes come, two bytes with the
 * numbers of bytes that the guest says while it boots and while it rehearses (0: that part is left
 * out), then all that the guest says. The guest has said everything, and is gone, before the host
 * listens, so nothing ever waits.
 */
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/qemu.h"
#include "protocol/frame.h"
#include "run/conversation.h"

enum flags {
    WITH_ARTIFACTS = 1,
    OUT_OF_TIME = 2, /* as soon as the snippet has begun */
    NOISY = 4,       /* console and log say the same as the guest */
    TEMPLATE = 8,    /* boots and rehearses to become one */
    IMAGES_WORKDIR = 16,
};

enum { OUTPUT_MAX = 100, ARTIFACTS_MAX = 4, ARTIFACT_BYTES_MAX = 100, LONG_MS = 1000000 };

static struct fvm_vm vm;
static int channel_fd, console_fd, log_fd; /* the guest's ends */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int control[2], console[2], log[2];

    (void)argc, (void)argv;
    setenv("TMPDIR", scratch_directory(), 1);
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, control) == 0 && close(control[1]) == 0);
    must(pipe2(console, O_NONBLOCK) == 0 && pipe2(log, O_NONBLOCK) == 0);
    vm = (struct fvm_vm){
        .engine = &fvm_engine_qemu,

        .control_fd = control[0],
        .console_fd = console[0],
        .log_fd = log[0],
        .channel_fd = -1,
        .monitor_fd = -1,
    };
    console_fd = console[1];
    log_fd = log[1];
    return 0;
}

/* Packets, so that each piece comes by itself; what does not fit into the socket is not said. */
static void connect_channel(void)
{
    int ends[2];

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0);
    vm.channel_fd = ends[0];
    channel_fd = ends[1];
}

static void say(struct input words, struct pieces pieces, bool noisy)
{
    if (noisy && words.left > 0)
        must(write(console_fd, words.next, words.left < PIPE_BUF ? words.left : PIPE_BUF) > 0 &&
             write(log_fd, words.next, words.left < PIPE_BUF ? words.left : PIPE_BUF) > 0);
    while (words.left > 0) {
        struct input piece = input_part(&words, next_piece(&pieces, words.left));

        if (send(channel_fd, piece.next, piece.left, MSG_NOSIGNAL) < 0)
            break;
    }
}

static void drain(int fd)
{
    char chunk[PIPE_BUF];

    while (read(fd, chunk, sizeof chunk) > 0)
        ;
}

/* ---- what a result may be -------------------------------------------------------------------- */

static void check_artifact(const struct fvm_result *result, const struct flashvm_artifact *artifact)
{
    cleanup_free char *path = fvm_format("%s/%s", result->directory, artifact->guest_path);
    cleanup_free char *data = NULL;
    struct sha256_ctx sha256;
    char hex[FVM_SHA256_HEX_SIZE];
    size_t size;

    must(path && strcmp(path, artifact->host_path) == 0);
    must(fvm_file_path_is_safe(artifact->guest_path, strlen(artifact->guest_path)));
    must(fvm_read_file(path, ARTIFACT_BYTES_MAX, &data, &size, NULL) == 0);
    must(size == artifact->size_bytes);
    sha256_init(&sha256);
    sha256_update(&sha256, size, (uint8_t *)data);
    fvm_sha256_hex(&sha256, hex);
    must(strcmp(hex, artifact->sha256) == 0);
}

static void check_result(struct fvm_result *result)
{
    const struct flashvm_result *public = &result->public;
    uint64_t bytes = 0;

    fvm_result_complete(result);
    must(public->exit_code >= 0 && public->exit_code <= 255);
    must(public->term_signal >= 0 && public->term_signal <= 64);
    must(public->reseeded || (public->started && public->timed_out));
    must(public->stdout_size <= OUTPUT_MAX && public->stdout_size <= public->stdout_bytes);
    must(public->stderr_size <= OUTPUT_MAX && public->stderr_size <= public->stderr_bytes);
    must(public->artifact_count <= ARTIFACTS_MAX && result->file_fd < 0);
    for (size_t i = 0; i < public->artifact_count; i++) {
        check_artifact(result, &public->artifacts[i]);
        bytes += public->artifacts[i].size_bytes;
    }
    must(bytes <= ARTIFACT_BYTES_MAX);
}

static void check_nothing_is_left(void)
{
    cleanup_dir DIR *directory = opendir(scratch_directory());
    struct dirent *entry;

    must(directory);
    while ((entry = readdir(directory)) != NULL)
        must(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
}

/* ---- the conversation ------------------------------------------------------------------------ */

static void check_error(struct flashvm_error *error)
{
    must(error->status == FLASHVM_BOOT_FAILED || error->status == FLASHVM_GUEST_FAILED ||
         error->status == FLASHVM_IMAGE_INVALID || error->status == FLASHVM_INVALID_ARGUMENT);
    must(error->message && error->message[0]);
    flashvm_error_finish(error);
}

/* Takes over the error. Return: is there none? */
static bool went_well(int outcome, struct flashvm_error *error)
{
    if (outcome < 0)
        check_error(error);
    return outcome == 0;
}

static bool boot(struct fvm_caller *caller, uint8_t flags)
{
    const struct fvm_image image = {
        .reference = (char *)"fuzz:image",
        .python = (char *)"/bin/python3",
        .config = {.env = (char *[]){(char *)"PATH=/bin", NULL}, .user = (char *)"1000"},
    };
    struct flashvm_error error = {0};
    int outcome = fvm_conversation_boot(&vm, &image, flags & TEMPLATE, LONG_MS, caller, &error);

    return went_well(outcome, &error);
}

static bool rehearse(struct fvm_caller *caller, uint8_t flags)
{
    enum fvm_rehearsal kind =
        flags & TEMPLATE ? FVM_REHEARSAL_OF_A_TEMPLATE : FVM_REHEARSAL_OF_A_COPY;
    struct flashvm_error error = {0};
    int outcome = fvm_conversation_rehearse(&vm, kind, LONG_MS, caller, &error);

    return went_well(outcome, &error);
}

static void run(struct fvm_run_spec *spec, bool reseed)
{
    struct fvm_result *result = fvm_result_new();
    struct flashvm_error error = {0};

    must(result);
    if (spec->expect[0])
        must(fvm_result_make_directory(result, NULL) == 0);
    if (went_well(fvm_conversation_run(&vm, spec, reseed, result, &error), &error))
        check_result(result);
    fvm_result_free(result);
}

/* Every part of it, as long as all goes well. */
static void converse(struct input input, uint8_t flags, struct fvm_run_spec *spec)
{
    struct pieces pieces = {input_byte(&input)};
    uint8_t boot_size = input_byte(&input), rehearsal_size = input_byte(&input);

    if (boot_size > 0) {
        say(input_part(&input, boot_size), pieces, flags & NOISY);
        if (!boot(&spec->caller, flags))
            return;
    }
    if (rehearsal_size > 0) {
        say(input_part(&input, rehearsal_size), pieces, flags & NOISY);
        if (!rehearse(&spec->caller, flags))
            return;
    }
    say(input, pieces, flags & NOISY);
    shutdown(channel_fd, SHUT_WR);
    run(spec, rehearsal_size == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const nothing[] = {NULL}, *const everything[] = {"**", NULL};
    struct input input = input_of(data, size);
    uint8_t flags = input_byte(&input);
    struct fvm_run_spec spec = {
        .timeout_ms = flags & OUT_OF_TIME ? 0 : LONG_MS,
        .boot_timeout_ms = LONG_MS,
        .start_timeout_ms = LONG_MS,
        .grace_ms = flags & OUT_OF_TIME ? 0 : LONG_MS,
        .collect_timeout_ms = LONG_MS,
        .workdir = "/work",
        .workdir_is_images = flags & IMAGES_WORKDIR,
        .env = nothing,
        .python_args = nothing,
        .args = nothing,
        .stdin_fd = -1,
        .max_processes = 100,
        .expect = flags & WITH_ARTIFACTS ? everything : nothing,
        .max_stdout_bytes = OUTPUT_MAX,
        .max_stderr_bytes = OUTPUT_MAX,
        .max_artifact_bytes = ARTIFACT_BYTES_MAX,
        .max_artifacts = ARTIFACTS_MAX,
        .caller = FVM_CALLER_NONE,
        .code = "pass",
        .code_size = 4,
    };

    connect_channel();
    converse(input, flags, &spec);
    close(vm.channel_fd);
    close(channel_fd);
    drain(vm.console_fd);
    drain(vm.log_fd);
    fvm_buffer_finish(&vm.console);
    fvm_buffer_finish(&vm.log);
    if (flags & WITH_ARTIFACTS)
        check_nothing_is_left();
    return 0;
}
