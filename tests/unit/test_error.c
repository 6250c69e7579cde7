/* SPDX-License-Identifier: MIT */
/* An errno becomes a sentence, and a remedy where there is one. */
#include "assertions.h"

#include <errno.h>

static void an_errno_is_told_with_its_remedy(void **state)
{
    static const struct {
        int err;
        enum flashvm_status status;
        const char *message;
    } cases[] = {
        {ENOENT, FLASHVM_NOT_FOUND, "cannot write x: No such file or directory"},
        {EROFS, FLASHVM_IO, "cannot write x: Read-only file system"},
        {ENOSPC, FLASHVM_IO,
         "cannot write x: No space left on device (free some space there, or use another place)"},
        {EDQUOT, FLASHVM_IO,
         "cannot write x: Disk quota exceeded (remove files of yours there, or use another "
         "place)"},
        {EFBIG, FLASHVM_IO,
         "cannot write x: File too large (the limit on the size of files is too low: see "
         "ulimit -f)"},
        {EMFILE, FLASHVM_IO,
         "cannot write x: Too many open files (this process has too many: see ulimit -n)"},
        {99999, FLASHVM_IO, "cannot write x: unknown error"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_error struct flashvm_error error = {0};

        assert_int_equal(fvm_fail_errno(&error, cases[i].err, "cannot write %s", "x"), -1);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.status, cases[i].status);
    }
}

static void context_is_put_before_an_error(void **state)
{
    cleanup_error struct flashvm_error error = {0};

    (void)state;
    assert_int_equal(fvm_fail(&error, FLASHVM_IMAGE_INVALID, "it is damaged"), -1);
    assert_int_equal(fvm_fail_context(&error, "the file %d", 1), -1);
    assert_string_equal(error.message, "the file 1: it is damaged");
    assert_int_equal(error.status, FLASHVM_IMAGE_INVALID);
    assert_int_equal(fvm_fail_context(NULL, "nobody asks"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_errno_is_told_with_its_remedy),
        cmocka_unit_test(context_is_put_before_an_error),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
