/* SPDX-License-Identifier: MIT */
#include "image/storage_staging.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/json.h"
#include "image/oci_document.h"

/*
 * buildah names what it pulls after the path as it was given: with this one the name lies among
 * ours (localhost/flashvm:latest), and goes with them if nobody comes to remove it.
 */
#define LAYOUT "flashvm"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"

static int write_file(const char *directory, const char *name, const char *text,
                      struct flashvm_error *error)
{
    cleanup_free char *path = fvm_format("%s/%s", directory, name);

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (fvm_replace_file(path, text) < 0)
        return fvm_fail_errno(error, errno, "cannot write %s", path);
    return 0;
}

static int write_json(const char *directory, const char *name, const json_t *json,
                      struct flashvm_error *error)
{
    cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    return text ? write_file(directory, name, text, error) : fvm_fail_no_memory(error);
}

/* The manifest may leave its own media type out; the index may not. */
static int write_index(const char *directory, const struct fvm_oci *oci,
                       const struct fvm_descriptor *manifest, const char *name,
                       struct flashvm_error *error)
{
    cleanup_json json_t *document = NULL;
    cleanup_json json_t *index = NULL;
    const char *media_type;

    if (fvm_document_load(oci, manifest, &document, error) < 0)
        return -1;
    media_type = fvm_json_text(document, "mediaType");
    index = json_pack("{s:i, s:[{s:s, s:s, s:I, s:{s:s}}]}", "schemaVersion", 2, "manifests", /**/
                      "mediaType", *media_type ? media_type : OCI_MANIFEST,                   /**/
                      "digest", manifest->digest, "size", (json_int_t)manifest->size_bytes,   /**/
                      "annotations", "org.opencontainers.image.ref.name", name);
    return write_json(directory, LAYOUT "/index.json", index, error);
}

static int link_blobs(const char *directory, const struct fvm_oci *oci, struct flashvm_error *error)
{
    cleanup_free char *link = fvm_format("%s/" LAYOUT "/blobs", directory);
    cleanup_free char *layout = fvm_absolute_path(oci->path, error);
    cleanup_free char *blobs = layout ? fvm_format("%s/blobs", layout) : NULL;

    if (layout == NULL)
        return -1;
    if (link == NULL || blobs == NULL)
        return fvm_fail_no_memory(error);
    if (symlink(blobs, link) < 0)
        return fvm_fail_errno(error, errno, "cannot make the link %s", link);
    return 0;
}

/*
 * containers-policy.json(5): a tool that finds no policy copies nothing. A policy that is there is
 * the administrator's, and decides.
 */
static bool has_policy(void)
{
    const char *home = getenv("HOME");
    cleanup_free char *own = home ? fvm_format("%s/.config/containers/policy.json", home) : NULL;

    return access("/etc/containers/policy.json", F_OK) == 0 || (own && access(own, F_OK) == 0);
}

/* Every digest of this one image was compared; nothing else is to be let in. */
static int write_policy(struct fvm_staging *staging, struct flashvm_error *error)
{
    if (has_policy())
        return 0;
    staging->policy = fvm_format("%s/policy.json", staging->directory);
    if (staging->policy == NULL)
        return fvm_fail_no_memory(error);
    return write_file(staging->directory, "policy.json",
                      "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"oci\": "
                      "{\"\": [{\"type\": \"insecureAcceptAnything\"}]}}}",
                      error);
}

int fvm_staging_make(const char *directory, const struct fvm_oci *oci,
                     const struct fvm_descriptor *manifest, const char *name,
                     struct fvm_staging *ret_staging, struct flashvm_error *error)
{
    cleanup_staging struct fvm_staging staging = {.directory = strdup(directory),
                                                  .source = fvm_format("oci:" LAYOUT ":%s", name)};
    cleanup_free char *layout = fvm_format("%s/" LAYOUT, directory);

    if (staging.directory == NULL || staging.source == NULL || layout == NULL)
        return fvm_fail_no_memory(error);
    fvm_remove_tree(directory);
    if (fvm_make_directories(layout, 0700, error) < 0 ||
        write_file(layout, "oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}", error) < 0 ||
        write_index(directory, oci, manifest, name, error) < 0 ||
        link_blobs(directory, oci, error) < 0 || write_policy(&staging, error) < 0)
        return -1;
    *ret_staging = staging;
    staging = (struct fvm_staging){0}; // NOLINT(*DeadStores): cleanup_staging reads it
    return 0;
}

void fvm_staging_finish(struct fvm_staging *staging)
{
    if (staging->directory)
        fvm_remove_tree(staging->directory);
    free(staging->directory);
    free(staging->source);
    free(staging->policy);
    *staging = (struct fvm_staging){0};
}
