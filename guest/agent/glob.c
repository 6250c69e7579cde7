/* SPDX-License-Identifier: MIT */
/*
 * Not fnmatch(): that takes `[^a]` and `[[:alpha:]]` for more than Python does, and counts the
 * bytes of UTF-8 instead of its characters. Nothing here backtracks further than one step, so that
 * no pattern takes long.
 */
#include "glob.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PATTERN_MAX = 4096 };

/* ---- one component ---- */

/*
 * Take one character of UTF-8 off the front. A byte that is no part of one counts as a character of
 * its own, outside of Unicode, as it does in Python's file names.
 */
static uint32_t next_character(const char **text, const char *end)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *bytes = (const uint8_t *)*text;
    size_t size = bytes[0] < 0x80             ? 1
                  : (bytes[0] & 0xe0) == 0xc0 ? 2
                  : (bytes[0] & 0xf0) == 0xe0 ? 3
                  : (bytes[0] & 0xf8) == 0xf0 ? 4
                                              : 0;
    uint32_t value = size == 1 ? bytes[0] : bytes[0] & (0x7f >> size);
    bool valid = size > 0 && size <= (size_t)(end - *text);

    for (size_t i = 1; valid && i < size; i++) {
        valid = (bytes[i] & 0xc0) == 0x80;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    if (!valid || value < smallest[size] || value > 0x10ffff ||
        (value >= 0xd800 && value < 0xe000)) {
        ++*text;
        return 0xdc00 + bytes[0];
    }
    *text += size;
    return value;
}

/*
 * Match a character with the set that begins behind a '['.
 * @set: moved behind the set's ']'.
 * Return: 1, 0, or -1 when there is no ']', so that the '[' stands for itself.
 */
static int match_set(const char **set, const char *end, uint32_t character)
{
    bool negated = *set < end && **set == '!';
    const char *next = *set + negated;
    /* A ']' in the first place is a member. */
    const char *close = next < end ? memchr(next + 1, ']', (size_t)(end - next - 1)) : NULL;
    bool found = false;

    if (close == NULL)
        return -1;
    while (next < close) {
        uint32_t low = next_character(&next, close), high = low;

        if (close - next >= 2 && *next == '-') {
            next++;
            high = next_character(&next, close);
        }
        found |= low <= character && character <= high;
    }
    *set = close + 1;
    return found != negated;
}

/* Match one character with one element of a pattern, which is no '*'; both move on. */
static bool match_element(const char **pattern, const char *pattern_end, const char **name,
                          const char *name_end)
{
    uint32_t character = next_character(name, name_end);
    const char *set = *pattern + 1;
    int in_set;

    if (**pattern == '?') {
        ++*pattern;
        return true;
    }
    in_set = **pattern == '[' ? match_set(&set, pattern_end, character) : -1;
    if (in_set >= 0) {
        *pattern = set;
        return in_set;
    }
    return next_character(pattern, pattern_end) == character;
}

/* When all else fails, the last '*' takes one character more; those before it need not. */
static bool match_component(const char *pattern, size_t pattern_size, const char *name,
                            size_t name_size)
{
    const char *pattern_end = pattern + pattern_size, *name_end = name + name_size;
    const char *after_star = NULL, *star_name = NULL;

    if (name[0] == '.' && pattern[0] != '.')
        return false;
    while (name < name_end) {
        if (pattern < pattern_end && *pattern == '*') {
            after_star = ++pattern;
            star_name = name;
        } else if (pattern == pattern_end ||
                   !match_element(&pattern, pattern_end, &name, name_end)) {
            if (after_star == NULL)
                return false;
            next_character(&star_name, name_end);
            pattern = after_star;
            name = star_name;
        }
    }
    while (pattern < pattern_end && *pattern == '*')
        pattern++;
    return pattern == pattern_end;
}

/* ---- the path ---- */

/*
 * Where in the pattern the walk may stand: reached[i] says that the component at offset i may match
 * next, reached[end] that the pattern is used up.
 */
struct places {
    bool reached[PATTERN_MAX + 1];
};

static bool is_double_star(const char *pattern, size_t place)
{
    return strcspn(pattern + place, "/") == 2 && memcmp(pattern + place, "**", 2) == 0;
}

/* Stand at `place`, and behind the `**` there, which may stand for nothing unless it is the last.
 */
static void reach(struct places *places, const char *pattern, size_t place, size_t end)
{
    while (!places->reached[place]) {
        places->reached[place] = true;
        if (place < end && is_double_star(pattern, place) && place + 3 < end)
            place += 3;
    }
}

/* Go from one place over a component of the path to the places it leads to. */
static void step(struct places *next, const char *pattern, size_t place, size_t end,
                 const char *name, size_t name_size)
{
    size_t size = strcspn(pattern + place, "/"), following = place + size + 1;

    if (is_double_star(pattern, place)) {
        if (name[0] == '.')
            return;
        reach(next, pattern, place, end);
        if (following == end)
            next->reached[end] = true;
    } else if (match_component(pattern + place, size, name, name_size)) {
        reach(next, pattern, following, end);
    }
}

/* Walk down the path. Return: false if the pattern is too long. */
static bool walk(const char *pattern, const char *path, size_t *ret_end, struct places *ret_places)
{
    size_t end = strlen(pattern) + 1;
    struct places next;

    if (end > PATTERN_MAX)
        return false;
    memset(ret_places->reached, 0, end + 1);
    reach(ret_places, pattern, 0, end);
    for (;;) {
        size_t size = strcspn(path, "/");

        memset(next.reached, 0, end + 1);
        for (size_t place = 0; place < end; place++)
            if (ret_places->reached[place])
                step(&next, pattern, place, end, path, size);
        memcpy(ret_places->reached, next.reached, end + 1);
        if (path[size] == '\0')
            break;
        path += size + 1;
    }
    *ret_end = end;
    return true;
}

bool glob_matches(const char *pattern, const char *path)
{
    struct places places;
    size_t end;

    return walk(pattern, path, &end, &places) && places.reached[end];
}

bool glob_may_match_below(const char *pattern, const char *directory)
{
    struct places places;
    size_t end;

    return walk(pattern, directory, &end, &places) && memchr(places.reached, true, end) != NULL;
}
