/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/error.h"

void flashvm_error_finish(struct flashvm_error *error)
{
    if (error == NULL)
        return;
    free(error->message);
    *error = (struct flashvm_error){0};
}

const char *flashvm_status_name(enum flashvm_status status)
{
    switch (status) {
    case FLASHVM_OK:
        return "ok";
    case FLASHVM_INVALID_ARGUMENT:
        return "invalid-argument";
    case FLASHVM_NOT_FOUND:
        return "not-found";
    case FLASHVM_IO:
        return "io";
    case FLASHVM_UNSUPPORTED:
        return "unsupported";
    case FLASHVM_ENGINE_UNAVAILABLE:
        return "engine-unavailable";
    case FLASHVM_BOOT_FAILED:
        return "boot-failed";
    case FLASHVM_GUEST_FAILED:
        return "guest-failed";
    case FLASHVM_IMAGE_INVALID:
        return "image-invalid";
    case FLASHVM_CACHE_UNSAFE:
        return "cache-unsafe";
    case FLASHVM_CANCELLED:
        return "cancelled";
    case FLASHVM_INTERNAL:
        return "internal";
    }
    return "unknown";
}
