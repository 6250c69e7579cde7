/* SPDX-License-Identifier: MIT */
/* The frames between host and guest: what goes in comes out, and nothing else is a frame. */
#include "assertions.h"

#include "protocol/frame.h"

/* ---- streams --------------------------------------------------------------------------------- */

static void add_frame(struct fvm_buffer *stream, enum fvm_frame_type type, const void *payload,
                      size_t size)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, size, header);
    assert_int_equal(fvm_buffer_append(stream, header, sizeof header), 0);
    assert_int_equal(fvm_buffer_append(stream, payload, size), 0);
}

static void feed(struct fvm_frame_decoder *decoder, const void *data, size_t size)
{
    assert_int_equal(fvm_frame_decoder_feed(decoder, data, size), 0);
}

static void assert_next(struct fvm_frame_decoder *decoder, enum fvm_frame_type type,
                        const void *payload, size_t size)
{
    struct fvm_frame frame;

    assert_int_equal(fvm_frame_decoder_next(decoder, &frame), 1);
    assert_int_equal(frame.type, type);
    assert_int_equal(frame.size, size);
    assert_memory_equal(frame.payload, payload, size);
}

static void assert_no_more(struct fvm_frame_decoder *decoder)
{
    struct fvm_frame frame = {.size = 12345};

    assert_int_equal(fvm_frame_decoder_next(decoder, &frame), 0);
    assert_int_equal(frame.size, 12345); /* untouched */
}

static void a_header_has_the_documented_bytes(void **state)
{
    static const uint8_t expected[] = {12, 0, 0, 0, 0x34, 0x12, 0, 0};
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    (void)state;
    fvm_frame_encode_header(FVM_FRAME_STDOUT, 0x1234, header);
    assert_memory_equal(header, expected, sizeof expected);
}

static void every_type_and_size_comes_through(void **state)
{
    static const size_t sizes[] = {
        0, 1, 7, 8, 9, 4096, FVM_FRAME_MAX_PAYLOAD - 1, FVM_FRAME_MAX_PAYLOAD};
    static char payload[FVM_FRAME_MAX_PAYLOAD];

    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 31);
    for (int type = 1; type < FVM_FRAME_TYPE_END; type++) {
        for (size_t i = 0; i < LENGTH(sizes); i++) {
            cleanup_buffer struct fvm_buffer stream = {0};
            struct fvm_frame_decoder decoder = {0};

            add_frame(&stream, type, payload, sizes[i]);
            feed(&decoder, stream.data, stream.size);
            assert_next(&decoder, type, payload, sizes[i]);
            assert_no_more(&decoder);
            fvm_frame_decoder_finish(&decoder);
        }
    }
}

static void add_three_frames(struct fvm_buffer *stream)
{
    add_frame(stream, FVM_FRAME_STARTED, NULL, 0);
    add_frame(stream, FVM_FRAME_STDOUT, "some output", 11);
    add_frame(stream, FVM_FRAME_RESULT, "{}", 2);
}

/* Take what there is. Return: how many of the three frames were given out, from the one at `next`.
 */
static int take_three_frames(struct fvm_frame_decoder *decoder, int next)
{
    static const struct fvm_frame expected[] = {
        {FVM_FRAME_STARTED, "", 0},
        {FVM_FRAME_STDOUT, "some output", 11},
        {FVM_FRAME_RESULT, "{}", 2},
    };
    struct fvm_frame frame;
    int outcome;

    while ((outcome = fvm_frame_decoder_next(decoder, &frame)) > 0) {
        assert_in_range(next, 0, 2);
        assert_int_equal(frame.type, expected[next].type);
        assert_int_equal(frame.size, expected[next].size);
        assert_memory_equal(frame.payload, expected[next].payload, frame.size);
        next++;
    }
    assert_int_equal(outcome, 0);
    return next;
}

static void a_stream_may_be_split_at_every_byte(void **state)
{
    cleanup_buffer struct fvm_buffer stream = {0};

    (void)state;
    add_three_frames(&stream);
    for (size_t split = 0; split <= stream.size; split++) {
        struct fvm_frame_decoder decoder = {0};
        int next;

        feed(&decoder, stream.data, split);
        next = take_three_frames(&decoder, 0);
        assert_int_equal(next, (split >= 8) + (split >= 27) + (split >= 37));
        feed(&decoder, stream.data + split, stream.size - split);
        assert_int_equal(take_three_frames(&decoder, next), 3);
        fvm_frame_decoder_finish(&decoder);
    }
}

static void a_stream_may_come_byte_by_byte(void **state)
{
    cleanup_buffer struct fvm_buffer stream = {0};
    struct fvm_frame_decoder decoder = {0};
    int next = 0;

    (void)state;
    add_three_frames(&stream);
    for (size_t i = 0; i < stream.size; i++) {
        feed(&decoder, stream.data + i, 1);
        next = take_three_frames(&decoder, next);
    }
    assert_int_equal(next, 3);
    fvm_frame_decoder_finish(&decoder);
}

