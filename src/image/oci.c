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
#include "image/oci_document.h"

enum { MAX_LAYERS = 512 };

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
    if (faccessat(oci.fd, "oci-layout", F_OK, 0) < 0 && errno == ENOENT)
        return fvm_fail(error, FLASHVM_NOT_FOUND,
                        "%s is no OCI image layout: it has no file oci-layout", path);
    if (fvm_read_file(file, FVM_DOCUMENT_MAX_BYTES, &data, &size, error) < 0)
        return -1;
    if (fvm_document_parse(data, size, &json, error) < 0)
        return fvm_fail_context(error, "%s", file);
    if (strcmp(fvm_json_text(json, "imageLayoutVersion"), "1.0.0") != 0)
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
        enum fvm_media_kind kind;

        if (fvm_descriptor_parse(entry, &image->layers[i].blob, &kind, error) < 0)
            return -1;
        if (kind != MEDIA_LAYER)
            return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                            "layer %zu has the media type \"%s\", which flashVM cannot unpack",
                            i + 1, fvm_json_text(entry, "mediaType"));
    }
    return 0;
}

static int parse_config(const json_t *json, struct fvm_oci_image *image,
                        struct flashvm_error *error)
{
    const json_t *rootfs = json_object_get(json, "rootfs");
    const json_t *diff_ids = json_object_get(rootfs, "diff_ids");

    if (strcmp(fvm_json_text(json, "os"), "linux") != 0 ||
        strcmp(fvm_json_text(json, "architecture"), "amd64") != 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "it is for \"%s/%s\", not for linux/amd64",
                        fvm_json_text(json, "os"), fvm_json_text(json, "architecture"));
    if (strcmp(fvm_json_text(rootfs, "type"), "layers") != 0 ||
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
    enum fvm_media_kind kind;

    if (fvm_document_check(manifest, MEDIA_MANIFEST, error) < 0 ||
        parse_layers(manifest, image, error) < 0 ||
        fvm_descriptor_parse(json_object_get(manifest, "config"), &descriptor, &kind, error) < 0)
        return -1;
    if (kind != MEDIA_CONFIG)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "its config is not that of an image, by its media type");
    if (fvm_document_load(oci, &descriptor, &config, error) < 0)
        return -1;
    memcpy(image->config_digest, descriptor.digest, FVM_DIGEST_SIZE);
    if (parse_config(config, image, error) < 0)
        return fvm_fail_context(error, "the config %s", descriptor.digest);
    return 0;
}

int fvm_oci_load(const struct fvm_oci *oci, const struct fvm_descriptor *manifest,
                 struct fvm_oci_image *ret_image, struct flashvm_error *error)
{
    cleanup_oci_image struct fvm_oci_image image = {.manifest = *manifest};
    cleanup_json json_t *json = NULL;

    if (fvm_document_load(oci, manifest, &json, error) < 0)
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
