/* SPDX-License-Identifier: MIT */
/*
 * What QEMU's monitor says: a guest may have taken QEMU over. Bytes that come in any pieces give
 * the same answers, as many as there are, or an error.
 *
 * Input: a byte that chooses the pieces, then all that the monitor says.
 */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/qmp.h"

static int monitor_fd; /* QEMU's end */
static struct fvm_vm vm;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int ends[2];

    (void)argc, (void)argv;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    vm = (struct fvm_vm){.monitor_fd = ends[0], .control_fd = -1};
    monitor_fd = ends[1];
    return 0;
}

/* Return: how many commands were answered, -1 when one was refused or nothing made sense. */
static int take(struct input words, struct pieces pieces)
{
    struct flashvm_error error = {0};
    int answers = 0, count = 0;

    while (count >= 0 && words.left > 0) {
        struct input piece = input_part(&words, next_piece(&pieces, words.left));

        must(send(monitor_fd, piece.next, piece.left, 0) == (ssize_t)piece.left);
        count = fvm_qmp_take(&vm, &error);
        answers += count;
    }
    if (count < 0)
        must(error.status == FLASHVM_GUEST_FAILED && error.message && error.message[0]);
    else
        must(error.message == NULL);
    flashvm_error_finish(&error);
    fvm_buffer_finish(&vm.monitor);
    return count < 0 ? -1 : answers;
}

/* What take() is to return. */
static int answers_in(struct input words)
{
    int answers = 0;
    const char *end;

    while (words.left > 0 && (end = memchr(words.next, '\n', words.left)) != NULL) {
        struct input line = input_part(&words, (size_t)(end - words.next));
        cleanup_json json_t *json = json_loadb(line.next, line.left, 0, NULL);

        input_byte(&words);
        if (json == NULL || json_object_get(json, "error"))
            return -1;
        answers += json_object_get(json, "return") != NULL;
    }
    return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    struct pieces pieces = {input_byte(&input)};
    int answers = answers_in(input);

    must(take(input, (struct pieces){0}) == answers);
    must(take(input, pieces) == answers);
    return 0;
}
