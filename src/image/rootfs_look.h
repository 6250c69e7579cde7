/* SPDX-License-Identifier: MIT */
/* Looking into a root file system's file that is in the cache already. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/*
 * What lies at a path (relative to the root, no symlink is followed)?
 * @ret_type: as in st_mode (S_IFREG, …); 0: nothing.
 */
int fvm_rootfs_find_type(int rootfs_fd, const char *path, mode_t *ret_type,
                         struct flashvm_error *error);
