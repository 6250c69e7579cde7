/* SPDX-License-Identifier: MIT */
/* The search for a manifest in a layout's indexes. */
#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/oci_document.h"

enum {
    MAX_INDEX_DEPTH = 4, /* index.json is the first */
    MAX_INDEXES = 64,    /* read in one search: a wide tree of indexes must not take forever */
    MAX_SHOWN = 20,      /* names in a message */
};

/* Things for a message: "a, b, c". */
struct enumeration {
    struct fvm_buffer text;
    unsigned count;
};

struct search {
    const struct fvm_oci *oci;
    const char *ref_name; /* NULL: any */
    const char *digest;   /* NULL: any */
    unsigned indexes_left;
    bool is_found, is_ambiguous;
    struct fvm_descriptor found;
    struct enumeration names;     /* that index.json has */
    struct enumeration platforms; /* other than this one, of what was searched */
};

static void search_finish(struct search *search)
{
    fvm_buffer_finish(&search->names.text);
    fvm_buffer_finish(&search->platforms.text);
}

/* Best effort: it is for a message. */
static void enumerate(struct enumeration *enumeration, const char *item)
{
    cleanup_free char *shown = fvm_printable(enumeration->count < MAX_SHOWN ? item : "…");

    if (shown == NULL || *item == '\0' || enumeration->count > MAX_SHOWN)
        return;
    if (enumeration->count++ > 0)
        fvm_buffer_append(&enumeration->text, ", ", 2);
    fvm_buffer_append(&enumeration->text, shown, strlen(shown));
}

/* Tools that write one platform only often leave `platform` out; the config is checked in any case.
 */
static bool platform_fits(struct search *search, const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *os = fvm_json_text(platform, "os");
    const char *architecture = fvm_json_text(platform, "architecture");
    const char *variant = fvm_json_text(platform, "variant");
    cleanup_free char *shown = NULL;

    if (platform == NULL || json_is_null(platform) ||
        (strcmp(os, "linux") == 0 && strcmp(architecture, "amd64") == 0 &&
         (*variant == '\0' || strcmp(variant, "v1") == 0)))
        return true;
    shown = fvm_format("%s/%s%s%s", os, architecture, *variant ? "/" : "", variant);
    if (shown)
        enumerate(&search->platforms, shown);
    return false;
}

static int search_index(struct search *search, const json_t *index, unsigned depth, bool is_wanted,
                        struct flashvm_error *error);

/* An index may hold other things for tools of their own (signatures, say), even as manifests. */
static bool is_image(const json_t *entry, enum fvm_media_kind kind)
{
    return kind == MEDIA_MANIFEST && json_object_get(entry, "artifactType") == NULL;
}

/*
 * @depth: of the index that holds the entry; the annotation counts in the first only.
 * @is_wanted: has the index that holds the entry the digest that was asked for?
 */
static int search_entry(struct search *search, const json_t *entry, unsigned depth, bool is_wanted,
                        struct flashvm_error *error)
{
    const json_t *annotations = json_object_get(entry, "annotations");
    const char *name = fvm_json_text(annotations, "org.opencontainers.image.ref.name");
    bool is_named = depth == 1 && search->ref_name;
    cleanup_json json_t *nested = NULL;
    struct fvm_descriptor descriptor;
    enum fvm_media_kind kind;

    if (depth == 1)
        enumerate(&search->names, name);
    if (is_named && strcmp(name, search->ref_name) != 0)
        return 0;
    if (fvm_descriptor_parse(entry, &descriptor, &kind, error) < 0)
        return -1;
    if (search->digest && strcmp(descriptor.digest, search->digest) == 0)
        is_wanted = true;
    if (kind == MEDIA_INDEX) {
        if (depth >= MAX_INDEX_DEPTH || search->indexes_left-- == 0)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its indexes are nested too deeply");
        if (fvm_document_load(search->oci, &descriptor, &nested, error) < 0)
            return -1;
        if (search_index(search, nested, depth + 1, is_wanted, error) < 0)
            return fvm_fail_context(error, "the index %s", descriptor.digest);
        return 0;
    }
    if (!platform_fits(search, entry) || (search->digest && !is_wanted))
        return 0;
    if (is_named && kind != MEDIA_MANIFEST)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the media type of \"%s\" is not that of an image", search->ref_name);
    if (!is_named && !is_image(entry, kind))
        return 0;
    search->is_ambiguous |=
        search->is_found && strcmp(search->found.digest, descriptor.digest) != 0;
    search->is_found = true;
    search->found = descriptor;
    return 0;
}

static int search_index(struct search *search, const json_t *index, unsigned depth, bool is_wanted,
                        struct flashvm_error *error)
{
    const json_t *manifests = json_object_get(index, "manifests");
    const json_t *entry;
    size_t i;

    if (fvm_document_check(index, MEDIA_INDEX, error) < 0)
        return -1;
    if (!json_is_array(manifests))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it has no array of manifests");
    json_array_foreach(manifests, i, entry)
    {
        if (search_entry(search, entry, depth, is_wanted, error) < 0)
            return -1;
    }
    return 0;
}

static int fail_ambiguous(const struct search *search, const char *file,
                          struct flashvm_error *error)
{
    if (search->ref_name)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "%s: two different images for linux/amd64 are named \"%s\"", file,
                        search->ref_name);
    if (search->digest)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "%s: two different images for linux/amd64 are in the index %s", file,
                        search->digest);
    return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                    "%s has more than one image for linux/amd64; say which one, by its name%s%s",
                    file, search->names.count ? ": " : " (none has one, but sha256:… works too)",
                    search->names.text.data ?: "");
}

static int fail_missing(const struct search *search, const char *file, struct flashvm_error *error)
{
    const char *names = search->names.text.data;
    const char *platforms = search->platforms.text.data;
    cleanup_free char *asked = search->ref_name ? fvm_format(" \"%s\"", search->ref_name)
                               : search->digest ? fvm_format(" %s", search->digest)
                                                : strdup("");

    return fvm_fail(error, FLASHVM_NOT_FOUND, "%s names no image%s for linux/amd64; %s%s%s%s", file,
                    asked ?: "", names ? "its names are: " : "it names none", names ?: "",
                    platforms ? "; there is one for " : "", platforms ?: "");
}

int fvm_oci_find(const struct fvm_oci *oci, const char *ref_name, const char *digest,
                 struct fvm_descriptor *ret_manifest, struct flashvm_error *error)
{
    __attribute__((cleanup(search_finish))) struct search search = {
        .oci = oci, .ref_name = ref_name, .digest = digest, .indexes_left = MAX_INDEXES};
    cleanup_free char *file = fvm_format("%s/index.json", oci->path);
    cleanup_free char *data = NULL;
    cleanup_json json_t *index = NULL;
    size_t size;

    if (file == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_read_file(file, FVM_DOCUMENT_MAX_BYTES, &data, &size, error) < 0)
        return -1;
    if (fvm_document_parse(data, size, &index, error) < 0 ||
        search_index(&search, index, 1, false, error) < 0)
        return fvm_fail_context(error, "%s", file);
    if (!search.is_found)
        return fail_missing(&search, file, error);
    if (search.is_ambiguous)
        return fail_ambiguous(&search, file, error);
    *ret_manifest = search.found;
    return 0;
}
