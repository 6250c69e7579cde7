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
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/message.h"
#include "cli/text.h"

/* ---- list ------------------------------------------------------------------------------------ */

/* Of the cache. */
struct contents {
    struct flashvm_cached_images *images;
    struct flashvm_cached_templates *templates;
};

static void contents_finish(struct contents *contents)
{
    flashvm_cached_images_free(contents->images);
    flashvm_cached_templates_free(contents->templates);
}
#define cleanup_contents __attribute__((cleanup(contents_finish)))

static json_t *image_json(const struct flashvm_cached_image *image)
{
    cleanup_json json_t *references = json_array();

    for (size_t i = 0; image->references[i]; i++)
        if (json_array_append_new(references, json_text_or_null(image->references[i])) < 0)
            return NULL;
    return json_pack("{s:o, s:O, s:s, s:I, s:I, s:I, s:b}", "reference",
                     json_text_or_null(image->reference), "references", references, "digest",
                     image->digest, "size_bytes", (json_int_t)image->size_bytes, "made_at",
                     (json_int_t)image->made_at, "used_at", (json_int_t)image->used_at,
                     "in_containers_storage", image->in_containers_storage);
}

static json_t *template_json(const struct flashvm_cached_template *template)
{
    return json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "image",
                     json_text_or_null(template->image), "engine", template->engine, "accelerator",
                     template->accelerator, "cpus", (json_int_t) template->cpus, "memory_mb",
                     (json_int_t) template->memory_mb, "size_bytes",
                     (json_int_t) template->size_bytes, "made_at", (json_int_t) template->made_at,
                     "used_at", (json_int_t) template->used_at);
}

static int print_json(const struct contents *contents)
{
    cleanup_json json_t *images = json_array(), *templates = json_array();
    cleanup_json json_t *object = json_pack("{s:O, s:O}", "images", images, "templates", templates);
    cleanup_free char *text = NULL;
    int status = 0;

    for (size_t i = 0; i < contents->images->image_count; i++)
        status |= json_array_append_new(images, image_json(contents->images->images[i]));
    for (size_t i = 0; i < contents->templates->template_count; i++)
        status |=
            json_array_append_new(templates, template_json(contents->templates->templates[i]));
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
    char text[32] = "-";

    if (when != 0 && localtime_r(&when, &local))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
    printf("  %-16s", text);
}

static void print_columns(uint64_t size_bytes, int64_t made_at, int64_t used_at)
{
    printf("  %7.1f", (double)size_bytes / 1e6);
    print_time(made_at);
    print_time(used_at);
}

/* What the image was called first stands in the row, its other names below it. */
static void print_images(const struct flashvm_cached_images *images)
{
    printf("%-19s  %7s  %-16s  %-16s  %-6s  %s\n", "DIGEST", "MB", "MADE", "LAST USED", "STORED",
           "REFERENCE");
    for (size_t i = 0; i < images->image_count; i++) {
        const struct flashvm_cached_image *image = images->images[i];

        printf("%-19.19s", image->digest);
        print_columns(image->size_bytes, image->made_at, image->used_at);
        printf("  %-6s", image->in_containers_storage ? "yes" : "no");
        for (size_t j = 0; image->references[j]; j++) {
            const char *reference = image->references[j];
            cleanup_free char *printable = text_printable(reference, strlen(reference), false);

            printf("%*s  %s\n", j > 0 ? 19 + 2 + 7 + 2 * (2 + 16) + 2 + 6 : 0, "",
                   printable ?: "?");
        }
    }
}

static void print_templates(const struct flashvm_cached_templates *templates)
{
    printf("\nTEMPLATE OF  CPUS    MIB  %7s  %-16s  %-16s  %s\n", "MB", "MADE", "LAST USED",
           "ENGINE");
    for (size_t i = 0; i < templates->template_count; i++) {
        const struct flashvm_cached_template *template = templates->templates[i];
        const char *digest = strstr(template->image, "@sha256:");

        printf("%.19s  ", digest ? digest + 1 : "?");
        printf("%4u  %5u", template->cpus, template->memory_mb);
        print_columns(template->size_bytes, template->made_at, template->used_at);
        printf("  %s/%s\n", template->engine, template->accelerator);
    }
}

static int list(struct library *library, bool as_json, struct flashvm_error *error)
{
    cleanup_contents struct contents contents = {0};

    if (flashvm_list_cached_images(library->fvm, &contents.images, error) != FLASHVM_OK ||
        flashvm_list_cached_templates(library->fvm, &contents.templates, error) != FLASHVM_OK) {
        if (as_json)
            json_show_error(error);
        return show_failure(error);
    }
    if (as_json)
        return print_json(&contents);
    print_images(contents.images);
    if (contents.templates->template_count > 0)
        print_templates(contents.templates);
    return 0;
}

/* ---- prepare, clear -------------------------------------------------------------------------- */

static int prepare(struct library *library, const char *image, struct flashvm_error *error)
{
    cleanup_free char *image_used = NULL;
    int status;

    if (interrupt_catch(error) < 0)
        return show_failure(error);
    status = flashvm_prepare_image(library->fvm, image, &image_used, error);
    if (interrupt_signal() != 0)
        return 128 + interrupt_signal();
    if (status != FLASHVM_OK)
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
            return command_option_error(&image_command, option, options, argv);
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
    .summary = "list, prepare or clear away what is in the cache",
    .help = "Usage: flashvm image list [--json]\n"
            "       flashvm image prepare [IMAGE]\n"
            "       flashvm image clear\n"
            "An image is unpacked once, into the cache, and serves all runs. The first run\n"
            "also leaves a template there: a microVM that has booted, of which other runs\n"
            "get a copy.\n"
            "\n"
            "  list     the images and templates in the cache, those used last first, and\n"
            "           whether skopeo and buildah find an image in containers-storage\n"
            "  prepare  unpack IMAGE, so that its first run need not, and print its\n"
            "           reference with its digest; what is there already stays as it is.\n"
            "           Where skopeo or buildah is installed, import it into\n"
            "           containers-storage as well\n"
            "  clear    remove all of them from the cache, and say how much room that made;\n"
            "           and the names localhost/flashvm from containers-storage; safe while\n"
            "           others run\n"
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
