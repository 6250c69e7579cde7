/* SPDX-License-Identifier: MIT */
/*
 * The documents of an image layout: index.json, indexes, manifest and config, up to what the guest
 * is told about the image. An image that is taken is complete.
 *
 * Input: documents with a NUL between them, index.json first. In a document "@D1" stands for the
 * digest and "@S1" for the size of the first one behind it, and so on, so that digests are right
 * whatever the documents say.
 */
#include "scratch.h"

#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "image/oci.h"
#include "run/request.h"

enum { DOCUMENTS_MAX = 8 };

struct layout {
    struct input documents[DOCUMENTS_MAX];
    struct fvm_descriptor blobs[DOCUMENTS_MAX]; /* of the documents but the first */
    size_t count;
};

static int index_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    close(scratch_make_layout());
    index_fd = scratch_open("index.json");
    return 0;
}

/* Which later document does a reference mean? Return: its place, or 0 when it is no reference. */
static size_t referred(const struct layout *layout, size_t place, const char *text, size_t left)
{
    size_t other;

    if (left < 3 || text[0] != '@' || (text[1] != 'D' && text[1] != 'S') || text[2] < '1' ||
        text[2] > '9')
        return 0;
    other = place + (size_t)(text[2] - '0');
    return other < layout->count ? other : 0;
}

/* A document with its references filled in. */
static void write_document(const struct layout *layout, size_t place, struct fvm_buffer *text)
{
    struct input document = layout->documents[place];

    must(fvm_buffer_append(text, "", 0) == 0);
    while (document.left > 0) {
        size_t other = referred(layout, place, document.next, document.left);
        struct input part = input_part(&document, other ? 3 : 1);
        cleanup_free char *size = NULL;

        if (other == 0) {
            must(fvm_buffer_append(text, part.next, part.left) == 0);
        } else if (part.next[1] == 'D') {
            must(fvm_buffer_append(text, layout->blobs[other].digest, FVM_DIGEST_SIZE - 1) == 0);
        } else {
            size = fvm_format("%ju", (uintmax_t)layout->blobs[other].size_bytes);
            must(fvm_buffer_append(text, size, strlen(size)) == 0);
        }
    }
}

static void write_layout(struct layout *layout)
{
    for (size_t place = layout->count; place-- > 0;) {
        cleanup_buffer struct fvm_buffer text = {0};

        write_document(layout, place, &text);
        if (place > 0)
            scratch_add_blob(text.data, text.size, &layout->blobs[place]);
        else
            scratch_fill(index_fd, text.data, text.size);
    }
}

static void check_image(const struct fvm_oci_image *image)
{
    cleanup_buffer struct fvm_buffer setup = {0};
    const struct fvm_image ready = {.reference = (char *)"fuzz:latest", .config = image->config};

    must(image->layer_count > 0);
    for (size_t i = 0; i < image->layer_count; i++) {
        must(fvm_digest_is_valid(image->layers[i].blob.digest));
        must(fvm_digest_is_valid(image->layers[i].diff_id));
    }
    for (char **entry = image->config.env; *entry; entry++)
        must(strchr(*entry, '=') > *entry);
    must(image->config.working_dir && image->config.user);
    if (fvm_request_append_setup(&setup, &ready, false, NULL) == 0)
        must(setup.size > 0);
}

static void read_layout(void)
{
    cleanup_oci struct fvm_oci oci = {.fd = -1};
    cleanup_oci_image struct fvm_oci_image image = {0};
    struct flashvm_error error = {0};
    struct fvm_descriptor manifest;

    must(fvm_oci_open(scratch_directory(), &oci, NULL) == 0);
    if (fvm_oci_find(&oci, "latest", NULL, &manifest, &error) == 0 &&
        fvm_oci_load(&oci, &manifest, &image, &error) == 0)
        check_image(&image);
    else
        must(error.status != 0 && error.message && error.message[0]);
    flashvm_error_finish(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    struct layout layout = {0};

    while (layout.count < DOCUMENTS_MAX && (input.left > 0 || layout.count == 0))
        layout.documents[layout.count++] = input_text(&input);
    write_layout(&layout);
    read_layout();
    for (size_t place = 1; place < layout.count; place++)
        scratch_remove_blob(&layout.blobs[place]);
    return 0;
}
