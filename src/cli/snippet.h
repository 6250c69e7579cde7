/* SPDX-License-Identifier: MIT */
/* Where the source of a snippet comes from. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/*
 * Read a snippet to its end.
 * @path: a file, pipe, …; "-" for standard input.
 */
int snippet_read(const char *path, struct fvm_buffer *ret_code, struct flashvm_error *error);
