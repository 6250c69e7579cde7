/* SPDX-License-Identifier: MIT */
/* /work before a run: its directories, and the files that the host sends. */
#pragma once

#include "interpreter.h"
#include "protocol/frame.h"

/* A file that is being received from the host. */
struct receiver {
    int work_fd; /* /work, open as a directory */
    int file_fd; /* -1: none */
};

/* Make /work and /work/out, owned by the account. Return: a descriptor of /work. */
int work_directory_make(const struct account *account);

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
