/* SPDX-License-Identifier: MIT */
#include "image/name.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/image.h"

#define LAYOUT_PREFIX "oci:"

enum { MAX_BYTES = 4096 };

static int fail_form(const char *image, const char *why, struct flashvm_error *error)
{
    cleanup_free char *shown = fvm_printable(image);

    return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                    "image is \"%s\": %s; it can be oci:PATH:REF for an OCI image layout on this "
                    "machine, or a reference or sha256:… digest of an image in the cache",
                    shown ? shown : "", why);
}

/* Other places that skopeo knows; flashVM reads none of them. */
static bool is_other_transport(const char *image)
{
    static const char *const prefixes[] = {
        "docker://", "docker-archive:", "docker-daemon:", "oci-archive:", "containers-storage:"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(image, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/*
 * As skopeo decides: the path ends at the first ':', so that it cannot have one, and the rest is
 * the reference, which may.
 */
static int parse_layout(struct fvm_image_name *name, const char *image, struct flashvm_error *error)
{
    const char *given = name->reference + strlen(LAYOUT_PREFIX);
    size_t length = strcspn(given, ":");
    cleanup_free char *path = strndup(given, length);

    if (path == NULL)
        return fvm_fail_no_memory(error);
    if (length == 0)
        return fail_form(image, "it has no path", error);
    if (given[length] == ':' && given[length + 1] == '\0')
        return fail_form(image, "there is nothing behind its last \":\"", error);
    if (given[length] == ':' && (name->ref_name = strdup(given + length + 1)) == NULL)
        return fvm_fail_no_memory(error);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    name->path = fvm_absolute_path(path, error);
    if (name->path == NULL)
        return -1;
    if (strchr(name->path, ':'))
        return fail_form(image, "the current directory has a \":\", which would end its path",
                         error);
    free(name->reference);
    name->reference = fvm_format(LAYOUT_PREFIX "%s%s%s", name->path, name->ref_name ? ":" : "",
                                 name->ref_name ?: "");
    return name->reference ? 0 : fvm_fail_no_memory(error);
}

/* Letters, digits and what stands between them; nothing that a shell or a terminal cares for. */
static int check_reference(const char *reference, const char *image, struct flashvm_error *error)
{
    for (const char *c = reference; *c; c++)
        if (!isascii((unsigned char)*c) ||
            (!isalnum((unsigned char)*c) && strchr("._-:/+", *c) == NULL))
            return fail_form(image, "that is no reference", error);
    return 0;
}

/* Cut "@sha256:…" off, or all of it when it is a digest alone. */
static int split_digest(struct fvm_image_name *name, const char *image, struct flashvm_error *error)
{
    const char *at = strrchr(image, '@');
    const char *digest = at ? at + 1 : image;
    size_t length = strlen(image);

    if (fvm_digest_is_valid(digest)) {
        memcpy(name->digest, digest, FVM_DIGEST_SIZE);
        length = at ? (size_t)(at - image) : 0;
    }
    name->reference = strndup(image, length);
    return name->reference ? 0 : fvm_fail_no_memory(error);
}

static int parse(const char *image, struct fvm_image_name *name, struct flashvm_error *error)
{
    if (*image == '\0')
        return fail_form(image, "it is empty; leave it out for the embedded image", error);
    if (strlen(image) > MAX_BYTES)
        return fail_form(image, "that is too long", error);
    if (is_other_transport(image))
        return fail_form(image,
                         "flashVM fetches no images, but `skopeo copy` makes an OCI image layout "
                         "of it",
                         error);
    if (split_digest(name, image, error) < 0)
        return -1;
    if (*name->digest == '\0' && (strncmp(image, "sha256:", 7) == 0 || strstr(image, "@sha256:")))
        return fail_form(image, "its digest has not the 64 hexadecimal digits of one", error);
    if (strncmp(image, LAYOUT_PREFIX, strlen(LAYOUT_PREFIX)) == 0) {
        name->kind = FVM_IMAGE_LAYOUT;
        return parse_layout(name, image, error);
    }
    name->kind = strcmp(name->reference, FVM_EMBEDDED_REFERENCE) == 0 ? FVM_IMAGE_EMBEDDED
                                                                      : FVM_IMAGE_CACHED;
    return check_reference(name->reference, image, error);
}

int fvm_image_name_parse(const char *image, struct fvm_image_name *ret_name,
                         struct flashvm_error *error)
{
    cleanup_image_name struct fvm_image_name name = {0};

    if (parse(image ? image : FVM_EMBEDDED_REFERENCE, &name, error) < 0)
        return -1;
    *ret_name = name;
    name = (struct fvm_image_name){0};
    return 0;
}

void fvm_image_name_finish(struct fvm_image_name *name)
{
    free(name->reference);
    free(name->path);
    free(name->ref_name);
    *name = (struct fvm_image_name){0};
}
