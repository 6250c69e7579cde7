/* SPDX-License-Identifier: MIT */
#include "cli/text.h"

#include <nettle/base64.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"

/*
 * Look at the UTF-8 sequence at `data` (`size` is not 0), by the table of well-formed sequences of
 * the Unicode standard (3.9, table 3-7). Return: its length; or, when it is ill-formed, minus the
 * length of its longest well-formed start (at least 1), which one replacement character stands for.
 */
static int utf8_sequence(const unsigned char *data, size_t size)
{
    unsigned char first = data[0], low = 0x80, high = 0xbf;
    int length;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    /* No overlong forms, no surrogates, nothing past U+10FFFF: the second byte tells. */
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= size || data[i] < low || data[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

/* C0, DEL, and C1 (U+0080 to U+009F), which terminals obey too. */
static bool is_control(const unsigned char *data, int length)
{
    return length == 1 ? data[0] < 0x20 || data[0] == 0x7f
                       : length == 2 && data[0] == 0xc2 && data[1] < 0xa0;
}

char *text_printable(const char *data, size_t size, bool keep_lines)
{
    cleanup_buffer struct fvm_buffer text = {0};
    const unsigned char *next = (const unsigned char *)data, *end = next + size;

    if (fvm_buffer_append(&text, "", 0) < 0)
        return NULL;
    while (next < end) {
        int length = utf8_sequence(next, (size_t)(end - next));
        bool plain = length > 0 && (!is_control(next, length) ||
                                    (keep_lines && (*next == '\n' || *next == '\t')));
        size_t taken = (size_t)abs(length);

        if (plain && fvm_buffer_append(&text, next, taken) < 0)
            return NULL;
        for (size_t i = 0; !plain && i < taken; i++) {
            char escaped[5];

            snprintf(escaped, sizeof escaped, "\\x%02x", next[i]);
            if (fvm_buffer_append(&text, escaped, 4) < 0)
                return NULL;
        }
        next += taken;
    }
    return steal_pointer(text.data);
}

bool text_is_utf8(const char *data, size_t size)
{
    const unsigned char *next = (const unsigned char *)data, *end = next + size;

    while (next < end) {
        int length = utf8_sequence(next, (size_t)(end - next));

        if (length < 0)
            return false;
        next += length;
    }
    return true;
}

char *text_replace_invalid(const char *data, size_t size, size_t *ret_size)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    cleanup_buffer struct fvm_buffer text = {0};
    const unsigned char *next = (const unsigned char *)data, *end = next + size;

    if (fvm_buffer_append(&text, "", 0) < 0)
        return NULL;
    while (next < end) {
        int length = utf8_sequence(next, (size_t)(end - next));
        int status = length > 0 ? fvm_buffer_append(&text, next, (size_t)length)
                                : fvm_buffer_append(&text, replacement, 3);

        if (status < 0)
            return NULL;
        next += abs(length);
    }
    *ret_size = text.size;
    return steal_pointer(text.data);
}

char *text_base64(const char *data, size_t size)
{
    size_t length = BASE64_ENCODE_RAW_LENGTH(size);
    char *text = malloc(length + 1);

    if (text == NULL)
        return NULL;
    base64_encode_raw(text, size, (const uint8_t *)data);
    text[length] = '\0';
    return text;
}
