/* SPDX-License-Identifier: MIT */
/*
 * Who gets the processor, and for how long. Between two turns of an interpreter's the emulator
 * forgets where its pages lie, and finding that out again takes longer than a small snippet does. So
 * interpreters take long turns, and the agent waits.
 */
#pragma once

/* For the calling thread, and not for what it starts. Best effort. */
void turns_of_interpreter(void);
void turns_of_agent(void);

/* Until turns_of_agent(): the snippet has just got its run and may be through at its first turn. */
void turns_yield_to_snippet(void);
