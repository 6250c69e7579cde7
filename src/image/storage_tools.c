/* SPDX-License-Identifier: MIT */
#include "image/storage_tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/tool.h"
#include "image/storage_advice.h"

/*
 * Inside of `buildah unshare` these say so: without them the tools would take the root of that user
 * namespace for the host's, and look for the host's storage.
 */
static const char *const in_user_namespace[] = {
    "_CONTAINERS_USERNS_CONFIGURED", "_CONTAINERS_ROOTLESS_UID", "_CONTAINERS_ROOTLESS_GID"};

enum { OVERRIDES_MAX = sizeof in_user_namespace / sizeof *in_user_namespace + 1 };

char **fvm_storage_environment(const char *more)
{
    char *overrides[OVERRIDES_MAX + 1] = {0};
    char **environment;
    size_t count = 0;

    if (more && (overrides[count++] = strdup(more)) == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof in_user_namespace / sizeof *in_user_namespace; i++) {
        const char *value = getenv(in_user_namespace[i]);

        if (value && (overrides[count] = fvm_format("%s=%s", in_user_namespace[i], value)) != NULL)
            count++;
    }
    environment = fvm_tool_environment((const char *const *)overrides);
    for (size_t i = 0; i < count; i++)
        free(overrides[i]);
    return environment;
}

int fvm_storage_find_tools(struct fvm_storage_tools *ret_tools, struct flashvm_error *error)
{
    cleanup_free char *skopeo = fvm_find_program("skopeo");
    cleanup_free char *buildah = fvm_find_program("buildah");
    char **environment;

    if (skopeo == NULL && buildah == NULL)
        return 0;
    environment = fvm_storage_environment(NULL);
    if (environment == NULL)
        return fvm_fail_no_memory(error);
    *ret_tools = (struct fvm_storage_tools){.skopeo = steal_pointer(skopeo),
                                            .buildah = steal_pointer(buildah),
                                            .environment = environment};
    return 1;
}

void fvm_storage_tools_finish(struct fvm_storage_tools *tools)
{
    free(tools->skopeo);
    free(tools->buildah);
    free(tools->environment);
    *tools = (struct fvm_storage_tools){0};
}

static int fail_with_advice(struct flashvm_error *error)
{
    cleanup_free char *words = error->message ? strdup(error->message) : NULL;
    /* Not what stands before them: the tool's path may have any name in it. */
    const char *said = words ? strstr(words, " failed with ") : NULL;
    cleanup_free char *advice = said ? fvm_storage_advice(said, NULL) : NULL;

    if (advice)
        return fvm_fail(error, error->status, "%s\nWhat to do: %s", words, advice);
    return -1;
}

int fvm_storage_run_tool(const struct fvm_storage_tools *tools, const char *const *argv,
                         const char *directory, int lock_fd, uint64_t timeout_ms,
                         struct fvm_caller *caller, char **ret_output, struct flashvm_error *error)
{
    const struct fvm_tool_call call = {.argv = argv,
                                       .environment = (const char *const *)tools->environment,
                                       .directory = directory,
                                       .timeout_ms = timeout_ms,
                                       .lock_fd = lock_fd};

    if (fvm_tool_run(&call, caller, ret_output, error) == 0)
        return 0;
    return error->status == FLASHVM_CANCELLED ? -1 : fail_with_advice(error);
}
