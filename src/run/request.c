/* SPDX-License-Identifier: MIT */
#include "run/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"

int fvm_request_append_frame(struct fvm_buffer *outgoing, enum fvm_frame_type type,
                             const void *payload, size_t size, struct flashvm_error *error)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, size, header);
    if (fvm_buffer_append(outgoing, header, sizeof header) < 0 ||
        fvm_buffer_append(outgoing, payload, size) < 0)
        return fvm_fail_no_memory(error);
    return 0;
}

int fvm_request_append_chunks(struct fvm_buffer *outgoing, enum fvm_frame_type type,
                              const char *data, size_t size, struct flashvm_error *error)
{
    while (size > 0) {
        size_t chunk = size < FVM_FRAME_MAX_PAYLOAD ? size : FVM_FRAME_MAX_PAYLOAD;

        if (fvm_request_append_frame(outgoing, type, data, chunk, error) < 0)
            return -1;
        data += chunk;
        size -= chunk;
    }
    return 0;
}

int fvm_request_append_file(struct fvm_buffer *outgoing, const char *path, uint64_t size,
                            bool executable, struct flashvm_error *error)
{
    char payload[FVM_FILE_PAYLOAD_MAX];

    return fvm_request_append_frame(outgoing, FVM_FRAME_FILE, payload,
                                    fvm_frame_format_file(size, executable, path, payload), error);
}

/* Return: a new array; NULL when memory is exhausted. */
static json_t *string_array(const char *const *strings)
{
    cleanup_json json_t *array = json_array();

    for (size_t i = 0; strings[i]; i++)
        if (json_array_append_new(array, json_string(strings[i])) < 0)
            return NULL;
    return steal_pointer(array);
}

static int append_json(struct fvm_buffer *outgoing, enum fvm_frame_type type, const json_t *json,
                       struct flashvm_error *error)
{
    cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text == NULL) /* all strings have been checked to be UTF-8 */
        return fvm_fail_no_memory(error);
    return fvm_request_append_chunks(outgoing, type, text, strlen(text), error);
}

int fvm_request_append_setup(struct fvm_buffer *outgoing, const struct fvm_image *image, bool warm,
                             struct flashvm_error *error)
{
    size_t before = outgoing->size;
    cleanup_json json_t *json = json_pack(
        "{s:o, s:s, s:s, s:b}", "env", string_array((const char *const *)image->config.env), "user",
        image->config.user, "python", image->python, "warm", (int)warm);

    if (append_json(outgoing, FVM_FRAME_SETUP, json, error) < 0)
        return -1;
    if (outgoing->size - before > FVM_FRAME_HEADER_SIZE + FVM_FRAME_MAX_PAYLOAD)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the environment in the config of image %s has more than %d bytes",
                        image->reference, FVM_FRAME_MAX_PAYLOAD);
    return 0;
}

int fvm_request_append_reseed(struct fvm_buffer *outgoing, struct flashvm_error *error)
{
    uint8_t seed[32];

    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return fvm_fail_errno(error, errno, "cannot get random bytes");
    return fvm_request_append_frame(outgoing, FVM_FRAME_RESEED, seed, sizeof seed, error);
}

/* Add what is not as usual. Return: 0 or -1. */
static int add_list(json_t *json, const char *name, const char *const *list,
                    const char *const *usual)
{
    size_t i = 0;

    while (list[i] && usual[i] && strcmp(list[i], usual[i]) == 0)
        i++;
    return list[i] == usual[i] ? 0 : json_object_set_new(json, name, string_array(list));
}

static int add_number(json_t *json, const char *name, uint64_t number)
{
    return number == 0 ? 0 : json_object_set_new(json, name, json_integer((json_int_t)number));
}

/* What is not said the guest takes to be as usual: see request.h there. */
static json_t *make_request(const struct fvm_run_spec *spec)
{
    static const char *const python_args[] = {"-u", NULL};
    const char *const *nothing = python_args + 1;
    cleanup_json json_t *json = NULL;
    struct timespec now;
    int outcome = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    json = json_pack("{s:I, s:I, s:I}", "timeout_ms", (json_int_t)spec->timeout_ms, /**/
                     "max_processes", (json_int_t)spec->max_processes,              /**/
                     "clock_ns", (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec);
    outcome |= add_list(json, "python_args", spec->python_args, python_args);
    outcome |= add_list(json, "args", spec->args, nothing);
    outcome |= add_list(json, "env", spec->env, nothing);
    outcome |= add_list(json, "expect", spec->expect, nothing);
    if (strcmp(spec->workdir, "/work") != 0)
        outcome |= json_object_set_new(json, "workdir", json_string(spec->workdir));
    outcome |= add_number(json, "max_disk_bytes", spec->max_disk_bytes);
    if (spec->expect[0]) {
        outcome |= add_number(json, "max_artifacts", spec->max_artifacts);
        outcome |= add_number(json, "max_artifact_bytes", spec->max_artifact_bytes);
    }
    return outcome < 0 ? NULL : steal_pointer(json);
}

int fvm_request_append_run(struct fvm_buffer *outgoing, const struct fvm_run_spec *spec,
                           struct flashvm_error *error)
{
    cleanup_json json_t *json = make_request(spec);

    if (append_json(outgoing, FVM_FRAME_REQUEST, json, error) < 0 ||
        fvm_request_append_file(outgoing, "main.py", spec->code_size, false, error) < 0 ||
        fvm_request_append_chunks(outgoing, FVM_FRAME_FILE_DATA, spec->code, spec->code_size,
                                  error) < 0 ||
        fvm_request_append_frame(outgoing, FVM_FRAME_FILE_END, NULL, 0, error) < 0)
        return -1;
    return 0;
}
