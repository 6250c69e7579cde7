/* SPDX-License-Identifier: MIT */
/* Files that are mostly empty, such as a guest's memory: only what is not zero costs anything. */
#pragma once

#include <stdint.h>

#include "base/digest.h"

/*
 * Copy to the same place of `to`, which must be empty; the rest of its `size` bytes stays a hole.
 * Return: 0, or -1 with errno.
 */
int fvm_sparse_copy(int from, int to, uint64_t size);

/* Digest where what lies; holes and zeros are the same. Return: as above. */
int fvm_sparse_digest(int fd, uint64_t size, char ret_hex[FVM_SHA256_HEX_SIZE]);
