/* SPDX-License-Identifier: MIT */
/* Directories and mounts that a guest cannot do without. */
#pragma once

#include <sys/types.h>

/* As mount(2). @type: NULL for a bind mount. */
void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data);

/* Make a directory, if it is missing, and set its mode. */
void make_directory(const char *path, mode_t mode);
