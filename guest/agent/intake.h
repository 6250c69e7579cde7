/* SPDX-License-Identifier: MIT */
/* What the host sends of a run: its request, main.py and the other files, up to RUN. */
#pragma once

#include "serve.h"

/*
 * Take frames until RUN; does not return when one is wrong.
 * @frame: the first of them.
 * @ret_file_bytes: what the files take of the guest's memory, main.py not counted.
 */
void intake(struct service *service, const struct seat *seat, struct channel *channel,
            struct fvm_frame *frame, struct request *ret_request, uint64_t *ret_file_bytes);
