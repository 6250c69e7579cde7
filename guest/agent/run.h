/* SPDX-License-Identifier: MIT */
/* One run: from a request to RESULT, and the artifacts. */
#pragma once

#include "serve.h"

/*
 * Run what /work/main.py holds and tell `channel` of it. The interpreter that waits in the seat is
 * used up. Files of the host that are not main.py must be in place.
 * @file_bytes: what these take.
 * @hears: take the host's STDIN and CANCEL from the channel.
 */
void run_snippet(struct service *service, struct seat *seat, const struct request *request,
                 uint64_t file_bytes, struct channel *channel, bool hears);
