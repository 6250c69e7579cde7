/* SPDX-License-Identifier: MIT */
/* What the agent makes of the host's JSON: SETUP and REQUEST. */
#include "assertions.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "request.h"

/* A request with nothing wrong in it; a new reference. */
static json_t *good_request(void)
{
    json_t *json =
        json_pack("{s:[s], s:[s], s:[s, s], s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:I}", /**/
                  "python_args", "-O",                                                  /**/
                  "args", "a",                                                          /**/
                  "env", "A=1", "B=2",                                                  /**/
                  "expect", "out/*.txt",                                                /**/
                  "workdir", "/tmp/x",                                                  /**/
                  "timeout_ms", 30000,                                                  /**/
                  "max_artifact_bytes", 1000,                                           /**/
                  "max_artifacts", 10,                                                  /**/
                  "max_processes", 100,                                                 /**/
                  "max_disk_bytes", 5000,                                               /**/
                  "clock_ns", (json_int_t)1700000000123456789);

    assert_non_null(json);
    return json;
}

static const char *parse(const json_t *json, struct request *ret_request)
{
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);

    assert_non_null(text);
    return request_parse(text, strlen(text), ret_request);
}

/* Set a field to a JSON value (NULL removes it). */
static void set_field(json_t *json, const char *name, const char *value)
{
    if (value)
        assert_int_equal(json_object_set_new(json, name, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    else
        assert_int_equal(json_object_del(json, name), 0);
}

static void a_request_is_taken_as_it_stands(void **state)
{
    cleanup_json json_t *json = good_request();
    struct request request;

    (void)state;
    assert_null(parse(json, &request));
    assert_string_equal(request.python_args[0], "-O");
    assert_null(request.python_args[1]);
    assert_string_equal(request.env[0], "A=1");
    assert_string_equal(request.env[1], "B=2");
    assert_null(request.env[2]);
    assert_string_equal(request.expect[0], "out/*.txt");
    assert_null(request.expect[1]);
    assert_string_equal(request.workdir, "/tmp/x");
    assert_int_equal(request.timeout_ms, 30000);
    assert_int_equal(request.max_artifact_bytes, 1000);
    assert_int_equal(request.max_artifacts, 10);
    assert_string_equal(request.args[0], "a");
    assert_int_equal(request.max_processes, 100);
    assert_int_equal(request.max_disk_bytes, 5000);
    assert_int_equal(request.clock_ns, 1700000000123456789);
    request_finish(&request);
}

/* The host leaves out what most requests have in common: parsing takes an emulated guest long. */
static void what_a_request_leaves_out_is_as_usual(void **state)
{
    static const char *const left_out[] = {
        "python_args",        "args",          "env", "expect", "workdir", "max_artifacts",
        "max_artifact_bytes", "max_disk_bytes"};
    cleanup_json json_t *json = good_request();
    struct request request;

    (void)state;
    for (size_t i = 0; i < LENGTH(left_out); i++)
        assert_int_equal(json_object_del(json, left_out[i]), 0);
    assert_null(parse(json, &request));
    assert_string_equal(request.python_args[0], "-u");
    assert_null(request.python_args[1]);
    assert_null(request.args[0]);
    assert_null(request.env[0]);
    assert_null(request.expect[0]);
    assert_string_equal(request.workdir, "/work");
    assert_int_equal(request.max_artifacts, 0);
    assert_int_equal(request.max_artifact_bytes, 0);
    assert_int_equal(request.max_disk_bytes, 0);
    assert_int_equal(request.timeout_ms, 30000);
    assert_true(request_fits_zygote(&request));
    request_finish(&request);
}

static void lists_may_be_empty_and_limits_zero(void **state)
{
    static const char *const lists[] = {"python_args", "args", "env", "expect"};
    static const char *const limits[] = {"max_artifact_bytes", "max_artifacts", "max_disk_bytes"};
    cleanup_json json_t *json = good_request();
    struct request request;

    (void)state;
    for (size_t i = 0; i < LENGTH(lists); i++)
        set_field(json, lists[i], "[]");
    for (size_t i = 0; i < LENGTH(limits); i++)
        set_field(json, limits[i], "0");
    assert_null(parse(json, &request));
    assert_null(request.python_args[0]);
    assert_null(request.env[0]);
    assert_null(request.expect[0]);
    assert_int_equal(request.max_artifact_bytes, 0);
    assert_int_equal(request.max_artifacts, 0);
    request_finish(&request);
}

static void strings_need_not_be_ascii(void **state)
{
    cleanup_json json_t *json = good_request();
    struct request request;

    (void)state;
    set_field(json, "env", "[\"NAME=h\\u00e9 \\ud83d\\ude00\"]");
    set_field(json, "workdir", "\"/tmp/\\u00e9\"");
    assert_null(parse(json, &request));
    assert_string_equal(request.env[0], "NAME=hé 😀");
    assert_string_equal(request.workdir, "/tmp/é");
    request_finish(&request);
}

static void a_request_with_a_wrong_field_is_refused(void **state)
{
    static const struct {
        const char *field, *value; /* NULL: missing */
    } cases[] = {
        {"python_args", "null"},
        {"python_args", "\"-u\""},
        {"python_args", "[1]"},
        {"python_args", "[\"-u\", null]"},
        {"args", "null"},
        {"args", "\"a\""},
        {"max_processes", NULL},
        {"max_processes", "0"},
        {"env", "null"},
        {"env", "{\"A\": \"1\"}"},
        {"env", "[[]]"},
        {"expect", "null"},
        {"expect", "\"*\""},
        {"expect", "[true]"},
        {"workdir", "null"},
        {"workdir", "1"},
        {"workdir", "\"\""},
        {"workdir", "\"work\""},
        {"workdir", "[\"/work\"]"},
        {"timeout_ms", NULL},
        {"timeout_ms", "0"},
        {"timeout_ms", "-1"},
        {"timeout_ms", "\"30000\""},
        {"timeout_ms", "1.5"},
        {"timeout_ms", "true"},
        {"clock_ns", NULL},
        {"clock_ns", "0"},
        {"clock_ns", "-5"},
        {"clock_ns", "\"1\""},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_json json_t *json = good_request();
        struct request request = {.timeout_ms = 12345};
        const char *wrong;

        set_field(json, cases[i].field, cases[i].value);
        wrong = parse(json, &request);
        if (wrong == NULL)
            fail_msg("%s was taken as %s", cases[i].value ?: "(missing)", cases[i].field);
        if (strstr(wrong, cases[i].field) == NULL)
            fail_msg("\"%s\" does not name %s", wrong, cases[i].field);
        assert_int_equal(request.timeout_ms, 12345); /* untouched */
    }
}

static void what_is_no_json_object_is_refused(void **state)
{
    static const char *const cases[] = {
        "", "{", "[]", "1", "null", "{} {}", "{\"env\": []", "{\"env\": [], \"env\": []}"};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct request request;
        struct setup setup;

        assert_non_null(request_parse(cases[i], strlen(cases[i]), &request));
        assert_non_null(setup_parse(cases[i], strlen(cases[i]), &setup));
    }
}

static void a_field_that_comes_twice_is_refused(void **state)
{
    cleanup_json json_t *json = good_request();
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    cleanup_free char *twice = fvm_format("{\"workdir\":\"/a\",%s", text + 1);
    struct request request;

    (void)state;
    assert_non_null(request_parse(twice, strlen(twice), &request));
}

static void a_request_need_not_end_with_a_nul(void **state)
{
    cleanup_json json_t *json = good_request();
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    size_t size = strlen(text);
    cleanup_free char *exact = memcpy(malloc(size), text, size);
    struct request request;

    (void)state;
    assert_null(request_parse(exact, size, &request));
    assert_non_null(request_parse(exact, size - 1, &request));
    request_finish(&request);
}

/* ---- which interpreter ----------------------------------------------------------------------- */

static bool fits(const char *field, const char *value)
{
    cleanup_json json_t *json = good_request();
    struct request request;
    bool outcome;

    set_field(json, "python_args", "[\"-u\"]");
    set_field(json, field, value);
    assert_null(parse(json, &request));
    outcome = request_fits_zygote(&request);
    request_finish(&request);
    return outcome;
}

static void the_waiting_interpreter_serves_only_its_own_options(void **state)
{
    (void)state;
    assert_true(fits("python_args", "[\"-u\"]"));
    assert_false(fits("python_args", "[]"));
    assert_false(fits("python_args", "[\"-u\", \"-O\"]"));
    assert_false(fits("python_args", "[\"-O\"]"));
    assert_false(fits("python_args", "[\"-uO\"]"));
    assert_false(fits("python_args", "[\"\"]"));
}

static void variables_that_an_interpreter_reads_at_its_start_need_a_new_one(void **state)
{
    static const struct {
        const char *variable;
        bool fits;
    } cases[] = {
        {"PYTHONHASHSEED=0", false},
        {"PYTHONPATH=/x", false},
        {"PYTHONUTF8=1", false},
        {"LD_PRELOAD=x.so", false},
        {"LD_LIBRARY_PATH=/x", false},
        {"LC_ALL=C", false},
        {"LC_CTYPE=C", false},
        {"LANG=C", false},
        {"LOCPATH=/x", false},
        {"GLIBC_TUNABLES=x", false},
        {"MALLOC_ARENA_MAX=1", false},
        {"HOME=/x", false}, /* the user's own packages are below it */
        {"LANGUAGE=de", true},
        {"MY_PYTHON=1", true},
        {"python=1", true},
        {"OLD_LD_PATH=1", true},
        {"TZ=UTC", true},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_free char *env = fvm_format("[\"A=1\", \"%s\"]", cases[i].variable);

        if (fits("env", env) != cases[i].fits)
            fail_msg("with %s the waiting interpreter %s", cases[i].variable,
                     cases[i].fits ? "is not used" : "is used");
    }
}

/* ---- SETUP ----------------------------------------------------------------------------------- */

static void a_setup_says_environment_user_and_interpreter(void **state)
{
    static const char text[] = "{\"env\": [\"PATH=/bin\", \"A=b\"], \"user\": \"1000:100\", "
                               "\"python\": \"/opt/bin/python3\"}";
    struct setup setup;

    (void)state;
    assert_null(setup_parse(text, sizeof text - 1, &setup));
    assert_string_equal(setup.env[0], "PATH=/bin");
    assert_string_equal(setup.env[1], "A=b");
    assert_null(setup.env[2]);
    assert_string_equal(setup.user, "1000:100");
    assert_string_equal(setup.python, "/opt/bin/python3");
    assert_false(setup.warm);
    setup_finish(&setup);
}

static void a_setup_may_say_that_the_guest_becomes_a_template(void **state)
{
    static const struct {
        const char *value;
        bool warm;
    } cases[] = {{"true", true}, {"false", false}, {"1", false}, {"\"true\"", false}};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        cleanup_free char *text = fvm_format(
            "{\"env\": [], \"user\": \"\", \"python\": \"/p\", \"warm\": %s}", cases[i].value);
        struct setup setup;

        assert_null(setup_parse(text, strlen(text), &setup));
        assert_int_equal(setup.warm, cases[i].warm);
        setup_finish(&setup);
    }
}

