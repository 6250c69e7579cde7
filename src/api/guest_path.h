/* SPDX-License-Identifier: MIT */
/* Paths and globs that a caller gives, brought into one form. */
#pragma once

/*
 * A path below a directory of the guest, relative to it and without empty and "." components.
 * @base: the directory, with a slash at its end ("/work/"); `path` may begin with it.
 * @ret_relative: to be freed.
 * Return: 0; 1 when the path is empty, leads elsewhere or has a ".." component; -1 without memory.
 */
int fvm_guest_path_below(const char *base, const char *path, char **ret_relative);
