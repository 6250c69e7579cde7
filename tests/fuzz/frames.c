/* SPDX-License-Identifier: MIT */
/*
 * The decoder of frames, on both sides: bytes that come in any pieces give the same frames, and a
 * FILE frame that is taken apart names a path that stays below its directory.
 *
 * Input: a byte that chooses the pieces, then the stream.
 */
#include "fuzz.h"

#include "protocol/frame.h"

/* Of a path that was taken, as a stranger would check it. */
static void check_path(const char *path)
{
    cleanup_buffer struct fvm_buffer framed = {0};

    must(fvm_buffer_append(&framed, "/", 1) == 0);
    must(fvm_buffer_append(&framed, path, strlen(path)) == 0);
    must(fvm_buffer_append(&framed, "/", 1) == 0);
    must(path[0] != '\0' && strlen(path) <= FVM_FILE_PATH_MAX);
    must(strstr(framed.data, "//") == NULL);
    must(strstr(framed.data, "/./") == NULL);
    must(strstr(framed.data, "/../") == NULL);
}

static void check_file(const struct fvm_frame *frame)
{
    char path[FVM_FILE_PATH_MAX + 1], payload[FVM_FILE_PAYLOAD_MAX];
    bool executable;
    uint64_t size;

    if (fvm_frame_parse_file(frame, &size, &executable, path) < 0)
        return;
    check_path(path);
    must(fvm_frame_format_file(size, executable, path, payload) == frame->size);
    must(memcmp(payload, frame->payload, frame->size) == 0);
}

/* Each frame again as bytes, so that two ways of decoding can be compared. */
static int take_frames(struct fvm_frame_decoder *decoder, struct fvm_buffer *taken)
{
    struct fvm_frame frame;
    int outcome;

    while ((outcome = fvm_frame_decoder_next(decoder, &frame)) > 0) {
        uint8_t header[FVM_FRAME_HEADER_SIZE];

        must(frame.type > 0 && frame.type < FVM_FRAME_TYPE_END);
        must(frame.size <= FVM_FRAME_MAX_PAYLOAD);
        fvm_frame_encode_header(frame.type, frame.size, header);
        must(fvm_buffer_append(taken, header, sizeof header) == 0);
        must(fvm_buffer_append(taken, frame.payload, frame.size) == 0);
        if (frame.type == FVM_FRAME_FILE)
            check_file(&frame);
    }
    return outcome;
}

/* Return: 0, or -1 when the stream is none of frames. */
static int decode(struct input stream, struct pieces pieces, struct fvm_buffer *taken)
{
    struct fvm_frame_decoder decoder = {0};
    int outcome = 0;

    while (outcome == 0 && stream.left > 0) {
        struct input piece = input_part(&stream, next_piece(&pieces, stream.left));

        must(fvm_frame_decoder_feed(&decoder, piece.next, piece.left) == 0);
        outcome = take_frames(&decoder, taken);
    }
    fvm_frame_decoder_finish(&decoder);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_buffer struct fvm_buffer at_once = {0}, in_pieces = {0};
    struct input input = input_of(data, size);
    struct pieces pieces = {input_byte(&input)};

    must(decode(input, (struct pieces){0}, &at_once) == decode(input, pieces, &in_pieces));
    must(at_once.size == in_pieces.size && at_once.size <= input.left);
    if (at_once.size > 0) {
        must(memcmp(at_once.data, in_pieces.data, at_once.size) == 0);
        must(memcmp(at_once.data, input.next, at_once.size) == 0);
    }
    return 0;
}
