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
                            struct flashvm_error *error)
{
    char payload[8 + FVM_FILE_PATH_MAX];

    return fvm_request_append_frame(outgoing, FVM_FRAME_FILE, payload,
                                    fvm_frame_format_file(size, path, payload), error);
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

int fvm_request_append_setup(struct fvm_buffer *outgoing, const struct fvm_image *image,
                             struct flashvm_error *error)
{
    size_t before = outgoing->size;
    cleanup_json json_t *json =
        json_pack("{s:o, s:s, s:s}", "env", string_array((const char *const *)image->config.env),
                  "user", image->config.user, "python", image->python);

    if (append_json(outgoing, FVM_FRAME_SETUP, json, error) < 0)
        return -1;
    if (outgoing->size - before > FVM_FRAME_HEADER_SIZE + FVM_FRAME_MAX_PAYLOAD)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the environment in the config of image %s has more than %d bytes",
                        image->reference, FVM_FRAME_MAX_PAYLOAD);
    return 0;
}

/* 32 random bytes as hex: the guest's own randomness at boot is not to be relied on. */
static int make_seed(char ret_hex[65], struct flashvm_error *error)
{
    uint8_t seed[32];

    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return fvm_fail_errno(error, errno, "cannot get random bytes");
    for (size_t i = 0; i < sizeof seed; i++)
        sprintf(ret_hex + 2 * i, "%02x", seed[i]);
    return 0;
}

int fvm_request_append_run(struct fvm_buffer *outgoing, const struct fvm_run_spec *spec,
                           struct flashvm_error *error)
{
    cleanup_json json_t *json = NULL;
    struct timespec now;
    char seed[65];

    if (make_seed(seed, error) < 0)
        return -1;
    clock_gettime(CLOCK_REALTIME, &now);
    json = json_pack("{s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", /**/
                     "python_args", string_array(spec->python_args),                 /**/
                     "args", string_array(spec->args),                               /**/
                     "env", string_array(spec->env),                                 /**/
                     "expect", string_array(spec->expect),                           /**/
                     "workdir", spec->workdir,                                       /**/
                     "timeout_ms", (json_int_t)spec->timeout_ms,                     /**/
                     "max_artifact_bytes", (json_int_t)spec->max_artifact_bytes,     /**/
                     "max_artifacts", (json_int_t)spec->max_artifacts,               /**/
                     "max_processes", (json_int_t)spec->max_processes,               /**/
                     "max_disk_bytes", (json_int_t)spec->max_disk_bytes,             /**/
                     "clock_ns", (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec,  /**/
                     "seed", seed);
    if (append_json(outgoing, FVM_FRAME_REQUEST, json, error) < 0 ||
        fvm_request_append_file(outgoing, "main.py", spec->code_size, error) < 0 ||
        fvm_request_append_chunks(outgoing, FVM_FRAME_FILE_DATA, spec->code, spec->code_size,
                                  error) < 0 ||
        fvm_request_append_frame(outgoing, FVM_FRAME_FILE_END, NULL, 0, error) < 0)
        return -1;
    return 0;
}
