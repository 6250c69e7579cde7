/* SPDX-License-Identifier: MIT */
#include "protocol/frame.h"

#include <endian.h>
#include <string.h>

void fvm_frame_encode_header(enum fvm_frame_type type, size_t size,
                             uint8_t ret_header[FVM_FRAME_HEADER_SIZE])
{
    uint32_t length = htole32((uint32_t)size);

    memset(ret_header, 0, FVM_FRAME_HEADER_SIZE);
    ret_header[0] = (uint8_t)type;
    memcpy(ret_header + 4, &length, sizeof length);
}

int fvm_frame_decoder_feed(struct fvm_frame_decoder *decoder, const void *data, size_t size)
{
    fvm_buffer_consume(&decoder->pending, decoder->consumed);
    decoder->consumed = 0;
    return fvm_buffer_append(&decoder->pending, data, size);
}

int fvm_frame_decoder_next(struct fvm_frame_decoder *decoder, struct fvm_frame *ret_frame)
{
    size_t available = decoder->pending.size - decoder->consumed;
    const uint8_t *header = (const uint8_t *)decoder->pending.data + decoder->consumed;
    uint32_t length;

    if (available < FVM_FRAME_HEADER_SIZE)
        return 0;
    memcpy(&length, header + 4, sizeof length);
    length = le32toh(length);
    if (header[0] == 0 || header[0] >= FVM_FRAME_TYPE_END || header[1] || header[2] || header[3] ||
        length > FVM_FRAME_MAX_PAYLOAD)
        return -1;
    if (available - FVM_FRAME_HEADER_SIZE < length)
        return 0;
    *ret_frame = (struct fvm_frame){
        .type = header[0],
        .payload = (const char *)header + FVM_FRAME_HEADER_SIZE,
        .size = length,
    };
    decoder->consumed += FVM_FRAME_HEADER_SIZE + length;
    return 1;
}

void fvm_frame_decoder_finish(struct fvm_frame_decoder *decoder)
{
    fvm_buffer_finish(&decoder->pending);
    decoder->consumed = 0;
}

bool fvm_file_path_is_safe(const char *path, size_t size)
{
    if (size == 0 || size > FVM_FILE_PATH_MAX || memchr(path, '\0', size))
        return false;
    for (size_t start = 0; start <= size;) {
        const char *slash = memchr(path + start, '/', size - start);
        size_t end = slash ? (size_t)(slash - path) : size;
        size_t length = end - start;

        if (length == 0 || length > 255 || (length == 1 && path[start] == '.') ||
            (length == 2 && path[start] == '.' && path[start + 1] == '.'))
            return false;
        start = end + 1;
    }
    return true;
}

int fvm_frame_parse_file(const struct fvm_frame *frame, uint64_t *ret_size, bool *ret_executable,
                         char ret_path[FVM_FILE_PATH_MAX + 1])
{
    uint64_t size;
    size_t header = sizeof size + 1;

    if (frame->size <= header || (uint8_t)frame->payload[sizeof size] > 1 ||
        !fvm_file_path_is_safe(frame->payload + header, frame->size - header))
        return -1;
    memcpy(&size, frame->payload, sizeof size);
    memcpy(ret_path, frame->payload + header, frame->size - header);
    ret_path[frame->size - header] = '\0';
    *ret_size = le64toh(size);
    *ret_executable = frame->payload[sizeof size] == 1;
    return 0;
}

size_t fvm_frame_format_file(uint64_t size, bool executable, const char *path,
                             char ret_payload[FVM_FILE_PAYLOAD_MAX])
{
    uint64_t encoded = htole64(size);
    size_t length = strlen(path), header = sizeof encoded + 1;

    if (length > FVM_FILE_PATH_MAX)
        return 0;
    memcpy(ret_payload, &encoded, sizeof encoded);
    ret_payload[sizeof encoded] = executable ? 1 : 0;
    memcpy(ret_payload + header, path, length);
    return header + length;
}
