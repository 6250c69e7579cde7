/* SPDX-License-Identifier: MIT */
/* Cleanup attributes: a variable that owns something frees it at the end of its scope. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void fvm_cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

/* Keeps errno, so that it may run between a failure and its report. */
static inline void fvm_cleanup_close(const int *fd)
{
    if (*fd >= 0) {
        int saved_errno = errno;
        close(*fd);
        errno = saved_errno;
    }
}

static inline void fvm_cleanup_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static inline void fvm_cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

#define cleanup_free  __attribute__((cleanup(fvm_cleanup_free)))
#define cleanup_close __attribute__((cleanup(fvm_cleanup_close)))
#define cleanup_file  __attribute__((cleanup(fvm_cleanup_file)))
#define cleanup_dir   __attribute__((cleanup(fvm_cleanup_dir)))

/* Hand over what a cleanup variable owns: `*ret_path = steal_pointer(path);` */
#define steal_pointer(pointer)                                                                     \
    ({                                                                                             \
        __auto_type stolen_ = (pointer);                                                           \
        (pointer) = NULL;                                                                          \
        stolen_;                                                                                   \
    })

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}
