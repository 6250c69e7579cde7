/* SPDX-License-Identifier: MIT */
#include "scripted_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* ---- the host's side ------------------------------------------------------------------------- */

const char *const everything[] = {"**", NULL};
static const char *const no_strings[] = {NULL};
static const char *const unbuffered[] = {"-u", NULL};

/* The first end is the host's and does not block, as vm_process.c makes it. */
static void connect_ends(int ends[2], int *ret_host, int *ret_guest)
{
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    *ret_host = ends[0];
    *ret_guest = ends[1];
}

/* All that it says is bad news, but for its end. */
static int take_news(struct fvm_vm *vm, struct flashvm_error *error)
{
    char news[100];
    ssize_t size = read(vm->monitor_fd, news, sizeof news);

    if (size > 0)
        return fvm_fail(error, FLASHVM_GUEST_FAILED, "%.*s", (int)size, news);
    return size == 0;
}

static const struct fvm_engine scripted_engine = {.name = "scripted", .take_news = take_news};

static void make_vm(struct fvm_vm *vm, struct guest *guest)
{
    int channel[2], control[2], monitor[2], console[2], log[2];

    vm->engine = &scripted_engine;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor), 0);
    assert_int_equal(pipe2(console, O_CLOEXEC), 0);
    assert_int_equal(pipe2(log, O_CLOEXEC), 0);
    connect_ends(channel, &vm->channel_fd, &guest->channel_fd);
    connect_ends(control, &vm->control_fd, &guest->control_fd);
    connect_ends(monitor, &vm->monitor_fd, &guest->monitor_fd);
    connect_ends(console, &vm->console_fd, &guest->console_fd);
    connect_ends(log, &vm->log_fd, &guest->log_fd);
}

int talk_setup(void **state)
{
    struct talk *talk = calloc(1, sizeof *talk);

    assert_non_null(talk);
    signal(SIGPIPE, SIG_IGN); /* scripts write until the host is gone */
    talk->tmpdir = make_own_tmpdir();
    talk->spec = (struct fvm_run_spec){
        .timeout_ms = 20000,
        .boot_timeout_ms = 20000,
        .start_timeout_ms = 20000,
        .grace_ms = 20000,
        .collect_timeout_ms = 20000,
        .workdir = "/work",
        .env = no_strings,
        .python_args = unbuffered,
        .args = no_strings,
        .expect = no_strings,
        .max_stdout_bytes = 1 << 20,
        .max_stderr_bytes = 1 << 20,
        .max_artifact_bytes = 1 << 20,
        .max_artifacts = 3,
        .max_processes = 100,
        .stdin_fd = -1,
        .caller = FVM_CALLER_NONE,
        .code = "pass",
        .code_size = 4,
    };
    talk->result = fvm_result_new();
    assert_non_null(talk->result);
    assert_success(fvm_result_make_directory(talk->result, &talk->error), &talk->error);
    make_vm(&talk->vm, &talk->guest);
    *state = talk;
    return 0;
}

static void close_all(int *fds[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fvm_cleanup_close(fds[i]);
        *fds[i] = -1;
    }
}

static void close_host(struct fvm_vm *vm)
{
    close_all(
        (int *[]){&vm->channel_fd, &vm->control_fd, &vm->console_fd, &vm->log_fd, &vm->monitor_fd},
        5);
    fvm_buffer_finish(&vm->console);
    fvm_buffer_finish(&vm->log);
}

int talk_teardown(void **state)
{
    struct talk *talk = *state;

    close_host(&talk->vm);
    guest_die(&talk->guest);
    fvm_frame_decoder_finish(&talk->guest.decoder);
    fvm_buffer_finish(&talk->guest.setup);
    fvm_buffer_finish(&talk->guest.reseed);
    fvm_buffer_finish(&talk->guest.rehearsal);
    fvm_buffer_finish(&talk->guest.request);
    fvm_buffer_finish(&talk->guest.input);
    for (size_t i = 0; i < GUEST_FILES_MAX; i++)
        fvm_buffer_finish(&talk->guest.files[i].data);
    fvm_result_free(talk->result);
    flashvm_error_finish(&talk->error);
    remove_own_tmpdir(talk->tmpdir);
    free(talk);
    return 0;
}

static void *follow_script(void *data)
{
    struct guest *guest = data;

    guest->script(guest);
    return NULL;
}

/* The host's side of each kind of conversation. Return: what the host's call returns. */
typedef int converse(struct talk *talk);

static int talk_with(struct talk *talk, void (*script)(struct guest *guest), converse *host)
{
    uint64_t begin = fvm_now_us();
    pthread_t thread;
    int outcome;

    talk->guest.script = script;
    talk->guest.host = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, follow_script, &talk->guest), 0);
    outcome = host(talk);
    talk->elapsed_us = fvm_now_us() - begin;
    close_host(&talk->vm); /* so that the guest ends, whatever it waits for */
    assert_int_equal(pthread_join(thread, NULL), 0);
    return outcome;
}

static int boot(struct talk *talk)
{
    const struct fvm_image image = {
        .reference = (char *)"test:image",
        .python = (char *)"/bin/python3",
        .config = {.env = (char *[]){(char *)"PATH=/bin", NULL}, .user = (char *)"1000:100"},
    };

    return fvm_conversation_boot(&talk->vm, &image, talk->warm, talk->spec.boot_timeout_ms,
                                 &talk->spec.caller, &talk->error);
}

int talk_boot(struct talk *talk, void (*script)(struct guest *guest))
{
    return talk_with(talk, script, boot);
}

