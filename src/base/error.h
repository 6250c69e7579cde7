/* SPDX-License-Identifier: MIT */
/* Errors carried up: every function that can fail returns 0 or -1 and fills a struct flashvm_error.
 */
#pragma once

#include <flashvm/flashvm.h>

#define cleanup_error __attribute__((cleanup(flashvm_error_finish)))

/*
 * Fill `error` (may be NULL; an older message is replaced).
 * Return: always -1, so that a caller writes `return fvm_fail(…)`.
 */
int fvm_fail(struct flashvm_error *error, enum flashvm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As fvm_fail() with FLASHVM_IO, ": " and the text of errno `err` at the end, with what to do where
 * that is known (ENOENT gives FLASHVM_NOT_FOUND). */
int fvm_fail_errno(struct flashvm_error *error, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "what was being done: " before the message of an error that is carried up. Return: always -1.
 */
int fvm_fail_context(struct flashvm_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int fvm_fail_no_memory(struct flashvm_error *error);

#ifdef __clang_analyzer__ /* It does not look into error.c, where it would see the -1. */
#define fvm_fail(...)           ((void)fvm_fail(__VA_ARGS__), -1)
#define fvm_fail_errno(...)     ((void)fvm_fail_errno(__VA_ARGS__), -1)
#define fvm_fail_context(...)   ((void)fvm_fail_context(__VA_ARGS__), -1)
#define fvm_fail_no_memory(...) ((void)fvm_fail_no_memory(__VA_ARGS__), -1)
#endif

/*
 * A name from somewhere else, for a message: no control characters for somebody's terminal, and not
 * too long. To be freed; NULL when memory is exhausted.
 */
char *fvm_printable(const char *name);

/*
 * The end of a public call that failed: hand `own` to the caller, who may not want it.
 * Return: the status.
 */
int fvm_error_return(struct flashvm_error *own, struct flashvm_error *ret_error);
