/* SPDX-License-Identifier: MIT */
/* What a guest needs of ours that does not boot our initramfs: the agent and the zygote's files. */
#pragma once

#include "base/error.h"

/* Take them out of the initramfs in data_dir, and put them into a directory: "agent", "zygote/…". */
int fvm_krunvm_volume_fill(const char *data_dir, const char *directory,
                           struct flashvm_error *error);
