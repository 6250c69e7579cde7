/* SPDX-License-Identifier: MIT */
/* From what a caller asks for to what is done: defaults, checks, and structs of other versions. */
#include "assertions.h"

#include <fcntl.h>

#include "api/options.h"
#include "base/cleanup.h"

#define cleanup_checked __attribute__((cleanup(fvm_checked_options_finish)))

static const uint64_t YEAR_MS = 365ULL * 24 * 3600 * 1000;

/* NULL-terminated lists of one entry, for tables. */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* For .files_in, with their number. */
#define FILES(...)                                                                                 \
    (const struct flashvm_file_in[]){__VA_ARGS__},                                                 \
        .file_in_count = LENGTH(((const struct flashvm_file_in[]){__VA_ARGS__}))

static void check(const struct flashvm_run_options *options,
                  struct fvm_checked_options *ret_checked)
{
    struct flashvm_error error = {0};

    assert_success(fvm_options_check(options, "pass", 4, ret_checked, &error), &error);
}

static void assert_defaults(const struct fvm_run_spec *spec)
{
    assert_string_equal(spec->engine, "auto");
    assert_int_equal(spec->cpus, 1);
    assert_int_equal(spec->memory_mb, 512);
    assert_int_equal(spec->timeout_ms, 30000);
    assert_int_equal(spec->boot_timeout_ms, 90000);
    assert_int_equal(spec->start_timeout_ms, 60000);
    assert_int_equal(spec->grace_ms, 15000);
    assert_int_equal(spec->collect_timeout_ms, 300000);
    assert_null(spec->workdir); /* the image's */
    assert_null(spec->env[0]);
    assert_string_equal(spec->python_args[0], "-u");
    assert_null(spec->python_args[1]);
    assert_null(spec->expect[0]);
    assert_int_equal(spec->max_stdout_bytes, 64 << 20);
    assert_int_equal(spec->max_stderr_bytes, 64 << 20);
    assert_int_equal(spec->max_artifact_bytes, 256 << 20);
    assert_int_equal(spec->max_artifacts, 1000);
    assert_int_equal(spec->caller.interrupt_fd, -1);
    assert_null(spec->args[0]);
    assert_int_equal(spec->stdin_fd, -1);
    assert_int_equal(spec->file_in_count, 0);
    assert_int_equal(spec->max_processes, 4096);
    assert_int_equal(spec->max_disk_bytes, 0);
    assert_null(spec->caller.interrupted);
    assert_false(spec->cold_boot);
}

static void without_options_the_defaults_hold(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_checked struct fvm_checked_options none = {0}, empty = {0};

    (void)state;
    check(NULL, &none);
    assert_defaults(&none.spec);
    assert_string_equal(none.spec.code, "pass");
    assert_int_equal(none.spec.code_size, 4);
    check(&options, &empty);
    assert_defaults(&empty.spec);
}

static bool never(void *data)
{
    (void)data;
    return false;
}

static void what_is_given_is_taken(void **state)
{
    int data;
    struct flashvm_run_options options = {
        .struct_size = sizeof options,
        .image = "oci:images:a",
        .engine = "qemu",
        .cpus = 64,
        .memory_mb = 128,
        .timeout_ms = 1,
        .workdir = "/tmp/x",
        .env = LIST("A=b=c"),
        .python_args = LIST(NULL),
        .expect = LIST("out/*"),
        .max_stdout_bytes = 1,
        .max_stderr_bytes = 2,
        .max_artifact_bytes = 3,
        .max_artifacts = 4,
        .interrupt_fd = STDERR_FILENO,
        .interrupted = never,
        .interrupted_data = &data,
        .boot_timeout_ms = 5,
        .args = LIST("a", ""),
        .stdin_fd = STDIN_FILENO,
        .max_processes = 8,
        .max_disk_mb = 6,
        .files_in = FILES({"a", NULL, "xy", 2}, {"b", NULL, "z", 1}),
        .max_files_in = 2,
        .max_files_in_bytes = 3,
        .cold_boot = true,
        .network = false,
        .ports = LIST(NULL),
    };
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    check(&options, &checked);
    assert_string_equal(checked.options.image, "oci:images:a");
    assert_string_equal(checked.spec.engine, "qemu");
    assert_int_equal(checked.spec.cpus, 64);
    assert_int_equal(checked.spec.memory_mb, 128);
    assert_int_equal(checked.spec.timeout_ms, 1);
    assert_string_equal(checked.spec.workdir, "/tmp/x");
    assert_string_equal(checked.spec.env[0], "A=b=c");
    assert_null(checked.spec.python_args[0]);
    assert_string_equal(checked.spec.expect[0], "out/*");
    assert_int_equal(checked.spec.max_stdout_bytes, 1);
    assert_int_equal(checked.spec.max_stderr_bytes, 2);
    assert_int_equal(checked.spec.max_artifact_bytes, 3);
    assert_int_equal(checked.spec.max_artifacts, 4);
    assert_int_equal(checked.spec.caller.interrupt_fd, STDERR_FILENO);
    assert_ptr_equal(checked.spec.caller.interrupted, never);
    assert_ptr_equal(checked.spec.caller.interrupted_data, &data);
    assert_int_equal(checked.spec.boot_timeout_ms, 5);
    assert_string_equal(checked.spec.args[0], "a");
    assert_string_equal(checked.spec.args[1], "");
    assert_int_equal(checked.spec.stdin_fd, STDIN_FILENO);
    assert_int_equal(checked.spec.max_processes, 8);
    assert_int_equal(checked.spec.max_disk_bytes, 6 << 20);
    assert_int_equal(checked.spec.file_in_count, 2);
    assert_int_equal(checked.spec.files_in_bytes, 3);
    assert_string_equal(checked.spec.files_in[1].guest_path, "in/b");
    assert_true(checked.spec.cold_boot);
}

