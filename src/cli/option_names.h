/* SPDX-License-Identifier: MIT */
/* The library's errors name fields of flashvm_run_options; the command's user knows its options. */
#pragma once

#include <flashvm/flashvm.h>

/* Put the options' names into an error's message. What it quotes of others stays as it is. */
void option_names_translate(struct flashvm_error *error);
