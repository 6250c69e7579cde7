/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

void fvm_sha256_hex(struct sha256_ctx *context, char ret_hex[FVM_SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_digest(context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[2 * sizeof digest] = '\0';
}

int fvm_sha256_file(int fd, const char *name, uint64_t *ret_size, char ret_hex[FVM_SHA256_HEX_SIZE],
                    struct flashvm_error *error)
{
    enum { BUFFER_SIZE = 256 * 1024 };
    cleanup_free uint8_t *buffer = malloc(BUFFER_SIZE);
    struct sha256_ctx sha256;
    uint64_t size = 0;

    if (buffer == NULL)
        return fvm_fail_no_memory(error);
    sha256_init(&sha256);
    for (;;) {
        ssize_t count = pread(fd, buffer, BUFFER_SIZE, (off_t)size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fvm_fail_errno(error, errno, "cannot read %s", name);
        if (count == 0)
            break;
        sha256_update(&sha256, (size_t)count, buffer);
        size += (uint64_t)count;
    }
    fvm_sha256_hex(&sha256, ret_hex);
    *ret_size = size;
    return 0;
}
