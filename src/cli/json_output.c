/* SPDX-License-Identifier: MIT */
#include "cli/json_output.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/message.h"
#include "cli/text.h"

/* Artifacts up to this size are in the output themselves; as max_bytes_inline is by default in
 * Python. */
enum { MAX_INLINE_BYTES = 1048576 };

static json_t *json_bytes(const char *data, size_t size)
{
    size_t text_size;
    cleanup_free char *text = text_replace_invalid(data, size, &text_size);

    return text ? json_stringn(text, text_size) : NULL;
}

static json_t *json_base64(const char *data, size_t size)
{
    cleanup_free char *text = text_base64(data, size);

    return text ? json_string(text) : NULL;
}

json_t *json_text_or_null(const char *text)
{
    return text ? json_bytes(text, strlen(text)) : json_null();
}

char *json_text(const json_t *object)
{
    /* Milliseconds with three decimals need no more than 15 digits; 17 would show rounding. */
    cleanup_free char *text = json_dumps(object, JSON_REAL_PRECISION(15));

    return text ? fvm_format("%s\n", text) : NULL;
}

void json_show_error(const struct flashvm_error *error)
{
    cleanup_json json_t *object =
        json_pack("{s:{s:i, s:s, s:o}}", "error", "status", (int)error->status, "name",
                  flashvm_status_name(error->status), "message", json_text_or_null(error->message));
    cleanup_free char *text = object ? json_text(object) : NULL;

    if (text)
        fputs(text, stdout);
}

/* "NAME", and "NAME_base64" with the exact bytes when they are not UTF-8. */
static int set_bytes(json_t *object, const char *name, const char *data, size_t size)
{
    cleanup_free char *name_base64 = fvm_format("%s_base64", name);
    int status = json_object_set_new(object, name, json_bytes(data, size));

    if (status < 0 || text_is_utf8(data, size))
        return status;
    return name_base64 ? json_object_set_new(object, name_base64, json_base64(data, size)) : -1;
}

/* The artifact's bytes in base64, or null where they are too many. */
static json_t *content_json(const struct flashvm_artifact *artifact, struct flashvm_error *error)
{
    cleanup_free char *content = NULL;
    size_t size;

    if (artifact->size_bytes > MAX_INLINE_BYTES)
        return json_null();
    if (fvm_read_file(artifact->host_path, MAX_INLINE_BYTES, &content, &size, error) < 0)
        return NULL;
    return json_base64(content, size);
}

static int append_artifact(json_t *artifacts, const struct flashvm_artifact *artifact,
                           const char *saved_path, struct flashvm_error *error)
{
    cleanup_json json_t *object = json_object();

    if (set_bytes(object, "guest_path", artifact->guest_path, strlen(artifact->guest_path)) < 0 ||
        json_object_set_new(object, "size_bytes", json_integer((json_int_t)artifact->size_bytes)) <
            0 ||
        json_object_set_new(object, "sha256", json_string(artifact->sha256)) < 0)
        return -1;
    if (saved_path) {
        if (set_bytes(object, "saved_to", saved_path, strlen(saved_path)) < 0)
            return -1;
    } else if (json_object_set_new(object, "content_base64", content_json(artifact, error)) < 0) {
        return -1;
    }
    return json_array_append(artifacts, object);
}

static json_t *milliseconds(uint64_t microseconds)
{
    return json_real((double)microseconds / 1000);
}

static json_t *timings_json(const struct flashvm_timings *timings)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "prepare", milliseconds(timings->prepare_us),
                     "boot", milliseconds(timings->boot_us), "run", milliseconds(timings->run_us),
                     "execute", milliseconds(timings->execute_us), "destroy",
                     milliseconds(timings->destroy_us), "total", milliseconds(timings->total_us));
}

static int set_stream(json_t *object, const char *name, const char *data, size_t size,
                      uint64_t written, bool truncated)
{
    cleanup_free char *bytes_name = fvm_format("%s_bytes", name);
    cleanup_free char *truncated_name = fvm_format("%s_truncated", name);

    if (bytes_name == NULL || truncated_name == NULL || set_bytes(object, name, data, size) < 0 ||
        json_object_set_new(object, bytes_name, json_integer((json_int_t)written)) < 0)
        return -1;
    return json_object_set_new(object, truncated_name, json_boolean(truncated));
}

int json_result_text(const struct flashvm_result *result, const char *const *saved_paths,
                     char **ret_text, struct flashvm_error *error)
{
    cleanup_error struct flashvm_error cause = {0};
    char *text = NULL;
    cleanup_json json_t *object = json_object();
    cleanup_json json_t *artifacts = json_array();
    int status = 0;

    for (size_t i = 0; status == 0 && i < result->artifact_count; i++)
        status = append_artifact(artifacts, &result->artifacts[i],
                                 saved_paths ? saved_paths[i] : NULL, &cause);
    if (status < 0 ||
        json_object_set_new(object, "exit_code", json_integer(result->exit_code)) < 0 ||
        json_object_set_new(object, "term_signal", json_integer(result->term_signal)) < 0 ||
        json_object_set_new(object, "started", json_boolean(result->started)) < 0 ||
        json_object_set_new(object, "timed_out", json_boolean(result->timed_out)) < 0 ||
        json_object_set_new(object, "oom_killed", json_boolean(result->oom_killed)) < 0 ||
        json_object_set_new(object, "ended_by_limit", json_text_or_null(result->ended_by_limit)) <
            0 ||
        set_stream(object, "stdout", result->stdout_data, result->stdout_size, result->stdout_bytes,
                   result->stdout_truncated) < 0 ||
        set_stream(object, "stderr", result->stderr_data, result->stderr_size, result->stderr_bytes,
                   result->stderr_truncated) < 0 ||
        json_object_set(object, "artifacts", artifacts) < 0 ||
        json_object_set_new(object, "artifacts_note", json_text_or_null(result->artifacts_note)) <
            0 ||
        json_object_set_new(object, "restored", json_boolean(result->restored)) < 0 ||
        json_object_set_new(object, "pooled", json_boolean(result->pooled)) < 0 ||
        json_object_set_new(object, "reseeded", json_boolean(result->reseeded)) < 0 ||
        json_object_set_new(object, "clock_set", json_boolean(result->clock_set)) < 0 ||
        json_object_set_new(object, "image_used", json_text_or_null(result->image_used)) < 0 ||
        json_object_set_new(object, "engine", json_text_or_null(result->engine)) < 0 ||
        json_object_set_new(object, "accelerator", json_text_or_null(result->accelerator)) < 0 ||
        json_object_set_new(object, "execution_time_ms", milliseconds(result->timings.execute_us)) <
            0 ||
        json_object_set_new(object, "cpu_time_ms", milliseconds(result->cpu_time_us)) < 0 ||
        json_object_set_new(object, "peak_memory_bytes",
                            json_integer((json_int_t)result->peak_memory_bytes)) < 0 ||
        json_object_set_new(object, "timings", timings_json(&result->timings)) < 0 ||
        (text = json_text(object)) == NULL)
        return cause.message ? fvm_fail(error, cause.status, "%s", cause.message)
                             : fvm_fail_no_memory(error);
    *ret_text = text;
    return 0;
}