static void limits_may_be_reached(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    options.memory_mb = 1024 * 1024;
    options.timeout_ms = options.boot_timeout_ms = YEAR_MS;
    options.max_artifact_bytes = UINT64_MAX;
    check(&options, &checked);
    assert_int_equal(checked.spec.memory_mb, 1024 * 1024);
    assert_true(checked.spec.timeout_ms == YEAR_MS && checked.spec.boot_timeout_ms == YEAR_MS);
    assert_true(checked.spec.max_artifact_bytes == INT64_MAX); /* what the request can say */
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Strings that are made, so that they can be long. */
static char *repeated(char character, size_t count)
{
    char *text = malloc(count + 1);

    assert_non_null(text);
    memset(text, character, count);
    text[count] = '\0';
    return text;
}

static void assert_refused(const struct flashvm_run_options *options, const char *says)
{
    struct flashvm_error error = {0};
    struct fvm_checked_options checked = {.spec.cpus = 12345};

    assert_failure(fvm_options_check(options, "", 0, &checked, &error), &error,
                   FLASHVM_INVALID_ARGUMENT, says);
    assert_int_equal(checked.spec.cpus, 12345); /* untouched */
}

static void every_wrong_option_is_named(void **state)
{
#define OPTIONS(...)                                                                               \
    {                                                                                              \
        .struct_size = sizeof(struct flashvm_run_options), __VA_ARGS__                             \
    }
    const struct {
        const char *says;
        struct flashvm_run_options options;
    } cases[] = {
        {"cpus is 65; it can be 1 to 64", OPTIONS(.cpus = 65)},
        {"cpus is 4294967295", OPTIONS(.cpus = UINT32_MAX)},
        {"memory_mb is 127; it can be 128 to 1048576", OPTIONS(.memory_mb = 127)},
        {"memory_mb is 1048577", OPTIONS(.memory_mb = 1048577)},
        {"timeout_ms is 31536000001; it can be up to 31536000000",
         OPTIONS(.timeout_ms = YEAR_MS + 1)},
        {"timeout_ms is 18446744073709551615", OPTIONS(.timeout_ms = UINT64_MAX)},
        {"boot_timeout_ms is 31536000001", OPTIONS(.boot_timeout_ms = YEAR_MS + 1)},
        {"workdir is \"\"", OPTIONS(.workdir = "")},
        {"workdir is \"work\"; it must be an absolute path", OPTIONS(.workdir = "work")},
        {"workdir is \"./work\"", OPTIONS(.workdir = "./work")},
        {"env has the entry \"A\"; it must have the form NAME=value", OPTIONS(.env = LIST("A"))},
        {"env has the entry \"\"", OPTIONS(.env = LIST(""))},
        {"env has the entry \"=b\"", OPTIONS(.env = LIST("=b"))},
        {"env has \"A=\xff\"; it must be valid UTF-8", OPTIONS(.env = LIST("A=\xff"))},
        {"workdir has \"/\xc0\xaf\"; it must be", OPTIONS(.workdir = "/\xc0\xaf")},
        {"python_args has \"\xed\xa0\x80\"", OPTIONS(.python_args = LIST("\xed\xa0\x80"))},
        {"expect has \"\xc3\"; it must be valid UTF-8", OPTIONS(.expect = LIST("\xc3"))},
        {"expect has \"\"", OPTIONS(.expect = LIST(""))},
        {"expect has \".\"", OPTIONS(.expect = LIST("."))},
        {"expect has \"/etc/passwd\"; a glob is relative to /work",
         OPTIONS(.expect = LIST("/etc/passwd"))},
        {"expect has \"/work\"", OPTIONS(.expect = LIST("/work"))},
        {"expect has \"/work/\"", OPTIONS(.expect = LIST("/work/"))},
        {"expect has \"/work/./\"", OPTIONS(.expect = LIST("/work/./"))},
        {"expect has \"/workshop/x\"", OPTIONS(.expect = LIST("/workshop/x"))},
        {"expect has \"..\"; a glob is relative to /work", OPTIONS(.expect = LIST(".."))},
        {"args has \"\xff\"; it must be valid UTF-8", OPTIONS(.args = LIST("a", "\xff"))},
        {"files_in is NULL", OPTIONS(.file_in_count = 1)},
        {"files_in has the guest path \"../x\"", OPTIONS(.files_in = FILES({"../x", NULL, "", 0}))},
        {"files_in has neither host_path nor data for \"x\"",
         OPTIONS(.files_in = FILES({"x", NULL, NULL, 1}))},
        {"files_in has both host_path and data for \"x\"",
         OPTIONS(.files_in = FILES({"x", "/etc/passwd", "", 0}))},
        {"files_in has an empty host_path for \"x\"",
         OPTIONS(.files_in = FILES({"x", .host_path = ""}))},
        {"files_in has more than one file for /work/in/x",
         OPTIONS(.files_in = FILES({"x", NULL, "", 0}, {"x", NULL, "", 0}))},
        {"files_in: /dev/null is neither a regular file nor a directory",
         OPTIONS(.files_in = FILES({"x", .host_path = "/dev/null"}))},
        {"files_in has 67108865 bytes, but a guest with a memory_mb of 128 holds at most half",
         OPTIONS(.memory_mb = 128, .files_in = FILES({"x", NULL, "", (64 << 20) + 1}))},
        {"files_in has more than 1 files; max_files_in raises the limit",
         OPTIONS(.max_files_in = 1, .files_in = FILES({"x", NULL, "", 0}, {"y", NULL, "", 0}))},
        {"files_in has more than 1 bytes (with in/x); max_files_in_bytes raises",
         OPTIONS(.max_files_in_bytes = 1, .files_in = FILES({"x", NULL, "ab", 2}))},
        {"stdin_fd is 999, which is not open for reading", OPTIONS(.stdin_fd = 999)},
        {"interrupt_fd is 999, which is not open", OPTIONS(.interrupt_fd = 999)},
        {"max_processes is 7; it can be 8 to 32768", OPTIONS(.max_processes = 7)},
        {"max_processes is 32769; it can be 8 to 32768", OPTIONS(.max_processes = 32769)},
        {"max_disk_mb is 1048577; it can be 1 to 1048576", OPTIONS(.max_disk_mb = 1048577)},
        {"expect has \"../x\"", OPTIONS(.expect = LIST("../x"))},
        {"expect has \"a/../b\"", OPTIONS(.expect = LIST("a/../b"))},
        {"expect has \"a/..\"", OPTIONS(.expect = LIST("a/.."))},
        {"expect has \"/work/../etc\"", OPTIONS(.expect = LIST("/work/../etc"))},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(&cases[i].options, cases[i].says);
}

static void a_network_is_refused_until_there_is_one(void **state)
{
    struct flashvm_run_options network = FLASHVM_RUN_OPTIONS_INIT, ports = network;
    struct fvm_checked_options checked;
    struct flashvm_error error = {0};

    (void)state;
    network.network = true;
    ports.ports = LIST("8080");
    assert_failure(fvm_options_check(&network, "", 0, &checked, &error), &error,
                   FLASHVM_UNSUPPORTED, "network is not supported yet");
    assert_failure(fvm_options_check(&ports, "", 0, &checked, &error), &error, FLASHVM_UNSUPPORTED,
                   "ports is not supported yet");
}

static void an_input_that_cannot_be_read_is_refused(void **state)
{
    const struct {
        int flags;
        const char *path, *says;
    } cases[] = {
        {O_WRONLY, "/dev/null", ", which is not open for reading"},
        {O_PATH, "/dev/null", ", which is not open for reading"},
        {O_RDONLY | O_DIRECTORY, "/", ", which is a directory"},
    };
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_close int fd = open(cases[i].path, cases[i].flags | O_CLOEXEC);
        cleanup_free char *says = fvm_format("stdin_fd is %d%s", fd, cases[i].says);

        assert_true(fd >= 0);
        options.stdin_fd = fd;
        assert_refused(&options, says);
    }
}

static void any_negative_descriptor_is_no_input(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    options.stdin_fd = -5;
    check(&options, &checked);
    assert_int_equal(checked.spec.stdin_fd, -1);
}

static void what_is_too_long_is_refused(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_free char *longest = repeated('a', 4096);
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    options.expect = LIST(longest);
    assert_refused(&options, "without \"..\", of at most 4095 bytes");
    options.expect = LIST(longest + 1);
    check(&options, &checked);
    longest[0] = '/';
    options.workdir = longest;
    assert_refused(&options, "it must be an absolute path of at most 4095 bytes");
}

/* As much as Linux can hand to a program. */
static void one_string_has_at_most_131071_bytes(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_free char *longest = repeated('a', 131072);
    const char *const longer[] = {"A=b", longest, NULL}, *const just[] = {longest + 1, NULL};
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    longest[2] = '=';
    options.env = longer;
    assert_refused(&options, "env has a string of 131072 bytes, \"aa=a");
    assert_refused(&options, "the limit is 131071, what Linux can hand to a program");
    options.env = just;
    options.python_args = longer;
    assert_refused(&options, "python_args has a string of 131072 bytes");
    options.python_args = just;
    options.args = longer;
    assert_refused(&options, "args has a string of 131072 bytes");
    options.args = just;
    check(&options, &checked);
    assert_ptr_equal(checked.spec.env[0], longest + 1);
    assert_ptr_equal(checked.spec.python_args[0], longest + 1);
    assert_ptr_equal(checked.spec.args[0], longest + 1);
}

static void lists_have_at_most_a_megabyte(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_free char *eighth = repeated('a', 128 * 1024 - 1);
    const char *list[] = {eighth, eighth, eighth, eighth, eighth, eighth, eighth, eighth, "", NULL};
    cleanup_checked struct fvm_checked_options checked = {0};

    (void)state;
    eighth[1] = '=';
    options.env = list;
    assert_refused(&options,
                   "env has 9 entries of 1048577 bytes together; the limits are 4000 and 1048576");
    options.env = NULL;
    options.python_args = list;
    assert_refused(&options, "python_args has 9 entries");
    options.python_args = NULL;
    options.args = list;
    assert_refused(&options, "args has 9 entries");
    options.args = NULL;
    options.expect = list;
    assert_refused(&options, "expect has 9 entries");
    options.expect = NULL;
    list[8] = NULL;
    options.env = options.args = options.python_args = list;
    check(&options, &checked);
}

static void lists_have_at_most_4000_entries(void **state)
{
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    cleanup_checked struct fvm_checked_options checked = {0};
    const char *list[4002];

    (void)state;
    for (size_t i = 0; i < 4001; i++)
        list[i] = "A=1";
    list[4001] = NULL;
    options.env = list;
    assert_refused(&options, "env has 4001 entries");
    options.env = NULL;
    options.python_args = list;
    assert_refused(&options, "python_args has 4001 entries");
    options.python_args = NULL;
    options.args = list;
    assert_refused(&options, "args has 4001 entries");
    options.args = NULL;
    options.expect = list;
    assert_refused(&options, "expect has 4001 entries");
    options.expect = list + 1;
    check(&options, &checked);
    assert_string_equal(checked.spec.expect[3999], "A=1");
    assert_null(checked.spec.expect[4000]);
}

static void code_has_limits(void **state)
{
    struct fvm_checked_options checked;
    struct flashvm_error error = {0};

    (void)state;
    assert_failure(fvm_options_check(NULL, NULL, 1, &checked, &error), &error,
                   FLASHVM_INVALID_ARGUMENT, "code is NULL");
    assert_failure(fvm_options_check(NULL, "", (64 << 20) + 1, &checked, &error), &error,
                   FLASHVM_INVALID_ARGUMENT, "code has 67108865 bytes; the limit is 67108864");
    assert_success(fvm_options_check(NULL, NULL, 0, &checked, &error), &error);
    fvm_checked_options_finish(&checked);
}

/* ---- expect ---------------------------------------------------------------------------------- */

static void globs_become_relative_to_work(void **state)
{
    static const char *const cases[][2] = {
        {"out/*.txt", "out/*.txt"},
        {"/work/out/*.txt", "out/*.txt"},
        {"./out/*", "out/*"},
        {"out//a", "out/a"},
        {"out/./a", "out/a"},
        {"/work//out/a", "out/a"},
        {"/work/./a", "a"},
        {"**/x", "**/x"},
        {"out/", "out"},
        {"work/a", "work/a"},
        {"...", "..."},
        {"..a/b..", "..a/b.."},
        {".hidden/.x", ".hidden/.x"},
        {"[a/b]", "[a/b]"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
        cleanup_checked struct fvm_checked_options checked = {0};

        options.expect = LIST(cases[i][0]);
        check(&options, &checked);
        assert_string_equal(checked.spec.expect[0], cases[i][1]);
        assert_null(checked.spec.expect[1]);
    }
}

/* ---- other versions of the struct ------------------------------------------------------------ */

/* A struct of `size` bytes and not one more, for ASan; filled as the program of that time did. */
static struct flashvm_run_options *options_of_size(size_t size)
{
    const struct flashvm_run_options now = {
        .struct_size = size, .cpus = 2, .stdin_fd = -1, .interrupt_fd = -1};
    char *bytes = calloc(1, size);

    assert_non_null(bytes);
    memcpy(bytes, &now, size < sizeof now ? size : sizeof now);
    return (struct flashvm_run_options *)bytes;
}

static void an_older_struct_gets_defaults_for_what_it_lacks(void **state)
{
    static const size_t sizes[] = {
        sizeof(size_t),
        offsetof(struct flashvm_run_options, memory_mb),
        offsetof(struct flashvm_run_options, stdin_fd),
        offsetof(struct flashvm_run_options, interrupt_fd),
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        cleanup_free struct flashvm_run_options *options = options_of_size(sizes[i]);
        cleanup_checked struct fvm_checked_options checked = {0};

        check(options, &checked);
        assert_int_equal(checked.spec.cpus, i == 0 ? 1 : 2);
        checked.spec.cpus = 1;
        assert_defaults(&checked.spec);
    }
}

static void a_newer_struct_is_taken_while_its_new_fields_are_unused(void **state)
{
    size_t size = sizeof(struct flashvm_run_options) + 16;
    cleanup_free struct flashvm_run_options *options = options_of_size(size);
    cleanup_checked struct fvm_checked_options checked = {0};
    struct flashvm_error error = {0};

    (void)state;
    check(options, &checked);
    assert_int_equal(checked.spec.cpus, 2);
    ((char *)options)[size - 1] = 1;
    fvm_checked_options_finish(&checked);
    assert_failure(fvm_options_check(options, "", 0, &checked, &error), &error, FLASHVM_UNSUPPORTED,
                   "flashvm_run_options uses a field that this version");
}

static void a_struct_without_its_size_is_refused(void **state)
{
    struct flashvm_run_options options = {.interrupt_fd = -1};

    (void)state;
    assert_refused(&options, "flashvm_run_options has struct_size 0: start from its _INIT macro");
    options.struct_size = sizeof(size_t) - 1;
    assert_refused(&options, "struct_size 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_the_defaults_hold),
        cmocka_unit_test(what_is_given_is_taken),
        cmocka_unit_test(limits_may_be_reached),
        cmocka_unit_test(every_wrong_option_is_named),
        cmocka_unit_test(a_network_is_refused_until_there_is_one),
        cmocka_unit_test(an_input_that_cannot_be_read_is_refused),
        cmocka_unit_test(any_negative_descriptor_is_no_input),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(one_string_has_at_most_131071_bytes),
        cmocka_unit_test(lists_have_at_most_a_megabyte),
        cmocka_unit_test(lists_have_at_most_4000_entries),
        cmocka_unit_test(code_has_limits),
        cmocka_unit_test(globs_become_relative_to_work),
        cmocka_unit_test(an_older_struct_gets_defaults_for_what_it_lacks),
        cmocka_unit_test(a_newer_struct_is_taken_while_its_new_fields_are_unused),
        cmocka_unit_test(a_struct_without_its_size_is_refused),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
