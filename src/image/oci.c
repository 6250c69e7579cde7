/* SPDX-License-Identifier: MIT */
#include "image/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"

enum {
    MAX_JSON_BYTES = 4 << 20,
    MAX_INDEX_DEPTH = 4, /* index.json is the first */
    MAX_INDEXES = 16,    /* read in one search: a wide tree of indexes must not take forever */
    MAX_LAYERS = 512,
};

enum media_kind { MEDIA_UNKNOWN, MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_CONFIG, MEDIA_LAYER };

/* How a layer is compressed is seen from its first bytes; its media type says only that it is one.
 */
static const struct {
    const char *name;
    enum media_kind kind;
} media_types[] = {
    {"application/vnd.oci.image.index.v1+json", MEDIA_INDEX},
    {"application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST},
    {"application/vnd.oci.image.config.v1+json", MEDIA_CONFIG},
    {"application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER},
    {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
    {"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST},
    {"application/vnd.docker.container.image.v1+json", MEDIA_CONFIG},
    {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER},
};

static enum media_kind media_kind(const char *media_type)
{
    for (size_t i = 0; i < sizeof media_types / sizeof media_types[0]; i++)
        if (strcmp(media_types[i].name, media_type) == 0)
            return media_types[i].kind;
    return MEDIA_UNKNOWN;
}

static const char *string_member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key)) ?: "";
}

static int parse_object(const char *data, size_t size, json_t **ret_json,
                        struct flashvm_error *error)
{
    json_error_t where;
    cleanup_json json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);

    if (json == NULL)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "invalid JSON in line %d: %s", where.line,
                        where.text);
    if (!json_is_object(json))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the JSON is not an object");
    *ret_json = steal_pointer(json);
    return 0;
}

static int load_object(const struct fvm_oci *oci, const struct fvm_descriptor *descriptor,
                       json_t **ret_json, struct flashvm_error *error)
{
    cleanup_free char *data = NULL;

    if (fvm_blob_load(oci->fd, descriptor, MAX_JSON_BYTES, &data, error) < 0)
        return -1;
    if (parse_object(data, (size_t)descriptor->size_bytes, ret_json, error) < 0)
        return fvm_fail_context(error, "the blob %s", descriptor->digest);
    return 0;
}

/* An index or manifest repeats its media type inside, optionally: the two must not disagree. */
static int check_document(const json_t *json, enum media_kind kind, struct flashvm_error *error)
{
    const json_t *inner = json_object_get(json, "mediaType");
    const json_t *version = json_object_get(json, "schemaVersion");

    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its schemaVersion is not 2");
    if (inner && (!json_is_string(inner) || media_kind(json_string_value(inner)) != kind))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "its mediaType contradicts the descriptor that led to it");
    return 0;
}

static int parse_descriptor(const json_t *json, struct fvm_descriptor *ret_descriptor,
                            enum media_kind *ret_kind, struct flashvm_error *error)
{
    const char *digest = string_member(json, "digest");
    const json_t *size = json_object_get(json, "size");

    if (!fvm_digest_is_valid(digest))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "a descriptor's digest is not \"sha256:\" and 64 lower-case hex digits");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the descriptor of %s has no valid size",
                        digest);
    memcpy(ret_descriptor->digest, digest, FVM_DIGEST_SIZE);
    ret_descriptor->size_bytes = (uint64_t)json_integer_value(size);
    *ret_kind = media_kind(string_member(json, "mediaType"));
    return 0;
}

int fvm_oci_open(const char *path, struct fvm_oci *ret_oci, struct flashvm_error *error)
{
    cleanup_oci struct fvm_oci oci = {.path = strdup(path), .fd = -1};
    cleanup_free char *file = fvm_format("%s/oci-layout", path);
    cleanup_free char *data = NULL;
    cleanup_json json_t *json = NULL;
    size_t size;

    if (oci.path == NULL || file == NULL)
        return fvm_fail_no_memory(error);
    oci.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (oci.fd < 0)
        return fvm_fail_errno(error, errno, "cannot open the image layout %s", path);
    if (fvm_read_file(file, MAX_JSON_BYTES, &data, &size, error) < 0)
        return -1;
    if (parse_object(data, size, &json, error) < 0)
        return fvm_fail_context(error, "%s", file);
    if (strcmp(string_member(json, "imageLayoutVersion"), "1.0.0") != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "%s: the imageLayoutVersion is not 1.0.0",
                        file);
    *ret_oci = oci;
    oci = (struct fvm_oci){.fd = -1}; // NOLINT(*DeadStores): cleanup_oci reads it
    return 0;
}

