/* SPDX-License-Identifier: MIT */
/*
 * What layers do to each other: whiteouts, hard links, symlinks on the way, files over directories,
 * in tars that are sound. (Tars that are not: tars.c.)
 *
 * Input: entries. Each is a byte (below: the kind, and in its high bits some properties), its name
 * and NUL, and for some kinds a target or content and NUL.
 */
#include "flatten.h"

#include "base/buffer.h"
#include "base/cleanup.h"

enum { TAR_BLOCK = 512 };

/* By the low bits of an entry's byte; the next layer begins where there is no type. */
static const struct kind {
    char type; /* in the tar */
    bool has_target, has_content;
} kinds[16] = {
    {'0', .has_content = true},
    {'5'},
    {'2', .has_target = true},
    {'1', .has_target = true},
    {'3'},
    {'4'},
    {'6'},
    {'\0'},
    {'0', .has_content = true},
    {'5'},
    {'2', .has_target = true},
    {'1', .has_target = true},
    {'7', .has_content = true},
    {'0'},
    {'5'},
    {'5'},
};

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, target[100];
    char magic[8], user[32], group[32], major[8], minor[8], prefix[155], padding[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "the header of ustar");

static void append(struct fvm_buffer *tar, const void *data, size_t size)
{
    must(fvm_buffer_append(tar, data, size) == 0);
}

static void append_blocks(struct fvm_buffer *tar, struct input data)
{
    static const char zeros[TAR_BLOCK];

    append(tar, data.next, data.left);
    append(tar, zeros, (TAR_BLOCK - data.left % TAR_BLOCK) % TAR_BLOCK);
}

static void append_header(struct fvm_buffer *tar, char type, uint8_t properties, struct input name,
                          struct input target, size_t size)
{
    struct header header = {.type = type, .magic = "ustar  "};
    unsigned checksum = 0;

    memcpy(header.name, name.next, name.left);
    if (target.left > 0)
        memcpy(header.target, target.next, target.left);
    sprintf(header.mode, "%07o", properties & 1 ? 04755u : 0644u);
    sprintf(header.uid, "%07o", properties & 2 ? 01777777u : 0u);
    sprintf(header.gid, "%07o", properties & 2 ? 01000u : 0u);
    sprintf(header.size, "%011zo", size);
    sprintf(header.mtime, "%011o", properties & 4 ? 017777777777u : 1u);
    sprintf(header.major, "%07o", properties & 4 ? 0777777u : 1u);
    sprintf(header.minor, "%07o", properties & 8 ? 03777777u : 3u);
    memset(header.checksum, ' ', sizeof header.checksum);
    for (size_t i = 0; i < sizeof header; i++)
        checksum += ((const unsigned char *)&header)[i];
    sprintf(header.checksum, "%06o", checksum);
    append(tar, &header, sizeof header);
}

/* A name for a field of 100 bytes; a longer one goes before, as GNU tar does it. */
static struct input shorten(struct fvm_buffer *tar, char type, struct input text)
{
    const struct input whole = text;

    if (text.left > 100) {
        append_header(tar, type, 0, (struct input){"long", 4}, (struct input){0}, whole.left);
        append_blocks(tar, whole);
        text.left = 100;
    }
    return text;
}

/* Return: false where the layer ends. */
static bool append_entry(struct fvm_buffer *tar, struct input *input)
{
    uint8_t byte = input_byte(input);
    const struct kind *kind = &kinds[byte & 15];
    struct input name, target = {0}, content = {0};

    if (kind->type == '\0')
        return false;
    name = shorten(tar, 'L', input_text(input));
    if (kind->has_target)
        target = shorten(tar, 'K', input_text(input));
    if (kind->has_content)
        content = input_text(input);
    append_header(tar, kind->type, byte >> 4, name, target, content.left);
    append_blocks(tar, content);
    return true;
}

static void make_layer(struct input *input, struct fvm_oci_layer *ret_layer)
{
    static const char end[2 * TAR_BLOCK];
    cleanup_buffer struct fvm_buffer tar = {0};

    while (input->left > 0 && append_entry(&tar, input))
        ;
    append(&tar, end, sizeof end);
    scratch_add_blob(tar.data, tar.size, &ret_layer->blob);
    memcpy(ret_layer->diff_id, ret_layer->blob.digest, FVM_DIGEST_SIZE);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    flatten_prepare();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fvm_oci_layer layers[FLATTEN_LAYERS_MAX];
    struct input input = input_of(data, size);
    size_t count = 0;

    do
        make_layer(&input, &layers[count++]);
    while (input.left > 0 && count < FLATTEN_LAYERS_MAX);
    flatten(layers, count);
    while (count > 0)
        scratch_remove_blob(&layers[--count].blob);
    return 0;
}
