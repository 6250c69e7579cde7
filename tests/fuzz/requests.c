/* SPDX-License-Identifier: MIT */
/*
 * The agent's reading of SETUP and REQUEST: what is taken is complete.
 *
 * Input: a byte (odd: SETUP, even: REQUEST), then the JSON.
 */
#include "fuzz.h"

#include <jansson.h>

#include "request.h"

/* The list has every string of the JSON's array, or is the usual one. */
static void check_list(const char *const *list, const char *usual, const json_t *json,
                       const char *name)
{
    const json_t *array = json_object_get(json, name);
    size_t count = json_array_size(array);

    if (array == NULL) {
        must(usual ? strcmp(list[0], usual) == 0 && list[1] == NULL : list[0] == NULL);
        return;
    }

    for (size_t i = 0; i < count; i++)
        must(list[i] && strcmp(list[i], json_string_value(json_array_get(array, i))) == 0);
    must(list[count] == NULL);
}

static void read_setup(struct input json)
{
    struct setup setup;
    const char *fault = setup_parse(json.next, json.left, &setup);

    if (fault)
        return;
    check_list(setup.env, NULL, setup.json, "env");
    must(strlen(setup.user) < json.left && setup.python[0] == '/');
    setup_finish(&setup);
}

static void read_request(struct input json)
{
    struct request request;
    const char *fault = request_parse(json.next, json.left, &request);

    if (fault)
        return;
    check_list(request.env, NULL, request.json, "env");
    check_list(request.args, NULL, request.json, "args");
    check_list(request.expect, NULL, request.json, "expect");
    check_list(request.python_args, "-u", request.json, "python_args");
    must(request.workdir[0] == '/' && request.timeout_ms > 0 && request.clock_ns > 0);
    if (request_fits_zygote(&request))
        must(strcmp(request.python_args[0], "-u") == 0 && request.python_args[1] == NULL);
    request_finish(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);

    if (input_byte(&input) & 1)
        read_setup(input);
    else
        read_request(input);
    return 0;
}
