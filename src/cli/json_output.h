/* SPDX-License-Identifier: MIT */
/* What the command prints with --json: one object in one line. */
#pragma once

#include <jansson.h>

#include <flashvm/flashvm.h>

/* A string, with U+FFFD for what is not UTF-8; JSON's null for NULL. NULL when memory is exhausted.
 */
json_t *json_text_or_null(const char *text);

/* The object in one line with its newline. To be freed; NULL when memory is exhausted. */
char *json_text(const json_t *object);

/* Print {"error": {"status": 240, "name": "invalid-argument", "message": "…"}}. */
void json_show_error(const struct flashvm_error *error);

/*
 * The fields of Python's Result and Artifact, under the same names.
 * @saved_paths: where each artifact was saved, or NULL: then small ones are in the text themselves.
 * @ret_text: to be freed.
 */
int json_result_text(const struct flashvm_result *result, const char *const *saved_paths,
                     char **ret_text, struct flashvm_error *error);
