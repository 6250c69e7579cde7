/* SPDX-License-Identifier: MIT */
/* What the snippet may take of the guest: a control group (cgroups v2) for it and all it starts. */
#pragma once

/*
 * Make the group, with limits on memory and processes that leave the agent and the kernel enough to
 * work with. Must come before system_enter_root(): the snippet does not see the hierarchy.
 */
void limits_prepare(void);

/* In a child: enter the group. Return: 0, or -1 with errno. */
int limits_enter(void);
