/* SPDX-License-Identifier: MIT */
/*
 * Reading an OCI image layout: oci-layout, index.json, manifest and config. What comes out of here
 * has been checked: media types, sizes, digests, platform.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "image/blob.h"
#include "image/image.h"

struct fvm_oci {
    char *path; /* of the layout's directory, for messages */
    int fd;
    struct fvm_caller *caller; /* may end the reading of layers; NULL: nobody */
};

struct fvm_oci_layer {
    struct fvm_descriptor blob;
    char diff_id[FVM_DIGEST_SIZE]; /* digest of the uncompressed tar */
};

struct fvm_oci_image {
    struct fvm_descriptor manifest;
    char config_digest[FVM_DIGEST_SIZE]; /* container tools call an image by it: its ID */
    struct fvm_oci_layer *layers;        /* the lowest first */
    size_t layer_count;
    struct fvm_image_config config;
};

/* Open a layout's directory. FLASHVM_NOT_FOUND when it or its files are not there. */
int fvm_oci_open(const char *path, struct fvm_oci *ret_oci, struct flashvm_error *error);
void fvm_oci_finish(struct fvm_oci *oci);
#define cleanup_oci __attribute__((cleanup(fvm_oci_finish)))

/*
 * Find a manifest for this platform. Reads index.json and the indexes below it, nothing else.
 * @ref_name: what index.json names it; NULL: any, and there must be one image only.
 * @digest: of the manifest, or of an index that leads to it; NULL: any.
 * FLASHVM_NOT_FOUND when there is none; the message lists the names that there are.
 */
int fvm_oci_find(const struct fvm_oci *oci, const char *ref_name, const char *digest,
                 struct fvm_descriptor *ret_manifest, struct flashvm_error *error);

/* Read and verify a manifest and its config. The layers' blobs are not touched. */
int fvm_oci_load(const struct fvm_oci *oci, const struct fvm_descriptor *manifest,
                 struct fvm_oci_image *ret_image, struct flashvm_error *error);
void fvm_oci_image_finish(struct fvm_oci_image *image);
#define cleanup_oci_image __attribute__((cleanup(fvm_oci_image_finish)))

/*
 * Fill a config from "Env", "WorkingDir", "User", "Entrypoint" and "Cmd" of a JSON object, spelt as
 * an OCI config spells them.
 * @json: NULL or JSON null for an empty config.
 */
int fvm_image_config_from_json(const json_t *json, struct fvm_image_config *ret_config,
                               struct flashvm_error *error);
void fvm_image_config_finish(struct fvm_image_config *config);
#define cleanup_image_config __attribute__((cleanup(fvm_image_config_finish)))
