/* SPDX-License-Identifier: MIT */
/* /work before a run: its directories, and the files that the host sends. */
#pragma once

#include "account.h"
#include "protocol/frame.h"

/* The directory that a snippet starts in, opened once: no path is looked up in a run. */
struct work {
    int directory;
    int main_fd; /* of main.py, which is always there; empty while none is to be run */
};

/* Make /work with in, out and main.py, owned by the account. */
void work_make(const struct account *account, struct work *ret_work);

/* Empty main.py again. */
void work_clear(const struct work *work);

/* What is received from the host. Starts from {.file_fd = -1} and a work. */
struct receiver {
    const struct work *work;
    int file_fd;    /* of the file that comes; -1: none */
    uint64_t bytes; /* of memory that the files take, main.py not counted */
};

/*
 * Take a FILE, FILE_DATA or FILE_END frame: the file appears below /work, owned by the account.
 * Return: NULL, or what went wrong (static text; errno is set or 0; ENOSPC: the files do not fit).
 */
const char *receiver_take(struct receiver *receiver, const struct fvm_frame *frame,
                          const struct account *account);

/*
 * Make the run's working directory if it is missing, owned by the account, and see whether the
 * account may enter it. Return: 0, or -1 with errno.
 */
int workdir_prepare(const char *workdir, const struct account *account);
