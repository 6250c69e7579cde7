/* SPDX-License-Identifier: MIT */
/* What the command itself says to its user: on stderr, and safe for a terminal. */
#pragma once

#include <flashvm/flashvm.h>

/* "flashvm: error: …". Messages may quote a hostile guest: control characters are shown as \xNN. */
void show_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "flashvm: …" */
void show_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Show a library call's error. Return: the exit code for it. */
int show_failure(const struct flashvm_error *error);
