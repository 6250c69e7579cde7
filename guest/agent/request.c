/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const char *const nothing[] = {NULL};
static const char *const usual_python_args[] = {"-u", NULL};

/* Return: a new array, or `missing` when there is no such member; NULL when it is no list of strings. */
static const char *const *string_list(const json_t *object, const char *name,
                                      const char *const *missing)
{
    const json_t *array = json_object_get(object, name);
    const char **list;
    json_t *item;
    size_t i;

    if (array == NULL)
        return missing;
    if (!json_is_array(array))
        return NULL;
    list = calloc(json_array_size(array) + 1, sizeof *list);
    json_array_foreach(array, i, item)
    {
        if (list == NULL || !json_is_string(item)) {
            free(list);
            return NULL;
        }
        list[i] = json_string_value(item);
    }
    return list;
}

static void free_list(const char *const *list)
{
    if (list != nothing && list != usual_python_args)
        free((void *)list);
}

/* A non-negative whole number, or 0 when it is missing or something else. */
static uint64_t number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));

    return value > 0 ? (uint64_t)value : 0;
}

const char *setup_parse(const char *data, size_t size, struct setup *ret_setup)
{
    json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
    struct setup setup = {
        .json = json,
        .env = string_list(json, "env", NULL),
        .user = json_string_value(json_object_get(json, "user")),
        .python = json_string_value(json_object_get(json, "python")),
        .warm = json_is_true(json_object_get(json, "warm")),
    };

    if (setup.env == NULL || setup.user == NULL || setup.python == NULL || setup.python[0] != '/') {
        setup_finish(&setup);
        return "the host's SETUP has no valid env, user and python";
    }
    *ret_setup = setup;
    return NULL;
}

void setup_finish(struct setup *setup)
{
    free_list(setup->env);
    json_decref(setup->json);
}

static const char *find_fault(const struct request *request)
{
    if (request->python_args == NULL || request->args == NULL || request->env == NULL ||
        request->expect == NULL || request->workdir == NULL || request->workdir[0] != '/')
        return "the host's REQUEST has no valid python_args, args, env, expect or workdir";
    if (request->timeout_ms == 0 || request->clock_ns == 0 || request->max_processes == 0)
        return "the host's REQUEST lacks timeout_ms, clock_ns or max_processes";
    return NULL;
}

const char *request_parse(const char *data, size_t size, struct request *ret_request)
{
    json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *workdir = json_object_get(json, "workdir");
    const char *fault;
    struct request request = {
        .json = json,
        .python_args = string_list(json, "python_args", usual_python_args),
        .args = string_list(json, "args", nothing),
        .env = string_list(json, "env", nothing),
        .expect = string_list(json, "expect", nothing),
        .workdir = workdir ? json_string_value(workdir) : "/work",
        .timeout_ms = number(json, "timeout_ms"),
        .max_artifact_bytes = number(json, "max_artifact_bytes"),
        .max_artifacts = number(json, "max_artifacts"),
        .max_processes = number(json, "max_processes"),
        .max_disk_bytes = number(json, "max_disk_bytes"),
        .clock_ns = (int64_t)number(json, "clock_ns"),
    };

    fault = find_fault(&request);
    if (fault)
        request_finish(&request);
    else
        *ret_request = request;
    return fault;
}

void request_finish(struct request *request)
{
    free_list(request->python_args);
    free_list(request->args);
    free_list(request->env);
    free_list(request->expect);
    json_decref(request->json);
}

bool request_fits_zygote(const struct request *request)
{
    /* What the interpreter or the dynamic linker reads once, when it starts. */
    static const char *const read_at_start[] = {
        "PYTHON",          "LD_",     "LC_ALL=", "LC_CTYPE=", "LANG=", "LOCPATH=",
        "GLIBC_TUNABLES=", "MALLOC_", "HOME=", /* has the user's own packages below it */
    };

    if (request->python_args[0] == NULL || strcmp(request->python_args[0], "-u") != 0 ||
        request->python_args[1] != NULL)
        return false;
    for (size_t i = 0; request->env[i]; i++)
        for (size_t j = 0; j < sizeof read_at_start / sizeof *read_at_start; j++)
            if (strncmp(request->env[i], read_at_start[j], strlen(read_at_start[j])) == 0)
                return false;
    return true;
}
