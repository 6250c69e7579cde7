/* SPDX-License-Identifier: MIT */
/* cmocka with the headers it wants, and what most tests ask of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/files.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* The call failed so, and its message has `part` in it. Finishes the error. */
static inline void assert_failure(int outcome, struct flashvm_error *error,
                                  enum flashvm_status status, const char *part)
{
    if (outcome >= 0)
        fail_msg("it succeeded, but should have failed with \"%s\"", part);
    if (error->message == NULL || strstr(error->message, part) == NULL)
        fail_msg("the error \"%s\" does not say \"%s\"", error->message ?: "(none)", part);
    assert_string_equal(flashvm_status_name(error->status), flashvm_status_name(status));
    flashvm_error_finish(error);
}

/* The call succeeded; shows the error if not. */
static inline void assert_success(int outcome, const struct flashvm_error *error)
{
    if (outcome < 0)
        fail_msg("it failed: %s", error->message ?: "(no message)");
}

/* Are we root? Where FLASHVM_REQUIRE names "root" we must be. */
static inline bool is_root(void)
{
    const char *required = getenv("FLASHVM_REQUIRE") ?: "";
    bool root = geteuid() == 0;

    for (const char *word = required; !root && *word;
         word += strcspn(word, ","), word += *word == ',')
        if (strcspn(word, ",") == 4 && strncmp(word, "root", 4) == 0)
            fail_msg("FLASHVM_REQUIRE says that this test must run as root, and it does not");
    return root;
}

/* A directory of our own as TMPDIR, until remove_own_tmpdir(). */
static inline char *make_own_tmpdir(void)
{
    char *directory = fvm_format("%s/flashvm-unit-XXXXXX", getenv("TMPDIR") ?: "/tmp");

    assert_non_null(directory);
    assert_non_null(mkdtemp(directory));
    setenv("TMPDIR", directory, 1);
    return directory;
}

/* Remove and free it, and put the one before back in its place. */
static inline void remove_own_tmpdir(char *directory)
{
    fvm_remove_tree(directory);
    *strrchr(directory, '/') = '\0';
    setenv("TMPDIR", directory, 1);
    free(directory);
}