void fvm_oci_finish(struct fvm_oci *oci)
{
    free(oci->path);
    fvm_cleanup_close(&oci->fd);
    *oci = (struct fvm_oci){.fd = -1};
}

/* ---- the search for a manifest --------------------------------------------------------------- */

struct search {
    const struct fvm_oci *oci;
    const char *ref_name;
    unsigned indexes_left;
    bool is_found;
    struct fvm_descriptor found;
};

/* Tools that write one platform only often leave `platform` out; the config is checked in any case.
 */
static bool platform_fits(const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *variant = string_member(platform, "variant");

    return platform == NULL || (strcmp(string_member(platform, "os"), "linux") == 0 &&
                                strcmp(string_member(platform, "architecture"), "amd64") == 0 &&
                                (variant[0] == '\0' || strcmp(variant, "v1") == 0));
}

static int search_index(struct search *search, const json_t *index, unsigned depth,
                        struct flashvm_error *error);

/* @depth: of the index that holds the entry; the annotation counts in the first only. */
static int search_entry(struct search *search, const json_t *entry, unsigned depth,
                        struct flashvm_error *error)
{
    const json_t *annotations = json_object_get(entry, "annotations");
    const char *name = string_member(annotations, "org.opencontainers.image.ref.name");
    cleanup_json json_t *nested = NULL;
    struct fvm_descriptor descriptor;
    enum media_kind kind;

    if (depth == 1 && strcmp(name, search->ref_name) != 0)
        return 0;
    if (parse_descriptor(entry, &descriptor, &kind, error) < 0)
        return -1;
    if (kind == MEDIA_INDEX) {
        if (depth >= MAX_INDEX_DEPTH || search->indexes_left-- == 0)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "its indexes are nested too deeply");
        if (load_object(search->oci, &descriptor, &nested, error) < 0)
            return -1;
        if (search_index(search, nested, depth + 1, error) < 0)
            return fvm_fail_context(error, "the index %s", descriptor.digest);
        return 0;
    }
    if (!platform_fits(entry))
        return 0;
    /* An index may hold other things for tools of their own, the named entry may not be one. */
    if (kind != MEDIA_MANIFEST && depth > 1)
        return 0;
    if (kind != MEDIA_MANIFEST)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "the media type of \"%s\" is not that of an image", search->ref_name);
    if (search->is_found && strcmp(search->found.digest, descriptor.digest) != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "two different images for linux/amd64 are named \"%s\"", search->ref_name);
    search->is_found = true;
    search->found = descriptor;
    return 0;
}

static int search_index(struct search *search, const json_t *index, unsigned depth,
                        struct flashvm_error *error)
{
    const json_t *manifests = json_object_get(index, "manifests");
    const json_t *entry;
    size_t i;

    if (check_document(index, MEDIA_INDEX, error) < 0)
        return -1;
    if (!json_is_array(manifests))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it has no array of manifests");
    json_array_foreach(manifests, i,
                       entry) if (search_entry(search, entry, depth, error) < 0) return -1;
    return 0;
}

int fvm_oci_find(const struct fvm_oci *oci, const char *ref_name,
                 struct fvm_descriptor *ret_manifest, struct flashvm_error *error)
{
    struct search search = {.oci = oci, .ref_name = ref_name, .indexes_left = MAX_INDEXES};
    cleanup_free char *file = fvm_format("%s/index.json", oci->path);
    cleanup_free char *data = NULL;
    cleanup_json json_t *index = NULL;
    size_t size;

