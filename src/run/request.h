/* SPDX-License-Identifier: MIT */
/* What the host sends to the agent, as frames in a buffer. */
#pragma once

#include "base/buffer.h"
#include "run/run.h"

/* Append the SETUP frame for an image. */
int fvm_request_append_setup(struct fvm_buffer *outgoing, const struct fvm_image *image,
                             struct flashvm_error *error);

/* Append all frames of a run: REQUEST, main.py, RUN, and the end of stdin. */
int fvm_request_append_run(struct fvm_buffer *outgoing, const struct fvm_run_spec *spec,
                           struct flashvm_error *error);
