/* SPDX-License-Identifier: MIT */
/*
 * The guest's globs: any pattern against any path. A walk that leaves out what
 * glob_may_match_below() says it may leave out finds every path that matches.
 *
 * Input: pattern, NUL, path.
 */
#include "fuzz.h"

#include "glob.h"
#include "protocol/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    char *pattern = input_string(input_text(&input));
    char *path = input_string(input_text(&input));
    bool matches = glob_matches(pattern, path);

    /* A walk meets only such paths. */
    if (matches && fvm_file_path_is_safe(path, strlen(path)))
        for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
            *slash = '\0';
            must(glob_may_match_below(pattern, path));
            *slash = '/';
        }
    glob_may_match_below(pattern, path);
    free(pattern);
    free(path);
    return 0;
}
