/* SPDX-License-Identifier: MIT */
/*
 * The guest's globs mean what Python's glob.glob(pattern, root_dir="/work", recursive=True) means.
 * The expectations are what Python 3.13 says of regular files with these paths.
 */
#include "assertions.h"

#include "base/clock.h"
#include "glob.h"

struct glob_case {
    const char *pattern, *path;
    bool expected;
};

static void check(const struct glob_case *cases, size_t count,
                  bool (*test)(const char *pattern, const char *path))
{
    for (size_t i = 0; i < count; i++)
        if (test(cases[i].pattern, cases[i].path) != cases[i].expected)
            fail_msg("\"%s\" %s \"%s\"", cases[i].pattern,
                     cases[i].expected ? "does not match" : "matches", cases[i].path);
}

#define check_table(cases, test) check(cases, LENGTH(cases), test)

static void a_name_matches_itself(void **state)
{
    static const struct glob_case cases[] = {
        {"a", "a", true},           {"a", "A", false},        {"a", "ab", false},
        {"ab", "a", false},         {"out/a", "out/a", true}, {"out/a", "a", false},
        {"a", "out/a", false},      {"out", "out/a", false},  {"out/", "out", false},
        {"out/a/", "out/a", false}, {"a\\*", "a*", false},    {"\\a", "\\a", true},
        {"\\a", "a", false},        {"]", "]", true},         {"!", "!", true},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void a_star_and_a_question_mark_stay_within_a_component(void **state)
{
    static const struct glob_case cases[] = {
        {"*", "a", true},
        {"*", "out/a", false},
        {"*/*", "out/a", true},
        {"*/*", "a", false},
        {"*/*", "a/b/c", false},
        {"*.txt", "a.txt", true},
        {"*.txt", "a.txt.gz", false},
        {"*.txt", "a.TXT", false},
        {"a*", "a", true},
        {"*a*", "bab", true},
        {"*a", "aba", true},
        {"*ab", "aab", true},
        {"a*b*c", "axbxc", true},
        {"a*b*c", "axcxb", false},
        {"***", "a", true},
        {"?", "a", true},
        {"?", "ab", false},
        {"??", "ab", true},
        {"a?c", "a/c", false},
        {"*?", "a", true},
        {"?*?", "a", false},
        {"a**", "abc", true},
        {"a**", "a/b", false},
        {"**a", "ba", true},
        {"**a", "b/a", false},
        {"*", "a\nb", true},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void a_set_matches_one_character(void **state)
{
    static const struct glob_case cases[] = {
        {"[ab]", "a", true},     {"[ab]", "c", false},
        {"[ab]", "ab", false},   {"[a-c]", "b", true},
        {"[a-c]", "d", false},   {"[a-c]", "-", false},
        {"[a-]", "-", true},     {"[-a]", "-", true},
        {"[c-a]", "b", false},   {"[c-a]", "c", false},
        {"[a-c-e]", "-", true},  {"[a-c-e]", "d", false},
        {"[!ab]", "c", true},    {"[!ab]", "a", false},
        {"[!a-c]", "b", false},  {"[!c-a]", "b", true},
        {"[a!]", "!", true},     {"[]]", "]", true},
        {"[]a]", "a", true},     {"[!]]", "]", false},
        {"[!]]", "a", true},     {"[]-a]", "_", true},
        {"[*]", "*", true},      {"[*]", "a", false},
        {"[?]", "a", false},     {"[\\]", "\\", true},
        {"x[ab]y", "xby", true}, {"*[0-9].csv", "run7.csv", true},
    };

    (void)state;
    check_table(cases, glob_matches);
}

/* What fnmatch() would take for more. */
static void a_set_is_no_more_than_python_makes_of_it(void **state)
{
    static const struct glob_case cases[] = {
        {"[^a]", "a", true},         {"[^a]", "^", true},
        {"[^a]", "b", false},        {"[[:alpha:]]", "x", false},
        {"[[:alpha:]]", "a]", true}, {"[[:alpha:]]", ":]", true},
        {"[[=a=]]", "a", false},     {"[", "[", true},
        {"[", "a", false},           {"[a", "[a", true},
        {"[]", "[]", true},          {"[!]", "[!]", true},
        {"[!", "[!", true},          {"a[", "a[", true},
        {"[a/b]", "[a/b]", true},    {"[a/b]", "a", false},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void characters_of_utf8_count_as_one(void **state)
{
    static const struct glob_case cases[] = {
        {"?", "é", true},
        {"??", "é", false},
        {"?", "€", true},
        {"?", "😀", true},
        {"[é]", "é", true},
        {"[é]", "è", false},
        {"[à-ü]", "é", true},
        {"[à-ü]", "€", false},
        {"[!a]", "é", true},
        {"*é", "aé", true},
        {"[a-ü]", "é", true},
        /* What is no UTF-8 counts byte by byte. */
        {"?", "\xff", true},
        {"?", "\xc3", true},
        {"??", "\xe2\x82", true},
        {"?", "\xc0\xaf", false},
        {"?", "\xed\xa0\x80", false},
        {"a\xff", "a\xff", true},
        {"*\xa9", "é", false},
        {"[\xc3]", "é", false},
        {"[\xfe-\xff]", "\xff", true},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void a_double_star_stands_for_any_directories(void **state)
{
    static const struct glob_case cases[] = {
        {"**", "a", true},
        {"**", "a/b/c", true},
        {"**/*.txt", "a.txt", true},
        {"**/*.txt", "a/b.txt", true},
        {"**/*.txt", "a/b/c.txt", true},
        {"**/*.txt", "a/b/c.csv", false},
        {"a/**/z", "a/z", true},
        {"a/**/z", "a/b/c/z", true},
        {"a/**/z", "b/z", false},
        {"a/**/z", "az", false},
        {"a/**", "a/b", true},
        {"a/**", "a/b/c", true},
        {"**/a/**", "x/a/y", true},
        {"**/a/**", "x/y", false},
        {"**/**", "a", true},
        {"**/**/a", "a", true},
        {"**/a/**/b", "a/a/x/b", true},
        {"**/b/**/b", "b", false},
        {"**/b/**/b", "b/b", true},
        {"**/*", "a", true},
        {"**/*/*", "a", false},
        {"**/*/*", "a/b", true},
        /* The rest of a last ** is at least one name: a/ is a directory. */
        {"a/**", "a", false},
        {"a/**/**", "a", false},
        {"*/**", "a", false},
        {"**/", "a", false},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void a_leading_dot_must_be_written(void **state)
{
    static const struct glob_case cases[] = {
        {"*", ".a", false},
        {"?a", ".a", false},
        {"[.]a", ".a", false},
        {"[!b]a", ".a", false},
        {".*", ".a", true},
        {".?", ".a", true},
        {".a", ".a", true},
        {"*", "a.b", true},
        {"a*", "a.b", true},
        {"out/*", "out/.a", false},
        {"*/a", ".git/a", false},
        {".git/*", ".git/a", true},
        {"**", ".a", false},
        {"**", "out/.a", false},
        {"**", ".git/a", false},
        {"**/a", ".git/a", false},
        {"**/a", "x/.git/a", false},
        {"**/.a", "x/.a", true},
        {"**/.a", ".a", true},
        {".git/**", ".git/a", true},
        {".git/**", ".git/.a", false},
        {"**/.git/**", "x/.git/a", true},
    };

    (void)state;
    check_table(cases, glob_matches);
}

static void a_walk_leaves_out_only_what_cannot_match(void **state)
{
    static const struct glob_case cases[] = {
        {"out/*.txt", "out", true},
        {"out/*.txt", "other", false},
        {"out/*.txt", "out/a", false},
        {"a", "a", false},
        {"*", "a", false},
        {"*/b", "a", true},
        {"*/b", "a/b", false},
        {"*/b", ".a", false},
        {".a/b", ".a", true},
        {"a/b/c", "a", true},
        {"a/b/c", "a/b", true},
        {"a/b/c", "a/x", false},
        {"a/b/c", "a/b/c", false},
        {"**", "a", true},
        {"**", "a/b/c", true},
        {"**", ".a", false},
        {"**/x", "a/b", true},
        {"**/x", "a/x", true},
        {"**/x", "a/.b", false},
        {"**/.b/x", "a/.b", true},
        {"a/**", "a", true},
        {"a/**", "b", false},
        {"a/**/x", "a/b/c", true},
        {"[ab]/x", "b", true},
        {"[ab]/x", "c", false},
    };

    (void)state;
    check_table(cases, glob_may_match_below);
}

/* A path of `count` times `component`, then `last`. */
static const char *repeat(char *text, const char *component, size_t count, const char *last)
{
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        strcat(text, component);
    return strcat(text, last);
}

static void no_pattern_takes_long(void **state)
{
    static char pattern[4096], path[4096];
    uint64_t begin = fvm_now_us();

    (void)state;
    repeat(path, "a", 254, "c");
    assert_false(glob_matches(repeat(pattern, "*a", 120, "*b"), path));
    assert_true(glob_matches(repeat(pattern, "*a", 120, "*c"), path));
    assert_false(glob_matches(repeat(pattern, "*[!b]", 120, "*b"), path));
    repeat(path, "a/", 1024, "c");
    assert_false(glob_matches(repeat(pattern, "**/a/", 500, "b"), path));
    assert_true(glob_matches(repeat(pattern, "**/a/", 500, "c"), path));
    assert_false(glob_matches(repeat(pattern, "**/", 1000, "b"), path));
    assert_true(glob_matches(repeat(pattern, "**/", 1000, "c"), path));
    assert_true(glob_may_match_below(repeat(pattern, "**/a/", 500, "b"), path));
    assert_in_range(fvm_now_us() - begin, 0, 10 * 1000000);
}

static void a_pattern_over_the_limit_matches_nothing(void **state)
{
    static char pattern[5000];

    (void)state;
    assert_true(glob_matches(repeat(pattern, "*", 4094, "a"), "a"));
    assert_true(glob_may_match_below(repeat(pattern, "**/", 1364, "*/a"), "a"));
    assert_false(glob_matches(repeat(pattern, "*", 4095, "a"), "a"));
    assert_false(glob_may_match_below(repeat(pattern, "**/", 1365, "a"), "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_matches_itself),
        cmocka_unit_test(a_star_and_a_question_mark_stay_within_a_component),
        cmocka_unit_test(a_set_matches_one_character),
        cmocka_unit_test(a_set_is_no_more_than_python_makes_of_it),
        cmocka_unit_test(characters_of_utf8_count_as_one),
        cmocka_unit_test(a_double_star_stands_for_any_directories),
        cmocka_unit_test(a_leading_dot_must_be_written),
        cmocka_unit_test(a_walk_leaves_out_only_what_cannot_match),
        cmocka_unit_test(no_pattern_takes_long),
        cmocka_unit_test(a_pattern_over_the_limit_matches_nothing),
    };

    return cmocka_run_group_tests_name("glob", tests, NULL, NULL);
}
