/* SPDX-License-Identifier: MIT */
/* The guest's kernel and initramfs in the data directory: are they there, and whole? */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define FVM_GUEST_KERNEL    "vmlinux"
#define FVM_GUEST_INITRAMFS "initramfs.cpio"

/*
 * Check their digests against the data directory's manifest.json: a damaged kernel may boot and go
 * wrong later. What was found right is kept in the cache with the files' identities, so that the
 * next process reads none of them.
 * @cache_dir: open and checked; NULL: nothing is kept.
 * Return: the digests in some lines of text, to be freed; NULL with FLASHVM_NOT_FOUND or
 * FLASHVM_IMAGE_INVALID.
 */
char *fvm_guest_files_verify(const char *data_dir, const char *cache_dir,
                             struct flashvm_error *error);

/* The same for those who only want to know whether. */
bool fvm_guest_files_are_whole(const char *data_dir, const char *cache_dir,
                               struct flashvm_error *error);

/* Open one of them, for reading. Return: a descriptor, or -1. */
int fvm_guest_file_open(const char *data_dir, const char *name, struct flashvm_error *error);
