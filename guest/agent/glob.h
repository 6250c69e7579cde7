/* SPDX-License-Identifier: MIT */
/*
 * Globs over guest paths, with the meaning that Python's glob.glob(…, recursive=True) gives them:
 * `*`, `?` and `[…]` stay within a component and do not match a leading dot; `**` as a whole
 * component matches any number of components (none of them beginning with a dot; at the end at
 * least one, for only a directory matches the empty rest). A pattern of over 4095 bytes matches
 * nothing.
 */
#pragma once

#include <stdbool.h>

/* Does the whole relative path match? */
bool glob_matches(const char *pattern, const char *path);

/* Could a path below this directory match? Lets a walk leave out whole trees. */
bool glob_may_match_below(const char *pattern, const char *directory);
