/* SPDX-License-Identifier: MIT */
/*
 * How the agent comes to life. Most engines boot our kernel with our initramfs, and the agent is its
 * PID 1. libkrun boots a kernel and an init of its own, with the image as the root file system, and
 * that init starts the agent. What differs between the two ends here.
 */
#pragma once

#include "channel.h"

/*
 * Have /proc, /sys and /dev, and be in a directory of the agent's own, in memory, that the snippet
 * will not see. Paths of what the agent makes for itself are relative to it.
 */
void start_prepare(void);

/*
 * Find the host's end. Must come before the root is entered: the snippet's /dev has no such device.
 * @channel: its descriptors are set.
 */
void start_open_channel(struct channel *channel);

/* Mount the image, read-only, on an empty directory. */
void start_mount_image(const char *target);

/* The directory of the zygote's Python files. Its owner is the caller, who closes it. */
int start_open_zygote(void);
