/* SPDX-License-Identifier: MIT */
/* Paths that a caller gives for the guest, brought into one form. */
#include "assertions.h"

#include "api/guest_path.h"
#include "base/cleanup.h"

static void a_path_becomes_relative_to_its_directory(void **state)
{
    static const struct {
        const char *base, *path, *relative;
    } cases[] = {
        {"/work/", "a", "a"},
        {"/work/", "a/b/c", "a/b/c"},
        {"/work/", "/work/a", "a"},
        {"/work/", "/work///a", "a"},
        {"/work/", "./a/./b/.", "a/b"},
        {"/work/", "a//b///", "a/b"},
        {"/work/", "/work/work/a", "work/a"},
        {"/work/", "/work//work/a", "work/a"}, /* begins with the directory only once */
        {"/work/", "work/a", "work/a"},
        {"/work/", "...", "..."},
        {"/work/", "..a/b../.c", "..a/b../.c"},
        {"/work/", " ", " "},
        {"/work/", "\xff\n", "\xff\n"},
        {"/work/in/", "/work/in/a", "a"},
        {"/work/in/", "in/a", "in/a"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_free char *relative = NULL;

        assert_int_equal(fvm_guest_path_below(cases[i].base, cases[i].path, &relative), 0);
        assert_string_equal(relative, cases[i].relative);
    }
}

static void a_path_that_names_nothing_below_it_is_refused(void **state)
{
    static const struct {
        const char *base, *path;
    } cases[] = {
        {"/work/", ""},           {"/work/", "."},          {"/work/", "./."},
        {"/work/", "/"},          {"/work/", "//a"},        {"/work/", "/a"},
        {"/work/", "/work"},      {"/work/", "/work/"},     {"/work/", "/work/."},
        {"/work/", "/workshop"},  {"/work/", ".."},         {"/work/", "../a"},
        {"/work/", "a/.."},       {"/work/", "a/../b"},     {"/work/", "/work/.."},
        {"/work/", "/work/a/.."}, {"/work/in/", "/work/a"}, {"/work/in/", "/work/in"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char *relative = (char *)"untouched";

        if (fvm_guest_path_below(cases[i].base, cases[i].path, &relative) != 1)
            fail_msg("\"%s\" is taken as below %s", cases[i].path, cases[i].base);
        assert_string_equal(relative, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_becomes_relative_to_its_directory),
        cmocka_unit_test(a_path_that_names_nothing_below_it_is_refused),
    };

    return cmocka_run_group_tests_name("guest_path", tests, NULL, NULL);
}
