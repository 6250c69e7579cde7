/* SPDX-License-Identifier: MIT */
#include "api/guest_path.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int fvm_guest_path_below(const char *base, const char *path, char **ret_relative)
{
    size_t base_length = strlen(base);
    const char *part = strncmp(path, base, base_length) == 0 ? path + base_length : path;
    cleanup_free char *relative = calloc(1, strlen(part) + 1);
    size_t length, size = 0;

    if (relative == NULL)
        return -1;
    if (part == path && path[0] == '/')
        return 1;
    for (; *part; part += length + (part[length] == '/')) {
        length = strcspn(part, "/");
        if (length == 2 && memcmp(part, "..", 2) == 0)
            return 1;
        if (length == 0 || (length == 1 && *part == '.'))
            continue;
        if (size > 0)
            relative[size++] = '/';
        memcpy(relative + size, part, length);
        size += length;
    }
    if (size == 0)
        return 1;
    *ret_relative = steal_pointer(relative);
    return 0;
}
