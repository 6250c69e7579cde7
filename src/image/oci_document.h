/* SPDX-License-Identifier: MIT */
/* What all documents of an image layout have in common: JSON objects, media types, descriptors. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "image/oci.h"

enum { FVM_DOCUMENT_MAX_BYTES = 4 << 20 };

enum fvm_media_kind { MEDIA_UNKNOWN, MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_CONFIG, MEDIA_LAYER };

/* A string member; "" when it is missing or no string. */
const char *fvm_json_text(const json_t *object, const char *key);

int fvm_document_parse(const char *data, size_t size, json_t **ret_json,
                       struct flashvm_error *error);

/* Read, verify and parse the blob of a document. */
int fvm_document_load(const struct fvm_oci *oci, const struct fvm_descriptor *descriptor,
                      json_t **ret_json, struct flashvm_error *error);

/* An index or manifest repeats its media type inside, optionally: the two must not disagree. */
int fvm_document_check(const json_t *json, enum fvm_media_kind kind, struct flashvm_error *error);

int fvm_descriptor_parse(const json_t *json, struct fvm_descriptor *ret_descriptor,
                         enum fvm_media_kind *ret_kind, struct flashvm_error *error);
