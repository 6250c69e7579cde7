/* SPDX-License-Identifier: MIT */
/* A result while it is being put together, and the files of its artifacts. */
#pragma once

#include "base/buffer.h"
#include "base/digest.h"
#include "base/error.h"

/* The caller sees `public` (flashvm.h); the rest is what it points to. */
struct fvm_result {
    struct flashvm_result public;
    struct fvm_buffer out, err;
    char *directory;  /* holds the artifacts' files; NULL: none are expected */
    int directory_fd; /* locked (flock): shows that the result lives; -1: no directory */
    struct flashvm_artifact *artifacts;
    size_t artifact_count, artifact_capacity;
    uint64_t artifact_bytes;

    /* The artifact that is being received. */
    int file_fd;
    uint64_t file_left;
    struct sha256_ctx file_digest;
};

/* Return: NULL when memory is exhausted. */
struct fvm_result *fvm_result_new(void);

/* Make the directory of its own for artifacts; removes those that dead processes left behind. */
int fvm_result_make_directory(struct fvm_result *result, struct flashvm_error *error);

/*
 * Receive one artifact: begin, data…, end. The guest is hostile: a path must have been checked by
 * fvm_frame_parse_file(), and data beyond the announced size is an error.
 */
int fvm_result_artifact_begin(struct fvm_result *result, const char *guest_path, uint64_t size,
                              struct flashvm_error *error);
int fvm_result_artifact_data(struct fvm_result *result, const void *data, size_t size,
                             struct flashvm_error *error);
int fvm_result_artifact_end(struct fvm_result *result, struct flashvm_error *error);

/* An artifact that was not received whole is no artifact. */
void fvm_result_artifact_abandon(struct fvm_result *result);

/* Point `public` at what was collected. */
void fvm_result_complete(struct fvm_result *result);

void fvm_result_free(struct fvm_result *result);
