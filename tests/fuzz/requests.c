/* SPDX-License-Identifier: MIT */
/*
 * The agent's reading of SETUP and REQUEST: what is taken is complete.
 *
 * Input: a byte (odd: SETUP, even: REQUEST), then the JSON.
 */
#include "fuzz.h"

#include "request.h"

/* Every string can be read to its end. Return: their number. */
static size_t read_all(const char *const *list)
{
    size_t count = 0;

    while (list[count])
        must(strlen(list[count++]) < SIZE_MAX);
    return count;
}

static void read_setup(struct input json)
{
    struct setup setup;
    const char *fault = setup_parse(json.next, json.left, &setup);

    if (fault)
        return;
    read_all(setup.env);
    must(strlen(setup.user) < json.left);
    setup_finish(&setup);
}

static void read_request(struct input json)
{
    struct request request;
    const char *fault = request_parse(json.next, json.left, &request);

    if (fault)
        return;
    read_all(request.env);
    read_all(request.expect);
    must(request.workdir[0] == '/' && request.timeout_ms > 0 && request.clock_ns > 0);
    if (request_fits_zygote(&request))
        must(read_all(request.python_args) == 1);
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
