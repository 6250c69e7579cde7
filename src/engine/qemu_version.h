/* SPDX-License-Identifier: MIT */
/* Is a program QEMU, and new enough? */
#pragma once

#include "base/error.h"

/*
 * Ask it by --version; it has two seconds.
 * Return: 0; -1 with FLASHVM_ENGINE_UNAVAILABLE and what it is instead.
 */
int fvm_qemu_check_version(const char *program, struct flashvm_error *error);