static int rehearse_as_a_template(struct talk *talk)
{
    return fvm_conversation_rehearse(&talk->vm, FVM_REHEARSAL_OF_A_TEMPLATE,
                                     talk->spec.boot_timeout_ms, &talk->spec.caller, &talk->error);
}

static int rehearse_as_a_copy(struct talk *talk)
{
    return fvm_conversation_rehearse(&talk->vm, FVM_REHEARSAL_OF_A_COPY, talk->spec.boot_timeout_ms,
                                     &talk->spec.caller, &talk->error);
}

int talk_rehearse(struct talk *talk, enum fvm_rehearsal kind, void (*script)(struct guest *guest))
{
    return talk_with(talk, script,
                     kind == FVM_REHEARSAL_OF_A_TEMPLATE ? rehearse_as_a_template
                                                         : rehearse_as_a_copy);
}

static int run(struct talk *talk)
{
    return fvm_conversation_run(&talk->vm, &talk->spec, !talk->was_reseeded, talk->result,
                                &talk->error);
}

int talk_run(struct talk *talk, void (*script)(struct guest *guest))
{
    return talk_with(talk, script, run);
}

const struct flashvm_result *talk_result(struct talk *talk, void (*script)(struct guest *guest))
{
    assert_success(talk_run(talk, script), &talk->error);
    fvm_result_complete(talk->result);
    return &talk->result->public;
}

/* ---- the guest's side ------------------------------------------------------------------------ */

bool guest_send_bytes(struct guest *guest, const void *data, size_t size)
{
    return fvm_write_all(guest->channel_fd, data, size) == 0;
}

bool guest_send(struct guest *guest, enum fvm_frame_type type, const void *payload, size_t size)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, size, header);
    return guest_send_bytes(guest, header, sizeof header) && guest_send_bytes(guest, payload, size);
}

bool guest_say(struct guest *guest, enum fvm_frame_type type, const char *text)
{
    return guest_send(guest, type, text, strlen(text));
}

/* More than there is room for are as good as not sent. */
static void take_file(struct guest *guest, const struct fvm_frame *frame)
{
    struct guest_file *file = &guest->files[guest->file_count];

    if (guest->file_count == GUEST_FILES_MAX)
        return;
    if (frame->type == FVM_FRAME_FILE)
        fvm_frame_parse_file(frame, &file->size, &file->executable, file->path);
    else if (frame->type == FVM_FRAME_FILE_DATA)
        fvm_buffer_append(&file->data, frame->payload, frame->size);
    else
        guest->file_count++;
}

static void take(struct guest *guest, const struct fvm_frame *frame)
{
    if (frame->type == FVM_FRAME_SETUP)
        fvm_buffer_append(&guest->setup, frame->payload, frame->size);
    else if (frame->type == FVM_FRAME_RESEED) {
        fvm_buffer_append(&guest->reseed, frame->payload, frame->size);
        guest->reseeds++;
    } else if (frame->type == FVM_FRAME_REHEARSE) {
        fvm_buffer_append(&guest->rehearsal, frame->payload, frame->size);
        guest->rehearsals++;
    } else if (frame->type == FVM_FRAME_REQUEST)
        fvm_buffer_append(&guest->request, frame->payload, frame->size);
    else if (frame->type >= FVM_FRAME_FILE && frame->type <= FVM_FRAME_FILE_END)
        take_file(guest, frame);
    else if (frame->type == FVM_FRAME_RUN)
        guest->run = true;
    else if (frame->type == FVM_FRAME_STDIN && guest->run && !guest->stdin_ended)
        fvm_buffer_append(&guest->input, frame->payload, frame->size);
    else if (frame->type == FVM_FRAME_STDIN_END)
        guest->stdin_ended = true;
}

bool guest_receive(struct guest *guest, enum fvm_frame_type last)
{
    char chunk[4096];
    ssize_t count;

    do {
        struct fvm_frame frame;

        while (fvm_frame_decoder_next(&guest->decoder, &frame) > 0) {
            take(guest, &frame);
            if (frame.type == last)
                return true;
        }
        count = read(guest->channel_fd, chunk, sizeof chunk);
    } while (count > 0 && fvm_frame_decoder_feed(&guest->decoder, chunk, (size_t)count) == 0);
    return false;
}

void guest_start(struct guest *guest)
{
    if (guest_receive(guest, FVM_FRAME_STDIN_END))
        guest_send(guest, FVM_FRAME_STARTED, NULL, 0);
}

void guest_start_and_end(struct guest *guest)
{
    guest_start(guest);
    guest_say(guest, FVM_FRAME_RESULT, GOOD_RESULT);
}

bool guest_begin_file(struct guest *guest, const char *path, uint64_t size)
{
    char payload[FVM_FILE_PAYLOAD_MAX];

    return guest_send(guest, FVM_FRAME_FILE, payload,
                      fvm_frame_format_file(size, false, path, payload));
}

void guest_send_file(struct guest *guest, const char *path, const char *text)
{
    guest_begin_file(guest, path, strlen(text));
    guest_say(guest, FVM_FRAME_FILE_DATA, text);
    guest_send(guest, FVM_FRAME_FILE_END, NULL, 0);
}

void guest_print(int fd, const char *text)
{
    fvm_write_all(fd, text, strlen(text));
}

void guest_wait_ms(unsigned milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

void guest_wait_for_the_end(struct guest *guest)
{
    guest_receive(guest, FVM_FRAME_TYPE_END);
}

void guest_die(struct guest *guest)
{
    close_all((int *[]){&guest->channel_fd, &guest->control_fd, &guest->console_fd, &guest->log_fd,
                        &guest->monitor_fd},
              5);
}
