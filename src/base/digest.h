/* SPDX-License-Identifier: MIT */
/* SHA-256, by nettle (which libarchive needs anyway). */
#pragma once

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { FVM_SHA256_HEX_SIZE = 2 * SHA256_DIGEST_SIZE + 1 };

/* Finish `context` into lower-case hex with a NUL; the context is ready for the next use. */
void fvm_sha256_hex(struct sha256_ctx *context, char ret_hex[FVM_SHA256_HEX_SIZE]);

/* Digest a file from its start, wherever its offset is; `name` is for the error. */
int fvm_sha256_file(int fd, const char *name, uint64_t *ret_size, char ret_hex[FVM_SHA256_HEX_SIZE],
                    struct flashvm_error *error);