static void a_long_stream_needs_no_more_memory_than_its_frames(void **state)
{
    cleanup_buffer struct fvm_buffer stream = {0};
    struct fvm_frame_decoder decoder = {0};

    (void)state;
    add_three_frames(&stream);
    for (int i = 0; i < 10000; i++) {
        feed(&decoder, stream.data, stream.size);
        assert_int_equal(take_three_frames(&decoder, 0), 3);
    }
    assert_in_range(decoder.pending.capacity, stream.size, 1024);
    fvm_frame_decoder_finish(&decoder);
}

/* ---- headers that are none ------------------------------------------------------------------- */

static void a_bad_header_is_refused_before_its_payload_comes(void **state)
{
    static const struct {
        const char *what;
        uint8_t header[FVM_FRAME_HEADER_SIZE];
    } cases[] = {
        {"no type", {0, 0, 0, 0, 0, 0, 0, 0}},
        {"the first unknown type", {FVM_FRAME_TYPE_END, 0, 0, 0, 0, 0, 0, 0}},
        {"the last unknown type", {255, 0, 0, 0, 0, 0, 0, 0}},
        {"byte 1", {FVM_FRAME_STDOUT, 1, 0, 0, 0, 0, 0, 0}},
        {"byte 2", {FVM_FRAME_STDOUT, 0, 1, 0, 0, 0, 0, 0}},
        {"byte 3", {FVM_FRAME_STDOUT, 0, 0, 0x80, 0, 0, 0, 0}},
        {"one byte too long", {FVM_FRAME_STDOUT, 0, 0, 0, 1, 0, 1, 0}},
        {"4 GiB too long", {FVM_FRAME_STDOUT, 0, 0, 0, 255, 255, 255, 255}},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct fvm_frame_decoder decoder = {0};
        struct fvm_frame frame;

        feed(&decoder, cases[i].header, FVM_FRAME_HEADER_SIZE);
        if (fvm_frame_decoder_next(&decoder, &frame) != -1)
            fail_msg("a header was taken: %s", cases[i].what);
        assert_int_equal(fvm_frame_decoder_next(&decoder, &frame), -1); /* and for good */
        fvm_frame_decoder_finish(&decoder);
    }
}

static void a_bad_header_is_refused_behind_good_frames(void **state)
{
    cleanup_buffer struct fvm_buffer stream = {0};
    struct fvm_frame_decoder decoder = {0};
    struct fvm_frame frame;

    (void)state;
    add_three_frames(&stream);
    assert_int_equal(fvm_buffer_append(&stream, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 0);
    feed(&decoder, stream.data, stream.size);
    assert_next(&decoder, FVM_FRAME_STARTED, "", 0);
    assert_next(&decoder, FVM_FRAME_STDOUT, "some output", 11);
    assert_next(&decoder, FVM_FRAME_RESULT, "{}", 2);
    assert_int_equal(fvm_frame_decoder_next(&decoder, &frame), -1);
    fvm_frame_decoder_finish(&decoder);
}

/* ---- FILE ------------------------------------------------------------------------------------ */

/* The size, and whether it is a program. */
enum { FILE_HEADER_SIZE = 9 };

/* A path of components with 200 bytes, `length` bytes long. To be freed. */
static char *long_path(size_t length)
{
    char *path = malloc(length + 1);

    assert_non_null(path);
    for (size_t i = 0; i < length; i++)
        path[i] = i % 200 == 199 ? '/' : 'p';
    path[length - 1] = 'p';
    path[length] = '\0';
    return path;
}

static int parse_file(const void *path, size_t size, uint64_t *ret_size,
                      char ret_path[FVM_FILE_PATH_MAX + 1])
{
    cleanup_buffer struct fvm_buffer payload = {0};
    bool executable;

    assert_int_equal(fvm_buffer_append(&payload, "\1\2\3\4\5\6\7\x88\0", FILE_HEADER_SIZE), 0);
    assert_int_equal(fvm_buffer_append(&payload, path, size), 0);
    return fvm_frame_parse_file(&(struct fvm_frame){FVM_FRAME_FILE, payload.data, payload.size},
                                ret_size, &executable, ret_path);
}

static void a_file_frame_says_size_and_path(void **state)
{
    char path[FVM_FILE_PATH_MAX + 1];
    uint64_t size;

    (void)state;
    assert_int_equal(parse_file("out/result.txt", 14, &size, path), 0);
    assert_true(size == 0x8807060504030201);
    assert_string_equal(path, "out/result.txt");
}

static void a_file_frame_says_whether_it_is_a_program(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char payload[] = "\0\0\0\0\0\0\0\0?a", path[FVM_FILE_PATH_MAX + 1];
        const struct fvm_frame frame = {FVM_FRAME_FILE, payload, FILE_HEADER_SIZE + 1};
        bool executable = false;
        uint64_t size;

        payload[8] = (char)byte;
        assert_int_equal(fvm_frame_parse_file(&frame, &size, &executable, path), byte > 1 ? -1 : 0);
        assert_int_equal(executable, byte == 1);
    }
}

