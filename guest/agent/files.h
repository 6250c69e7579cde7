/* SPDX-License-Identifier: MIT */
/* Files of /work: those the host sends before a run, and the artifacts it asks for after it. */
#pragma once

#include "channel.h"
#include "interpreter.h"
#include "request.h"

/* A file that is being received from the host. Starts from RECEIVER_INIT. */
struct receiver {
    int work_fd; /* /work, open as a directory */
    int file_fd;
};

/* Make /work and /work/out, owned by the account. */
void work_directory_make(const struct account *account);

/*
 * Take a FILE, FILE_DATA or FILE_END frame: the file appears below /work, owned by the account.
 * Return: NULL, or what went wrong (static text; errno is set or 0).
 */
const char *receiver_take(struct receiver *receiver, const struct fvm_frame *frame,
                          const struct account *account);

/*
 * Make the run's working directory if it is missing, owned by the account, and see whether the
 * account may enter it. Return: 0, or -1 with errno.
 */
int workdir_prepare(const char *workdir, const struct account *account);

/*
 * Send every regular file below /work that matches the request's globs, in the order of their
 * names. Call it when no process of the snippet is left: nothing may change under it. Symlinks are
 * not followed.
 * @ret_left_out: a sentence on what was left out and why, to be freed; NULL: nothing was.
 */
void artifacts_send(struct channel *channel, const struct request *request, char **ret_left_out);
