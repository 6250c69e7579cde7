/* SPDX-License-Identifier: MIT */
/* What a run leaves: the files below /work that the host asked for. */
#pragma once

#include "channel.h"
#include "request.h"

/* The host waits 15 s for the next frame; of these the search may take so much in all. */
enum { ARTIFACTS_SEARCH_MS = 10000 };

/*
 * Send every regular file that matches the request's globs, in the order of their names. Call it
 * when no process of the snippet is left: nothing may change under it. Symlinks are not followed.
 * The memory it takes is bounded by that of the names of one directory and those above it.
 * @directory: what the names are relative to; the caller's.
 * @search_ms: for looking, not counting the time that sending takes.
 * @ret_left_out: a sentence on what was left out and why, to be freed; NULL: nothing was.
 */
void artifacts_send(struct channel *channel, int directory, const struct request *request,
                    unsigned search_ms, char **ret_left_out);
