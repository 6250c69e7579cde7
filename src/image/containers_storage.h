/* SPDX-License-Identifier: MIT */
/*
 * Our images in containers-storage, where krunvm finds them and `buildah images` shows them. They
 * are named localhost/flashvm:…; nothing that has another name is ever touched.
 *
 * Everything here runs a tool (50 ms or more for a question), so nothing of it belongs into a run
 * whose engine does without.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/caller.h"
#include "base/error.h"
#include "image/blob.h"
#include "image/image.h"
#include "image/storage_tools.h"

enum { FVM_IMAGE_ID_SIZE = 2 * SHA256_DIGEST_SIZE + 1 }; /* hex digits, NUL-terminated */

/*
 * Put an image into containers-storage, if it is not there: the embedded one as
 * localhost/flashvm:python-basic, any other as localhost/flashvm:sha256-XXXXXXXXXXXXXXXX, after its
 * manifest's digest. Another image that has the name loses it. Any number of processes may call
 * this at once: one imports, the others wait for it. No network is used.
 * @image: one that fvm_image_prepare() has got ready.
 * @caller: told of it; may end it, and the tool with it.
 * @ret_id: the image's ID, by which tools find this image and no other.
 * Errors: FLASHVM_NOT_FOUND: its layers are not at hand (it is only in our cache);
 * FLASHVM_CANCELLED; else FLASHVM_IO: the tool's own words, and what to do.
 */
int fvm_storage_import(const struct fvm_storage_tools *tools, const char *data_dir,
                       const char *cache_path, const struct fvm_image *image,
                       struct fvm_caller *caller, char ret_id[FVM_IMAGE_ID_SIZE],
                       struct flashvm_error *error);

/* An image under a name of ours. */
struct fvm_stored_image {
    char *name;                   /* "localhost/flashvm:…" */
    char id[FVM_IMAGE_ID_SIZE];   /* its config's digest */
    char digest[FVM_DIGEST_SIZE]; /* of its manifest; "": the tool did not tell */
};

struct fvm_stored_images {
    struct fvm_stored_image *all;
    size_t count;
};

/*
 * What is there under names of ours.
 * @known: skopeo alone lists nothing, so it is asked for these and for the embedded one.
 */
int fvm_storage_list(const struct fvm_storage_tools *tools,
                     const struct flashvm_cached_images *known, struct fvm_caller *caller,
                     struct fvm_stored_images *ret_images, struct flashvm_error *error);
void fvm_stored_images_finish(struct fvm_stored_images *images);
#define cleanup_stored_images __attribute__((cleanup(fvm_stored_images_finish)))

/* Does an image of containers-storage have the content of one of our cache? */
bool fvm_stored_image_is(const struct fvm_stored_image *image, const char *manifest_digest);

/*
 * Take our names away. An image that has no other goes with its name; one that has stays.
 * Whatever a living process imports stays. It needs buildah: skopeo removes images with all their
 * names, so with it alone what is there stays, and that is the error.
 */
int fvm_storage_clear(const struct fvm_storage_tools *tools, const char *cache_path,
                      const struct flashvm_cached_images *known, struct fvm_caller *caller,
                      struct flashvm_error *error);
