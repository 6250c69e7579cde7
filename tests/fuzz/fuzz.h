/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets have in common. libFuzzer calls LLVMFuzzerTestOneInput() again and again,
 * each time with other bytes; a target gives them to the project's code and says what must hold.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assert that is never compiled out; libFuzzer keeps the input when it fails. */
#define must(condition)                                                                            \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), abort()))

/* An input while it is taken apart. What it lacks is zeros. */
struct input {
    const char *next;
    size_t left;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
    return (struct input){(const char *)data, size};
}

static inline uint8_t input_byte(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return (uint8_t)*input->next++;
}

/* At most `size` bytes. */
static inline struct input input_part(struct input *input, size_t size)
{
    struct input part = {input->next, size < input->left ? size : input->left};

    input->next += part.left;
    input->left -= part.left;
    return part;
}

/* What is before the next NUL, which is taken too. */
static inline struct input input_text(struct input *input)
{
    struct input text = input_part(input, strnlen(input->next, input->left));

    input_byte(input);
    return text;
}

/* A part as a string. To be freed. */
static inline char *input_string(struct input part)
{
    char *string = strndup(part.next ? part.next : "", part.left);

    must(string);
    return string;
}

/* The sizes of the pieces in which bytes come: all at once for seed 0, or 1 to 256 at a time. */
struct pieces {
    uint32_t state;
};

static inline size_t next_piece(struct pieces *pieces, size_t left)
{
    size_t size;

    if (pieces->state == 0)
        return left;
    pieces->state = pieces->state * 1664525 + 1013904223;
    size = 1 + (pieces->state >> 24);
    pieces->state |= 1; /* never 0 */
    return size < left ? size : left;
}
