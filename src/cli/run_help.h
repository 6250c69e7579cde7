/* SPDX-License-Identifier: MIT */
/* The text of `flashvm help run`. */
#pragma once

extern const char run_help[];
