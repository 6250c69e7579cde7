/* SPDX-License-Identifier: MIT */
/* Bytes of a guest as text: for a terminal, and for JSON. Results are to be freed; NULL: no memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * A string that is safe to print: control characters and what is not UTF-8 become \xNN.
 * @keep_lines: leave newlines and tabs as they are.
 */
char *text_printable(const char *data, size_t size, bool keep_lines);

bool text_is_utf8(const char *data, size_t size);

/* UTF-8 with U+FFFD for what is not, as Python's errors="replace" gives it. May contain NULs. */
char *text_replace_invalid(const char *data, size_t size, size_t *ret_size);

char *text_base64(const char *data, size_t size);
