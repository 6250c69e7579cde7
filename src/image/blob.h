/* SPDX-License-Identifier: MIT */
/*
 * A blob of an OCI image layout: opened by its digest, hashed while it is read, believed only after
 * fvm_blob_verify() said so.
 */
#pragma once

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/caller.h"
#include "base/error.h"

enum { FVM_DIGEST_SIZE = sizeof "sha256:" + 2 * SHA256_DIGEST_SIZE };

/* What a manifest or an index says about a blob. */
struct fvm_descriptor {
    char digest[FVM_DIGEST_SIZE]; /* always valid, see fvm_digest_is_valid() */
    uint64_t size_bytes;
};

/* "sha256:" and 64 lower-case hex digits, nothing else: such a digest is safe as a part of a path.
 */
bool fvm_digest_is_valid(const char *digest);

/* Finish `context` into "sha256:…". */
void fvm_digest_finish(struct sha256_ctx *context, char ret_digest[FVM_DIGEST_SIZE]);

struct fvm_blob {
    int fd;
    struct fvm_descriptor descriptor;
    uint64_t read_bytes;
    struct sha256_ctx sha256;
    struct fvm_caller *caller; /* may end the reading; NULL: nobody */
    bool is_cancelled;
};

/*
 * Open `descriptor`'s blob: it must be a regular file of exactly the size that the descriptor says.
 * @layout_fd: the directory of the image layout.
 */
int fvm_blob_open(int layout_fd, const struct fvm_descriptor *descriptor, struct fvm_blob *ret_blob,
                  struct flashvm_error *error);

/* Read the next bytes. Return: their number, 0 at the end, -1 with errno set (ECANCELED: by the
 * caller, and from then on always). */
ssize_t fvm_blob_read(struct fvm_blob *blob, void *buffer, size_t size);

/* Read what is left of the blob and compare the digest of the whole. */
int fvm_blob_verify(struct fvm_blob *blob, struct flashvm_error *error);

void fvm_blob_finish(struct fvm_blob *blob);
#define cleanup_blob __attribute__((cleanup(fvm_blob_finish)))

/*
 * Read a whole blob, verified.
 * @ret_data: NUL-terminated, to be freed; its size is the descriptor's.
 */
int fvm_blob_load(int layout_fd, const struct fvm_descriptor *descriptor, size_t limit,
                  char **ret_data, struct flashvm_error *error);