static void file_paths_stay_below_their_directory(void **state)
{
#define PATH(text, safe)                                                                           \
    {                                                                                              \
        text, sizeof(text) - 1, safe                                                               \
    }
#define C50  "cccccccccccccccccccccccccccccccccccccccccccccccccc"
#define C250 C50 C50 C50 C50 C50
    static const struct {
        const char *path;
        size_t size;
        bool safe;
    } cases[] = {
        PATH("a", true),
        PATH("main.py", true),
        PATH("a/b/c", true),
        PATH("...", true),
        PATH("..a", true),
        PATH("a..", true),
        PATH(".hidden", true),
        PATH("a/...", true),
        PATH(" ", true),
        PATH("a\nb", true),
        PATH("\xff\xfe", true),
        PATH("a\\..\\b", true),
        PATH(C250 "12345", true),
        PATH("a/" C250 "12345/b", true),
        PATH("", false),
        PATH("/", false),
        PATH("/a", false),
        PATH("a/", false),
        PATH("a//b", false),
        PATH(".", false),
        PATH("..", false),
        PATH("./a", false),
        PATH("../a", false),
        PATH("a/.", false),
        PATH("a/..", false),
        PATH("a/../b", false),
        PATH("a/./b", false),
        PATH("a/b/..", false),
        PATH("\0", false),
        PATH("a\0b", false),
        PATH("a\0", false),
        PATH("a/b\0/../c", false),
        PATH(C250 "123456", false),
        PATH("a/" C250 "123456", false),
        PATH(C250 "123456/a", false),
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char path[FVM_FILE_PATH_MAX + 1] = "untouched";
        uint64_t size = 99;
        int outcome = parse_file(cases[i].path, cases[i].size, &size, path);

        if ((outcome == 0) != cases[i].safe)
            fail_msg("the path \"%s\" is %s", cases[i].path, outcome == 0 ? "taken" : "refused");
        assert_string_equal(path, cases[i].safe ? cases[i].path : "untouched");
    }
}

static void a_path_has_a_maximal_length(void **state)
{
    char *longest = long_path(FVM_FILE_PATH_MAX), *too_long = long_path(FVM_FILE_PATH_MAX + 1);
    char path[FVM_FILE_PATH_MAX + 1], payload[FVM_FILE_PAYLOAD_MAX];
    uint64_t size;

    (void)state;
    assert_int_equal(parse_file(longest, FVM_FILE_PATH_MAX, &size, path), 0);
    assert_string_equal(path, longest);
    assert_int_equal(parse_file(too_long, FVM_FILE_PATH_MAX + 1, &size, path), -1);
    assert_int_equal(fvm_frame_format_file(1, true, longest, payload), FVM_FILE_PAYLOAD_MAX);
    assert_int_equal(fvm_frame_format_file(1, true, too_long, payload), 0);
    free(longest);
    free(too_long);
}

static void a_file_frame_without_a_whole_header_and_a_path_is_refused(void **state)
{
    char path[FVM_FILE_PATH_MAX + 1];
    bool executable;
    uint64_t size;

    (void)state;
    for (size_t length = 0; length <= FILE_HEADER_SIZE; length++) {
        char *payload = malloc(length + !length); /* of exactly that size, for ASan */

        assert_non_null(payload);
        memset(payload, 1, length);
        assert_int_equal(fvm_frame_parse_file(&(struct fvm_frame){FVM_FRAME_FILE, payload, length},
                                              &size, &executable, path),
                         -1);
        free(payload);
    }
}

static void what_is_formatted_can_be_parsed(void **state)
{
    static const uint64_t sizes[] = {0, 1, 0x0102030405060708, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        char payload[FVM_FILE_PAYLOAD_MAX], path[FVM_FILE_PATH_MAX + 1];
        size_t length = fvm_frame_format_file(sizes[i], i % 2, "out/x", payload);
        struct fvm_frame frame = {FVM_FRAME_FILE, payload, length};
        bool executable = !(i % 2);
        uint64_t size;

        assert_int_equal(length, FILE_HEADER_SIZE + 5);
        assert_int_equal(fvm_frame_parse_file(&frame, &size, &executable, path), 0);
        assert_true(size == sizes[i]);
        assert_int_equal(executable, i % 2);
        assert_string_equal(path, "out/x");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_has_the_documented_bytes),
        cmocka_unit_test(every_type_and_size_comes_through),
        cmocka_unit_test(a_stream_may_be_split_at_every_byte),
        cmocka_unit_test(a_stream_may_come_byte_by_byte),
        cmocka_unit_test(a_long_stream_needs_no_more_memory_than_its_frames),
        cmocka_unit_test(a_bad_header_is_refused_before_its_payload_comes),
        cmocka_unit_test(a_bad_header_is_refused_behind_good_frames),
        cmocka_unit_test(a_file_frame_says_size_and_path),
        cmocka_unit_test(a_file_frame_says_whether_it_is_a_program),
        cmocka_unit_test(file_paths_stay_below_their_directory),
        cmocka_unit_test(a_path_has_a_maximal_length),
        cmocka_unit_test(a_file_frame_without_a_whole_header_and_a_path_is_refused),
        cmocka_unit_test(what_is_formatted_can_be_parsed),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
