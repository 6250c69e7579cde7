/* SPDX-License-Identifier: MIT */
/* What ends the monitor. Its last words are its caller's explanation of why there was no run. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fail(format, ...)                                                                          \
    do {                                                                                           \
        fprintf(stderr, "flashvm-vmm: " format "\n", ##__VA_ARGS__);                               \
        exit(1);                                                                                   \
    } while (0)

#define fail_errno(format, ...) fail(format ": %s", ##__VA_ARGS__, strerror(errno))
