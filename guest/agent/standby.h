/* SPDX-License-Identifier: MIT */
/* Interpreters that have started and wait. */
#pragma once

#include "serve.h"

/*
 * Have an interpreter wait in that seat. One that does not come up is the image's fault: the host is
 * told so, and this does not return.
 */
void standby(struct service *service, struct seat *seat);