    if (file == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_read_file(file, MAX_JSON_BYTES, &data, &size, error) < 0)
        return -1;
    if (parse_object(data, size, &index, error) < 0 || search_index(&search, index, 1, error) < 0)
        return fvm_fail_context(error, "%s", file);
    if (!search.is_found)
        return fvm_fail(error, FLASHVM_NOT_FOUND, "%s names no image \"%s\" for linux/amd64", file,
                        ref_name);
    *ret_manifest = search.found;
    return 0;
}

/* ---- manifest and config --------------------------------------------------------------------- */

static int parse_layers(const json_t *manifest, struct fvm_oci_image *image,
                        struct flashvm_error *error)
{
    const json_t *layers = json_object_get(manifest, "layers");
    size_t count = json_array_size(layers);

    if (count == 0 || count > MAX_LAYERS)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it has %zu layers; 1 to %d are possible",
                        count, MAX_LAYERS);
    image->layers = calloc(count, sizeof *image->layers);
    if (image->layers == NULL)
        return fvm_fail_no_memory(error);
    image->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(layers, i);
        enum media_kind kind;

        if (parse_descriptor(entry, &image->layers[i].blob, &kind, error) < 0)
            return -1;
        if (kind != MEDIA_LAYER)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                            "layer %zu has the media type \"%s\", which flashVM cannot unpack",
                            i + 1, string_member(entry, "mediaType"));
    }
    return 0;
}

static int parse_config(const json_t *json, struct fvm_oci_image *image,
                        struct flashvm_error *error)
{
    const json_t *rootfs = json_object_get(json, "rootfs");
    const json_t *diff_ids = json_object_get(rootfs, "diff_ids");

    if (strcmp(string_member(json, "os"), "linux") != 0 ||
        strcmp(string_member(json, "architecture"), "amd64") != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it is for \"%s/%s\", not for linux/amd64",
                        string_member(json, "os"), string_member(json, "architecture"));
    if (strcmp(string_member(rootfs, "type"), "layers") != 0 ||
        json_array_size(diff_ids) != image->layer_count)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "its diff_ids do not match the %zu layers of the manifest",
                        image->layer_count);
    for (size_t i = 0; i < image->layer_count; i++) {
        const char *diff_id = json_string_value(json_array_get(diff_ids, i)) ?: "";

        if (!fvm_digest_is_valid(diff_id))
            return fvm_fail(error, FLASHVM_IMAGE_INVALID, "entry %zu of its diff_ids is no digest",
                            i);
        memcpy(image->layers[i].diff_id, diff_id, FVM_DIGEST_SIZE);
    }
    return fvm_image_config_from_json(json_object_get(json, "config"), &image->config, error);
}

static int parse_manifest(const struct fvm_oci *oci, const json_t *manifest,
                          struct fvm_oci_image *image, struct flashvm_error *error)
{
    struct fvm_descriptor descriptor;
    cleanup_json json_t *config = NULL;
    enum media_kind kind;

    if (check_document(manifest, MEDIA_MANIFEST, error) < 0 ||
        parse_layers(manifest, image, error) < 0 ||
        parse_descriptor(json_object_get(manifest, "config"), &descriptor, &kind, error) < 0)
        return -1;
    if (kind != MEDIA_CONFIG)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "its config is not that of an image, by its media type");
    if (load_object(oci, &descriptor, &config, error) < 0)
        return -1;
    if (parse_config(config, image, error) < 0)
        return fvm_fail_context(error, "the config %s", descriptor.digest);
    return 0;
}

int fvm_oci_load(const struct fvm_oci *oci, const struct fvm_descriptor *manifest,
                 struct fvm_oci_image *ret_image, struct flashvm_error *error)
{
    cleanup_oci_image struct fvm_oci_image image = {.manifest = *manifest};
    cleanup_json json_t *json = NULL;

    if (load_object(oci, manifest, &json, error) < 0)
        return -1;
    if (parse_manifest(oci, json, &image, error) < 0)
        return fvm_fail_context(error, "the manifest %s", manifest->digest);
    *ret_image = image;
    image = (struct fvm_oci_image){0};
    return 0;
}

void fvm_oci_image_finish(struct fvm_oci_image *image)
{
    free(image->layers);
    fvm_image_config_finish(&image->config);
    *image = (struct fvm_oci_image){0};
}
