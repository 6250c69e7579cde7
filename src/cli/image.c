/* SPDX-License-Identifier: MIT */
/* flashvm image list, prepare, clear */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/message.h"
#include "cli/text.h"

/* ---- list ------------------------------------------------------------------------------------ */

static json_t *image_json(const struct flashvm_cached_image *image)
{
    cleanup_json json_t *references = json_array();

    for (size_t i = 0; image->references[i]; i++)
        if (json_array_append_new(references, json_text_or_null(image->references[i])) < 0)
            return NULL;
    return json_pack("{s:o, s:O, s:s, s:I, s:I, s:I}", "reference",
                     json_text_or_null(image->reference), "references", references, "digest",
                     image->digest, "size_bytes", (json_int_t)image->size_bytes, "made_at",
                     (json_int_t)image->made_at, "used_at", (json_int_t)image->used_at);
}

static int print_json(const struct flashvm_cached_images *images)
{
    cleanup_json json_t *list = json_array();
    cleanup_json json_t *object = json_pack("{s:O}", "images", list);
    cleanup_free char *text = NULL;
    int status = 0;

    for (size_t i = 0; i < images->image_count; i++)
        status |= json_array_append_new(list, image_json(images->images[i]));
    text = status == 0 ? json_text(object) : NULL;
    if (text == NULL) {
        show_error("cannot print the list as JSON: the host is out of memory");
        return FLASHVM_IO;
    }
    fputs(text, stdout);
    return 0;
}

static void print_time(int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm local;
    char text[32] = "?";

    if (localtime_r(&when, &local))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
    printf("  %-16s", text);
}

/* What the image was called first stands in the row, its other names below it. */
static void print_for_person(const struct flashvm_cached_images *images)
{
    printf("%-19s  %7s  %-16s  %-16s  %s\n", "DIGEST", "MB", "MADE", "LAST USED", "REFERENCE");
    for (size_t i = 0; i < images->image_count; i++) {
        const struct flashvm_cached_image *image = images->images[i];

        printf("%.19s  %7.1f", image->digest, (double)image->size_bytes / 1e6);
        print_time(image->made_at);
        print_time(image->used_at);
        for (size_t j = 0; image->references[j]; j++) {
            const char *reference = image->references[j];
            cleanup_free char *printable = text_printable(reference, strlen(reference), false);

            printf("%*s  %s\n", j > 0 ? 19 + 2 + 7 + 2 * (2 + 16) : 0, "", printable ?: "?");
        }
    }
}

static void free_images(struct flashvm_cached_images **images)
{
    flashvm_cached_images_free(*images);
}

static int list(struct library *library, bool as_json, struct flashvm_error *error)
{
    __attribute__((cleanup(free_images))) struct flashvm_cached_images *images = NULL;

    if (flashvm_list_cached_images(library->fvm, &images, error) != FLASHVM_OK) {
        if (as_json)
            json_show_error(error);
        return show_failure(error);
    }
    if (as_json)
        return print_json(images);
    print_for_person(images);
    return 0;
}

/* ---- prepare, clear -------------------------------------------------------------------------- */

static int prepare(struct library *library, const char *image, struct flashvm_error *error)
{
    cleanup_free char *image_used = NULL;

    if (flashvm_prepare_image(library->fvm, image, &image_used, error) != FLASHVM_OK)
        return show_failure(error);
    printf("%s\n", image_used);
    return 0;
}

static int clear(struct library *library, struct flashvm_error *error)
{
    uint64_t freed_bytes;

    if (flashvm_clear_cache(library->fvm, &freed_bytes, error) != FLASHVM_OK)
        return show_failure(error);
    printf("%.1f MB freed\n", (double)freed_bytes / 1e6);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int act(const char *action, const char *image, bool as_json)
{
    cleanup_error struct flashvm_error error = {0};
    cleanup_library struct library library = {0};

    if (library_open(&library, &error) != FLASHVM_OK)
        return show_failure(&error);
    if (strcmp(action, "list") == 0)
        return list(&library, as_json, &error);
    if (strcmp(action, "prepare") == 0)
        return prepare(&library, image, &error);
    return clear(&library, &error);
}

static int image_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    const char *action;
    bool as_json = false;
    int option, arguments;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h')
            return command_show_help(&image_command);
        if (option != 'j')
            return command_option_error(&image_command, option, argv);
        as_json = true;
    }
    if (optind == argc)
        return command_usage_error(&image_command, "say what to do: list, prepare or clear");
    action = argv[optind];
    if (strcmp(action, "list") != 0 && strcmp(action, "prepare") != 0 &&
        strcmp(action, "clear") != 0)
        return command_usage_error(&image_command,
                                   "'%s' is not known; it can be list, prepare or clear", action);
    if (as_json && strcmp(action, "list") != 0)
        return command_usage_error(&image_command, "--json is for 'flashvm image list'");
    arguments = strcmp(action, "prepare") == 0 ? 2 : 1;
    if (argc - optind > arguments)
        return command_usage_error(&image_command, "'%s' is one argument too many",
                                   argv[optind + arguments]);
    return act(action, argv[optind + 1], as_json);
}

const struct command image_command = {
    .name = "image",
    .summary = "list, prepare or clear away images in the cache",
    .help = "Usage: flashvm image list [--json]\n"
            "       flashvm image prepare [IMAGE]\n"
            "       flashvm image clear\n"
            "An image is unpacked once, into the cache, and serves all runs.\n"
            "\n"
            "  list     the images in the cache, those used last first\n"
            "  prepare  unpack IMAGE, so that its first run need not, and print its\n"
            "           reference with its digest; what is there already stays as it is\n"
            "  clear    remove all images from the cache, and say how much room that made;\n"
            "           safe while others run\n"
            "\n"
            "      --json  print the list as one JSON object\n"
            "  -h, --help  print this text\n"
            "\n"
            "IMAGE, here and for 'flashvm run --image', is one of:\n"
            "  localhost/flashvm:python-basic\n"
            "                      the image that comes with flashVM; the same without IMAGE\n"
            "  oci:PATH[:REF]      an OCI image layout in a directory, as skopeo, umoci and\n"
            "                      buildah write it; without REF its only image\n"
            "  sha256:DIGEST       an image in the cache by its digest; also behind a name,\n"
            "                      NAME@sha256:DIGEST, as a run prints it\n"
            "  NAME                the image in the cache that was last used by that name\n"
            "\n"
            "flashVM fetches no images. To run in one of a registry:\n"
            "  skopeo copy docker://python:3-slim oci:python:slim\n"
            "  flashvm run --image oci:python:slim -c \"print('hi')\"\n",
    .run = image_run,
};
