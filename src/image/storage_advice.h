/* SPDX-License-Identifier: MIT */
/* What to do about what skopeo and buildah say of containers-storage. */
#pragma once

/* What is looked at for it; tests have their own. */
struct fvm_storage_places {
    const char *sysctls;    /* /proc/sys */
    const char *os_release; /* NULL: this machine's */
};

/*
 * @words: that a tool wrote. @places: NULL: this machine's.
 * Return: a sentence without a capital and a stop, to be freed; NULL: nothing is known.
 */
char *fvm_storage_advice(const char *words, const struct fvm_storage_places *places);
