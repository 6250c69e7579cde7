/* SPDX-License-Identifier: MIT */
/* JSON is jansson's; this adds only what the rest of the code says often. */
#pragma once

#include <jansson.h>

static inline void fvm_cleanup_json(json_t **json)
{
    json_decref(*json);
}
#define cleanup_json __attribute__((cleanup(fvm_cleanup_json)))
