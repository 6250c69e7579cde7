/* SPDX-License-Identifier: MIT */
#include "image/storage_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/containers_storage.h"
#include "image/storage_advice.h"

void fvm_storage_report_finish(struct fvm_storage_report *report)
{
    free(report->driver);
    free(report->root);
    free(report->reason);
    free(report->remedy);
    *report = (struct fvm_storage_report){0};
}

static char *copy_member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? strdup(text) : NULL;
}

static int ask_buildah(const struct fvm_storage_tools *tools, struct fvm_caller *caller,
                       struct fvm_storage_report *report, struct flashvm_error *error)
{
    const char *const argv[] = {tools->buildah, "info", NULL};
    cleanup_free char *output = NULL;
    cleanup_json json_t *info = NULL;
    const json_t *store;

    if (fvm_storage_run_tool(tools, argv, NULL, -1, FVM_STORAGE_QUESTION_MS, caller, &output,
                             error) < 0)
        return -1;
    info = json_loads(output, 0, NULL);
    store = json_object_get(info, "store");
    report->driver = copy_member(store, "GraphDriverName");
    report->root = copy_member(store, "GraphRoot");
    return 0;
}

/* Of /proc/PID/uid_map: lines of three numbers, of which the third says how many ids. */
static uintmax_t count_ids(const char *map)
{
    uintmax_t total = 0;
    char *end;

    for (int i = 0;; i++, map = end) {
        uintmax_t number = strtoumax(map, &end, 10);

        if (end == map)
            return total;
        if (i % 3 == 2)
            total += number;
    }
}

/* Has newuidmap the right that it is for? Without it the tools go on with one id, and only warn. */
static bool may_map_ids(void)
{
    cleanup_free char *path = fvm_find_program("newuidmap");
    struct stat status;

    return path && stat(path, &status) == 0 &&
           ((status.st_mode & S_ISUID) || getxattr(path, "security.capability", NULL, 0) > 0);
}

/*
 * Without subordinate ids the tools open their storage and only warn; an image, whose files have
 * several owners, fails in the middle of its import. In the user namespace that they make it shows.
 */
static int check_ids(const struct fvm_storage_tools *tools, struct fvm_caller *caller,
                     struct flashvm_error *error)
{
    const char *const argv[] = {tools->buildah, "unshare", "cat", "/proc/self/uid_map", NULL};
    cleanup_free char *output = NULL, *advice = NULL;

    if (fvm_storage_run_tool(tools, argv, NULL, -1, FVM_STORAGE_QUESTION_MS, caller, &output,
                             error) < 0)
        return -1;
    if (count_ids(output) > 1)
        return 0;
    advice = fvm_storage_advice(may_map_ids() ? "/etc/subuid" : "should be setuid", NULL);
    if (advice == NULL)
        return fvm_fail_no_memory(error);
    return fvm_fail(error, FLASHVM_IO,
                    "this user has no ids for the owners of an image's files\nWhat to do: %s",
                    advice);
}

static int ask(const struct fvm_storage_tools *tools, struct fvm_caller *caller,
               struct fvm_storage_report *report, struct flashvm_error *error)
{
    const struct flashvm_cached_images none = {0};
    cleanup_stored_images struct fvm_stored_images images = {0};

    if (tools->buildah == NULL)
        return fvm_storage_list(tools, &none, caller, &images, error);
    if (ask_buildah(tools, caller, report, error) < 0)
        return -1;
    return geteuid() == 0 ? 0 : check_ids(tools, caller, error);
}

/* What was wrong, and behind "What to do: " the remedy. */
static void tell_failure(struct fvm_storage_report *report, const char *message)
{
    static const char remedy[] = "\nWhat to do: ";
    const char *found = strstr(message, remedy);

    report->reason = found ? strndup(message, (size_t)(found - message)) : strdup(message);
    report->remedy = found ? strdup(found + strlen(remedy)) : NULL;
}

int fvm_storage_examine(struct fvm_caller *caller, struct fvm_storage_report *ret_report,
                        struct flashvm_error *error)
{
    cleanup_storage_tools struct fvm_storage_tools tools = {0};
    struct fvm_storage_report report = {0};
    cleanup_error struct flashvm_error failure = {0};
    int found = fvm_storage_find_tools(&tools, error);

    if (found < 0)
        return -1;
    if (found == 0) {
        report.reason =
            strdup("neither skopeo nor buildah is on PATH, which only the engine krunvm "
                   "would need");
    } else {
        report.tool = tools.skopeo ? "skopeo" : "buildah";
        report.usable = ask(&tools, caller, &report, &failure) == 0;
        if (report.usable)
            report.reason = strdup(tools.skopeo == NULL    ? "buildah imports, lists and removes"
                                   : tools.buildah == NULL ? "skopeo imports; nothing removes"
                                                           : "skopeo imports, buildah lists and "
                                                             "removes");
        else if (failure.status != FLASHVM_CANCELLED)
            tell_failure(&report, failure.message);
    }
    if (failure.status == FLASHVM_CANCELLED || report.reason == NULL) {
        fvm_storage_report_finish(&report);
        return failure.status == FLASHVM_CANCELLED
                   ? fvm_fail(error, FLASHVM_CANCELLED, "%s", failure.message)
                   : fvm_fail_no_memory(error);
    }
    *ret_report = report;
    return 0;
}
