/* SPDX-License-Identifier: MIT */
#include "glob.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

enum { COMPONENT_MAX = 255 };

/* Cut the first component off. Return: what follows its slash, or NULL when it was the last. */
static const char *first_component(const char *text, char component[COMPONENT_MAX + 1],
                                   bool *ret_fits)
{
    size_t length = strcspn(text, "/");

    *ret_fits = length <= COMPONENT_MAX;
    if (*ret_fits) {
        memcpy(component, text, length);
        component[length] = '\0';
    }
    return text[length] == '/' ? text + length + 1 : NULL;
}

/*
 * Bounded: each `**` may try every suffix of the path, so a pattern with many of them could take
 * exponential time; consecutive `**` are merged and `steps` ends what remains.
 */
static bool match(const char *pattern, const char *path, bool prefix, int *steps)
{
    char wanted[COMPONENT_MAX + 1], found[COMPONENT_MAX + 1];
    const char *pattern_rest, *path_rest;
    bool wanted_fits, found_fits;

    if (--*steps < 0)
        return false;
    if (path == NULL) /* all of the path is used up */
        return prefix ? pattern != NULL : pattern == NULL || strcmp(pattern, "**") == 0;
    if (pattern == NULL)
        return false;
    pattern_rest = first_component(pattern, wanted, &wanted_fits);
    path_rest = first_component(path, found, &found_fits);
    if (!wanted_fits || !found_fits)
        return false;
    if (strcmp(wanted, "**") == 0) {
        while (pattern_rest && strncmp(pattern_rest, "**/", 3) == 0)
            pattern_rest += 3;
        if (pattern_rest && match(pattern_rest, path, prefix, steps))
            return true;
        if (found[0] == '.')
            return false;
        return match(pattern, path_rest, prefix, steps);
    }
    if (fnmatch(wanted, found, FNM_PERIOD | FNM_NOESCAPE) != 0)
        return false;
    return match(pattern_rest, path_rest, prefix, steps);
}

bool glob_matches(const char *pattern, const char *path)
{
    int steps = 10000;

    return match(pattern, path, false, &steps);
}

bool glob_may_match_below(const char *pattern, const char *directory)
{
    int steps = 10000;

    return match(pattern, directory, true, &steps);
}
