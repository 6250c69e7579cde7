/* SPDX-License-Identifier: MIT */
/* skopeo and buildah, by which images get into containers-storage: found, run, and what to do when
 * they fail. */
#pragma once

#include <stdbool.h>

#include "base/caller.h"
#include "base/error.h"

struct fvm_storage_tools {
    char *skopeo, *buildah; /* their paths; NULL: not on PATH */
    char **environment;     /* for either */
};

/*
 * What they, and others that use the storage, may know of the caller's environment; see base/tool.h.
 * @more: one "NAME=value" beside that; NULL: nothing.
 * Return: one block, to be freed; NULL when memory is exhausted.
 */
char **fvm_storage_environment(const char *more);

/* Find them. Return: 1, 0 when neither is there, -1. */
int fvm_storage_find_tools(struct fvm_storage_tools *ret_tools, struct flashvm_error *error);
void fvm_storage_tools_finish(struct fvm_storage_tools *tools);
#define cleanup_storage_tools __attribute__((cleanup(fvm_storage_tools_finish)))

/* What a question to a tool, which touches no layer, may take at most. */
enum { FVM_STORAGE_QUESTION_MS = 60000 };

/*
 * Run one of the two to its end.
 * @argv: begins with the tool's path.
 * @directory: to start in; NULL: the caller's. @lock_fd: see base/tool.h; -1: none.
 * @ret_output: what it wrote to stdout, to be freed; NULL: not wanted.
 * Return: 0, or -1 with the tool's own words and, where they are known, what to do about it.
 */
int fvm_storage_run_tool(const struct fvm_storage_tools *tools, const char *const *argv,
                         const char *directory, int lock_fd, uint64_t timeout_ms,
                         struct fvm_caller *caller, char **ret_output, struct flashvm_error *error);
