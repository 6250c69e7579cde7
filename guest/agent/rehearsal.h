/* SPDX-License-Identifier: MIT */
/*
 * A rehearsal: a run of a small snippet that leads nowhere. Before a template is taken it brings
 * what a run needs into memory; in a VM that waits it has the emulator translate what a run
 * executes, which takes it far longer than to execute it.
 */
#pragma once

#include "serve.h"

/* Nobody's user: a snippet can neither see nor touch the interpreter that waits for a rehearsal. */
void rehearsal_init(struct seat *seat, const struct account *snippets);

/* @spare: have an interpreter wait for the next one. */
void rehearse(struct service *service, bool spare);