static void a_setup_with_a_wrong_field_is_refused(void **state)
{
    static const char *const cases[] = {
        "{}",
        "{\"user\": \"\", \"python\": \"/p\"}",
        "{\"env\": [], \"python\": \"/p\"}",
        "{\"env\": [], \"user\": \"\"}",
        "{\"env\": \"A=b\", \"user\": \"\", \"python\": \"/p\"}",
        "{\"env\": [1], \"user\": \"\", \"python\": \"/p\"}",
        "{\"env\": [], \"user\": 1000, \"python\": \"/p\"}",
        "{\"env\": [], \"user\": null, \"python\": \"/p\"}",
        "{\"env\": [], \"user\": \"\", \"python\": null}",
        "{\"env\": [], \"user\": \"\", \"python\": \"python3\"}",
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct setup setup;

        if (setup_parse(cases[i], strlen(cases[i]), &setup) == NULL)
            fail_msg("this SETUP was taken: %s", cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_as_it_stands),
        cmocka_unit_test(what_a_request_leaves_out_is_as_usual),
        cmocka_unit_test(lists_may_be_empty_and_limits_zero),
        cmocka_unit_test(strings_need_not_be_ascii),
        cmocka_unit_test(a_request_with_a_wrong_field_is_refused),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(a_field_that_comes_twice_is_refused),
        cmocka_unit_test(a_request_need_not_end_with_a_nul),
        cmocka_unit_test(the_waiting_interpreter_serves_only_its_own_options),
        cmocka_unit_test(variables_that_an_interpreter_reads_at_its_start_need_a_new_one),
        cmocka_unit_test(a_setup_says_environment_user_and_interpreter),
        cmocka_unit_test(a_setup_may_say_that_the_guest_becomes_a_template),
        cmocka_unit_test(a_setup_with_a_wrong_field_is_refused),
    };

    return cmocka_run_group_tests_name("agent_request", tests, NULL, NULL);
}
