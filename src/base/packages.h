/* SPDX-License-Identifier: MIT */
/* How a program of other people's gets onto this machine: by which package of its distribution. */
#pragma once

/*
 * What to do for a program, to stand behind "install it: ", such as "apt-get install uidmap".
 * Where no package is known, it says where to look.
 * @program: by the name that it has on PATH.
 * @os_release: a file as os-release(5) has it; NULL: this machine's.
 * Return: to be freed; NULL when memory is exhausted.
 */
char *fvm_package_hint(const char *program, const char *os_release);
