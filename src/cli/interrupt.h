/* SPDX-License-Identifier: MIT */
/*
 * SIGINT, SIGTERM and SIGHUP end the library's call instead of the command, which then ends itself
 * in good order. A second one ends the command at once. Signals that were ignored when the command was
 * started stay so.
 */
#pragma once

#include <stdbool.h>

#include <flashvm/flashvm.h>

int interrupt_catch(struct flashvm_error *error);

/* Becomes readable when a signal comes; for flashvm_run_options.interrupt_fd. */
int interrupt_fd(void);

/*
 * Has a signal come? For flashvm_run_options.interrupted, since it empties the descriptor, and for
 * flashvm_config.interrupted.
 */
bool interrupt_came(void *nothing);

/* The signal that came; 0: none. */
int interrupt_signal(void);
