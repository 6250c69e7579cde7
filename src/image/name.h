/* SPDX-License-Identifier: MIT */
/* What a caller may call an image; flashvm.h tells it to users. */
#pragma once

#include "base/error.h"
#include "image/blob.h"

enum fvm_image_kind {
    FVM_IMAGE_EMBEDDED, /* NULL, "" or the embedded image's reference */
    FVM_IMAGE_LAYOUT,   /* oci:PATH[:REF] */
    FVM_IMAGE_CACHED,   /* any other reference, or a digest alone */
};

struct fvm_image_name {
    enum fvm_image_kind kind;
    char *reference; /* without the digest, a layout's path made absolute; "" for a digest alone */
    char *path;      /* of a layout, absolute */
    char *ref_name;  /* in the layout; NULL: its only image */
    char digest[FVM_DIGEST_SIZE]; /* "": none was given */
};

/* FLASHVM_INVALID_ARGUMENT when `image` has none of the forms. */
int fvm_image_name_parse(const char *image, struct fvm_image_name *ret_name,
                         struct flashvm_error *error);
void fvm_image_name_finish(struct fvm_image_name *name);
#define cleanup_image_name __attribute__((cleanup(fvm_image_name_finish)))
