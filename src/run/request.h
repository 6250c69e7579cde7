/* SPDX-License-Identifier: MIT */
/* What the host says to the agent, as frames in a buffer. */
#pragma once

#include "base/buffer.h"
#include "protocol/frame.h"
#include "run/run.h"

/* Append one frame. */
int fvm_request_append_frame(struct fvm_buffer *outgoing, enum fvm_frame_type type,
                             const void *payload, size_t size, struct flashvm_error *error);

/* Append as many frames of one type as the data needs. */
int fvm_request_append_chunks(struct fvm_buffer *outgoing, enum fvm_frame_type type,
                              const char *data, size_t size, struct flashvm_error *error);

/* Append the FILE frame that a file begins with. */
int fvm_request_append_file(struct fvm_buffer *outgoing, const char *path, uint64_t size,
                            bool executable, struct flashvm_error *error);

/* Append the SETUP frame for an image. @warm: for a guest that becomes a template. */
int fvm_request_append_setup(struct fvm_buffer *outgoing, const struct fvm_image *image, bool warm,
                             struct flashvm_error *error);

/* Append 32 random bytes for the guest's generators: its own randomness is not to be relied on. */
int fvm_request_append_reseed(struct fvm_buffer *outgoing, struct flashvm_error *error);

/* Append the beginning of a run: REQUEST and main.py. */
int fvm_request_append_run(struct fvm_buffer *outgoing, const struct fvm_run_spec *spec,
                           struct flashvm_error *error);
