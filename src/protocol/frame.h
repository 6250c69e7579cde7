/* SPDX-License-Identifier: MIT */
/*
 * The frames that host and guest exchange over one byte stream. Both sides compile this file.
 *
 * A frame is an 8-byte header (type, three zero bytes, payload length as little-endian u32) and its
 * payload of at most FVM_FRAME_MAX_PAYLOAD bytes. Both sides treat the other's bytes as hostile: a
 * bad header ends the conversation, it is never skipped.
 *
 *   host                          guest
 *   SETUP json              ──>                       image config: the agent starts the interpreter
 *                           <──   READY               the interpreter waits
 *   REHEARSE                ──>                       any number of times, for templates and pools
 *                           <──   READY
 *   RESEED 32 bytes         ──>                       once this guest is to differ from its copies
 *   REQUEST json…           ──>                       in as many frames as it needs
 *   FILE, FILE_DATA…, FILE_END ──>                    for each file, main.py first; below /work
 *   RUN                     ──>
 *   STDIN…, STDIN_END       ──>                       while the run lasts
 *                           <──   STARTED             code of the snippet begins to run
 *                           <──   STDOUT, STDERR …
 *   CANCEL (any time)       ──>
 *                           <──   RESULT json         all is known but the artifacts; instead of
 *                                                     STARTED if it never began
 *                           <──   FILE, FILE_DATA…, FILE_END   for each artifact
 *                           <──   DONE                a sentence on what was left out, or nothing;
 *                                                     only if artifacts were asked for
 *
 * Instead of any other frame the guest may send a sentence: FAILED, it cannot go on (before READY:
 * since the image's interpreter does not start), or REFUSED, what the caller asks for is at fault.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

enum { FVM_FRAME_HEADER_SIZE = 8 };
enum { FVM_FRAME_MAX_PAYLOAD = 64 * 1024 };

enum fvm_frame_type {
    FVM_FRAME_SETUP = 1,
    FVM_FRAME_REQUEST,
    FVM_FRAME_RUN,
    FVM_FRAME_STDIN,
    FVM_FRAME_STDIN_END,
    FVM_FRAME_CANCEL,
    FVM_FRAME_FILE,      /* u64 size, u8 1 if it is a program, then the path's bytes */
    FVM_FRAME_FILE_DATA, /* the next bytes of the file begun last */
    FVM_FRAME_FILE_END,
    FVM_FRAME_READY,
    FVM_FRAME_STARTED,
    FVM_FRAME_STDOUT,
    FVM_FRAME_STDERR,
    FVM_FRAME_RESULT,
    FVM_FRAME_FAILED,
    FVM_FRAME_REFUSED,
    FVM_FRAME_DONE,
    FVM_FRAME_REHEARSE, /* not empty: have another interpreter wait for the next rehearsal */
    FVM_FRAME_RESEED,
    FVM_FRAME_TYPE_END, /* one past the last type */
};

struct fvm_frame {
    enum fvm_frame_type type;
    const char *payload; /* points into the decoder; valid until its next call */
    size_t size;
};

/* Write the header of a frame whose payload has `size` bytes (at most FVM_FRAME_MAX_PAYLOAD). */
void fvm_frame_encode_header(enum fvm_frame_type type, size_t size,
                             uint8_t ret_header[FVM_FRAME_HEADER_SIZE]);

/* Collects bytes as they come and gives out whole frames. Starts from {0}. */
struct fvm_frame_decoder {
    struct fvm_buffer pending;
    size_t consumed; /* bytes at the front of pending that were given out already */
};

/* Return: 0, or -1 when memory is exhausted. */
int fvm_frame_decoder_feed(struct fvm_frame_decoder *decoder, const void *data, size_t size);

/* Return: 1 and *ret_frame, 0 when more bytes are needed, -1 when the bytes are no frame. */
int fvm_frame_decoder_next(struct fvm_frame_decoder *decoder, struct fvm_frame *ret_frame);

void fvm_frame_decoder_finish(struct fvm_frame_decoder *decoder);

/*
 * The payload of FVM_FRAME_FILE. With the limit a file's path on the host, below a temporary
 * directory, is still one that system calls take (PATH_MAX).
 */
enum { FVM_FILE_PATH_MAX = 3072 };

/*
 * Is this a path that may be made below a directory: relative, at most FVM_FILE_PATH_MAX bytes, no
 * empty, "." or ".." component, no component over 255 bytes, no NUL?
 */
bool fvm_file_path_is_safe(const char *path, size_t size);

/*
 * Take a FILE frame apart and check its path.
 * @ret_path: NUL-terminated copy.
 * Return: 0, or -1 when the payload is not of this form.
 */
int fvm_frame_parse_file(const struct fvm_frame *frame, uint64_t *ret_size, bool *ret_executable,
                         char ret_path[FVM_FILE_PATH_MAX + 1]);

/* The reverse. Return: the payload's size, or 0 when the path is too long. */
enum { FVM_FILE_PAYLOAD_MAX = 9 + FVM_FILE_PATH_MAX };
size_t fvm_frame_format_file(uint64_t size, bool executable, const char *path,
                             char ret_payload[FVM_FILE_PAYLOAD_MAX]);
