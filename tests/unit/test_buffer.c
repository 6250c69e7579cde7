/* SPDX-License-Identifier: MIT */
/* The buffer that everything from a guest is collected in. */
#include "assertions.h"

#include "base/buffer.h"

static void append_text(struct fvm_buffer *buffer, const char *text)
{
    assert_int_equal(fvm_buffer_append(buffer, text, strlen(text)), 0);
}

/* The bytes are these, and a NUL stands behind them. */
static void assert_holds(const struct fvm_buffer *buffer, const char *text)
{
    assert_int_equal(buffer->size, strlen(text));
    assert_memory_equal(buffer->data, text, strlen(text) + 1);
}

static void what_is_appended_stands_in_order_with_a_nul_behind(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    append_text(&buffer, "one ");
    assert_holds(&buffer, "one ");
    append_text(&buffer, "two");
    assert_holds(&buffer, "one two");
}

static void bytes_of_any_value_are_kept(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};
    uint8_t all[256];

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    assert_int_equal(fvm_buffer_append(&buffer, all, sizeof all), 0);
    assert_int_equal(buffer.size, sizeof all);
    assert_memory_equal(buffer.data, all, sizeof all);
    assert_int_equal(buffer.data[sizeof all], 0);
}

static void appending_nothing_gives_an_empty_text(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    assert_int_equal(fvm_buffer_append(&buffer, NULL, 0), 0);
    assert_non_null(buffer.data);
    assert_holds(&buffer, "");
    append_text(&buffer, "x");
    assert_int_equal(fvm_buffer_append(&buffer, NULL, 0), 0);
    assert_holds(&buffer, "x");
}

/* Sizes around every capacity it may have, so that ASan sees a NUL that has no room. */
static void growing_keeps_what_was_there(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};
    size_t expected = 0;

    (void)state;
    for (size_t size = 1; size < 700; size++) {
        char chunk[700];

        memset(chunk, 'a' + (int)(size % 26), size);
        assert_int_equal(fvm_buffer_append(&buffer, chunk, size), 0);
        expected += size;
        assert_int_equal(buffer.size, expected);
        assert_int_equal(buffer.data[expected], 0);
        assert_true(buffer.capacity > expected);
    }
    for (size_t size = 1, start = 0; size < 700; start += size++)
        for (size_t i = 0; i < size; i++)
            assert_int_equal(buffer.data[start + i], 'a' + (int)(size % 26));
}

static void growing_takes_few_allocations(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};
    size_t capacity = 0, grown = 0;

    (void)state;
    for (int i = 0; i < 1024 * 1024; i++) {
        assert_int_equal(fvm_buffer_append(&buffer, "x", 1), 0);
        grown += buffer.capacity != capacity;
        capacity = buffer.capacity;
    }
    assert_in_range(grown, 1, 20);
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    append_text(&buffer, "kept");
    assert_int_equal(fvm_buffer_append(&buffer, "x", SIZE_MAX), -1);
    assert_int_equal(fvm_buffer_append(&buffer, "x", SIZE_MAX / 2), -1);
    assert_int_equal(fvm_buffer_append(&buffer, "x", SIZE_MAX / 2 - 4), -1);
    assert_holds(&buffer, "kept");
}

static void a_limit_keeps_the_front_and_drops_the_rest(void **state)
{
    static const struct {
        uint64_t limit;
        const char *kept;
    } cases[] = {
        {0, ""},      {1, "a"},      {3, "abc"},    {4, "abcd"},
        {5, "abcde"}, {6, "abcdef"}, {7, "abcdef"}, {UINT64_MAX, "abcdef"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_buffer struct fvm_buffer buffer = {0};

        assert_int_equal(fvm_buffer_append_limited(&buffer, "abc", 3, cases[i].limit), 0);
        assert_int_equal(fvm_buffer_append_limited(&buffer, "def", 3, cases[i].limit), 0);
        assert_holds(&buffer, cases[i].kept);
        assert_int_equal(fvm_buffer_append_limited(&buffer, "", 0, cases[i].limit), 0);
        assert_holds(&buffer, cases[i].kept);
    }
}

static void a_limit_below_what_is_there_takes_nothing_away(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    append_text(&buffer, "abcdef");
    assert_int_equal(fvm_buffer_append_limited(&buffer, "ghi", 3, 4), 0);
    assert_holds(&buffer, "abcdef");
}

static void a_tail_is_the_end(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    fvm_buffer_keep_tail(&buffer, 10);
    assert_int_equal(buffer.size, 0);
    append_text(&buffer, "abcdef");
    fvm_buffer_keep_tail(&buffer, 7);
    assert_holds(&buffer, "abcdef");
    fvm_buffer_keep_tail(&buffer, 6);
    assert_holds(&buffer, "abcdef");
    fvm_buffer_keep_tail(&buffer, 2);
    assert_holds(&buffer, "ef");
    append_text(&buffer, "gh");
    assert_holds(&buffer, "efgh");
    fvm_buffer_keep_tail(&buffer, 0);
    assert_holds(&buffer, "");
}

static void what_is_consumed_goes_from_the_front(void **state)
{
    cleanup_buffer struct fvm_buffer buffer = {0};

    (void)state;
    fvm_buffer_consume(&buffer, 0);
    append_text(&buffer, "abcdef");
    fvm_buffer_consume(&buffer, 0);
    assert_holds(&buffer, "abcdef");
    fvm_buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cdef");
    append_text(&buffer, "gh");
    assert_holds(&buffer, "cdefgh");
    fvm_buffer_consume(&buffer, 6);
    assert_holds(&buffer, "");
}

static void a_finished_buffer_may_be_used_again(void **state)
{
    struct fvm_buffer buffer = {0};

    (void)state;
    append_text(&buffer, "abc");
    fvm_buffer_finish(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.size, 0);
    append_text(&buffer, "d");
    assert_holds(&buffer, "d");
    fvm_buffer_finish(&buffer);
    fvm_buffer_finish(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_stands_in_order_with_a_nul_behind),
        cmocka_unit_test(bytes_of_any_value_are_kept),
        cmocka_unit_test(appending_nothing_gives_an_empty_text),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(growing_takes_few_allocations),
        cmocka_unit_test(a_size_that_cannot_be_is_refused),
        cmocka_unit_test(a_limit_keeps_the_front_and_drops_the_rest),
        cmocka_unit_test(a_limit_below_what_is_there_takes_nothing_away),
        cmocka_unit_test(a_tail_is_the_end),
        cmocka_unit_test(what_is_consumed_goes_from_the_front),
        cmocka_unit_test(a_finished_buffer_may_be_used_again),
    };

    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
