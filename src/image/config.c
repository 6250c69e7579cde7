/* SPDX-License-Identifier: MIT */
/* The part of an image's config that a guest needs. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/oci.h"

enum { MAX_ENV = 4000 }; /* as many as a run may set */

/* A string member; absent and null give "". */
static int copy_string(const json_t *json, const char *key, char **ret_text,
                       struct flashvm_error *error)
{
    const json_t *value = json_object_get(json, key);
    char *copy;

    if (value && !json_is_null(value) && !json_is_string(value))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"%s\" is not a string", key);
    copy = strdup(json_string_value(value) ?: "");
    if (copy == NULL)
        return fvm_fail_no_memory(error);
    *ret_text = copy;
    return 0;
}

/* A path in the guest. A relative one is meant from the root, as container engines take it. */
static int copy_directory(const json_t *json, const char *key, char **ret_path,
                          struct flashvm_error *error)
{
    cleanup_free char *path = NULL;

    if (copy_string(json, key, &path, error) < 0)
        return -1;
    if (strlen(path) >= PATH_MAX - 1)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"%s\" has more than %d bytes", key,
                        PATH_MAX - 2);
    *ret_path = *path == '\0' || *path == '/' ? steal_pointer(path) : fvm_format("/%s", path);
    return *ret_path ? 0 : fvm_fail_no_memory(error);
}

/* The first word of what a container would run. */
static int copy_program(const json_t *json, char **ret_program, struct flashvm_error *error)
{
    static const char *const keys[] = {"Entrypoint", "Cmd"};
    const char *program = NULL;

    for (size_t i = 0; i < 2; i++) {
        const json_t *words = json_object_get(json, keys[i]);

        if (words && !json_is_null(words) && !json_is_array(words))
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"%s\" is not an array", keys[i]);
        if (program == NULL)
            program = json_string_value(json_array_get(words, 0));
    }
    *ret_program = strdup(program ?: "");
    return *ret_program ? 0 : fvm_fail_no_memory(error);
}

static int copy_env(const json_t *env, struct fvm_image_config *config, struct flashvm_error *error)
{
    size_t count = json_array_size(env);

    if (env && !json_is_null(env) && !json_is_array(env))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"Env\" is not an array");
    if (count > MAX_ENV)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"Env\" has %zu entries, the limit is %d",
                        count, MAX_ENV);
    config->env = calloc(count + 1, sizeof *config->env);
    if (config->env == NULL)
        return fvm_fail_no_memory(error);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(env, i));

        if (text == NULL || text[0] == '=' || strchr(text, '=') == NULL)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                            "entry %zu of \"Env\" is not a NAME=value string", i);
        config->env[i] = strdup(text);
        if (config->env[i] == NULL)
            return fvm_fail_no_memory(error);
    }
    return 0;
}

int fvm_image_config_from_json(const json_t *json, struct fvm_image_config *ret_config,
                               struct flashvm_error *error)
{
    cleanup_image_config struct fvm_image_config config = {0};

    if (json && !json_is_null(json) && !json_is_object(json))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "\"config\" is not an object");
    if (copy_env(json_object_get(json, "Env"), &config, error) < 0 ||
        copy_directory(json, "WorkingDir", &config.working_dir, error) < 0 ||
        copy_string(json, "User", &config.user, error) < 0 ||
        copy_program(json, &config.program, error) < 0)
        return -1;
    *ret_config = config;
    config = (struct fvm_image_config){0};
    return 0;
}

void fvm_image_config_finish(struct fvm_image_config *config)
{
    for (size_t i = 0; config->env && config->env[i]; i++)
        free(config->env[i]);
    free(config->env);
    free(config->working_dir);
    free(config->user);
    free(config->program);
    *config = (struct fvm_image_config){0};
}
