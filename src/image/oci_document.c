/* SPDX-License-Identifier: MIT */
#include "image/oci_document.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

/* How a layer is compressed is seen from its first bytes; its media type says only that it is one.
 */
static const struct {
    const char *name;
    enum fvm_media_kind kind;
} media_types[] = {
    {"application/vnd.oci.image.index.v1+json", MEDIA_INDEX},
    {"application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST},
    {"application/vnd.oci.image.config.v1+json", MEDIA_CONFIG},
    {"application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_LAYER},
    {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
    {"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST},
    {"application/vnd.docker.container.image.v1+json", MEDIA_CONFIG},
    {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_LAYER},
};

static enum fvm_media_kind media_kind(const char *media_type)
{
    for (size_t i = 0; i < sizeof media_types / sizeof media_types[0]; i++)
        if (strcmp(media_types[i].name, media_type) == 0)
            return media_types[i].kind;
    return MEDIA_UNKNOWN;
}

const char *fvm_json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key)) ?: "";
}

int fvm_document_parse(const char *data, size_t size, json_t **ret_json,
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

int fvm_document_load(const struct fvm_oci *oci, const struct fvm_descriptor *descriptor,
                      json_t **ret_json, struct flashvm_error *error)
{
    cleanup_free char *data = NULL;

    if (fvm_blob_load(oci->fd, descriptor, FVM_DOCUMENT_MAX_BYTES, &data, error) < 0)
        return -1;
    if (fvm_document_parse(data, (size_t)descriptor->size_bytes, ret_json, error) < 0)
        return fvm_fail_context(error, "the blob %s", descriptor->digest);
    return 0;
}

int fvm_document_check(const json_t *json, enum fvm_media_kind kind, struct flashvm_error *error)
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

int fvm_descriptor_parse(const json_t *json, struct fvm_descriptor *ret_descriptor,
                         enum fvm_media_kind *ret_kind, struct flashvm_error *error)
{
    const char *digest = fvm_json_text(json, "digest");
    const json_t *size = json_object_get(json, "size");

    if (!fvm_digest_is_valid(digest))
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "a descriptor's digest is not \"sha256:\" and 64 lower-case hex digits");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID, "the descriptor of %s has no valid size",
                        digest);
    memcpy(ret_descriptor->digest, digest, FVM_DIGEST_SIZE);
    ret_descriptor->size_bytes = (uint64_t)json_integer_value(size);
    *ret_kind = media_kind(fvm_json_text(json, "mediaType"));
    return 0;
}
