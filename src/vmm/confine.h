/* SPDX-License-Identifier: MIT */
/*
 * What the monitor may still ask of the host's kernel once the guest runs. flashvm-jail has taken the
 * rest before: user, namespaces, devices, capabilities, limits (src/jail/confine.h).
 */
#pragma once

/* For good, and for all threads of this process. */
void confine(void);
