/* SPDX-License-Identifier: MIT */
/*
 * What the command shows of a guest's bytes: nothing that a terminal obeys, and always UTF-8.
 *
 * Input: a byte (odd: lines are kept), then the guest's bytes.
 */
#include "fuzz.h"

#include "cli/text.h"

/* A decoder of UTF-8 of its own, by the bits. Return: the character, or -1. */
static int64_t next_character(const unsigned char **next, const unsigned char *end)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    unsigned char first = *(*next)++;
    int more = first < 0x80             ? 0
               : (first & 0xe0) == 0xc0 ? 1
               : (first & 0xf0) == 0xe0 ? 2
               : (first & 0xf8) == 0xf0 ? 3
                                        : -1;
    uint32_t value;

    if (more < 0 || end - *next < more)
        return -1;
    value = more == 0 ? first : first & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        unsigned char byte = *(*next)++;

        if ((byte & 0xc0) != 0x80)
            return -1;
        value = value << 6 | (byte & 0x3f);
    }
    return value < smallest[more] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)
               ? -1
               : (int64_t)value;
}

static bool is_utf8(const char *text, size_t size)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;

    while (next < end)
        if (next_character(&next, end) < 0)
            return false;
    return true;
}

static void check_printable(const char *text, bool keep_lines)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + strlen(text);

    while (next < end) {
        int64_t character = next_character(&next, end);

        must(character >= 0);
        must((character >= 0x20 && character < 0x7f) || character >= 0xa0 ||
             (keep_lines && (character == '\n' || character == '\t')));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    bool keep_lines = input_byte(&input) & 1, valid = is_utf8(input.next, input.left);
    char *printable = text_printable(input.next, input.left, keep_lines);
    size_t replaced_size;
    char *replaced = text_replace_invalid(input.next, input.left, &replaced_size);

    must(printable && replaced);
    check_printable(printable, keep_lines);
    must(text_is_utf8(input.next, input.left) == valid);
    must(is_utf8(replaced, replaced_size));
    if (valid)
        must(replaced_size == input.left && memcmp(replaced, input.next, input.left) == 0);
    free(printable);
    free(replaced);
    return 0;
}
