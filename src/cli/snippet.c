/* SPDX-License-Identifier: MIT */
#include "cli/snippet.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Something that never ends, such as /dev/zero, must not fill the memory. */
enum { MAX_SNIPPET_BYTES = 64 << 20, READ_CHUNK = 65536 };

int snippet_read(const char *path, struct fvm_buffer *ret_code, struct flashvm_error *error)
{
    bool from_stdin = strcmp(path, "-") == 0;
    cleanup_close int opened = from_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    cleanup_buffer struct fvm_buffer code = {0};
    const char *name = from_stdin ? "the snippet from standard input" : path;
    int fd = from_stdin ? STDIN_FILENO : opened;

    if (fd < 0)
        return fvm_fail_errno(error, errno, "cannot read %s", name);
    for (;;) {
        char chunk[READ_CHUNK];
        ssize_t count = read(fd, chunk, sizeof chunk);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fvm_fail_errno(error, errno, "cannot read %s", name);
        if (count == 0)
            break;
        if (code.size + (size_t)count > MAX_SNIPPET_BYTES)
            return fvm_fail(error, FLASHVM_INVALID_ARGUMENT,
                            "cannot run %s: a snippet may have at most %d bytes", name,
                            MAX_SNIPPET_BYTES);
        if (fvm_buffer_append(&code, chunk, (size_t)count) < 0)
            return fvm_fail_no_memory(error);
    }
    *ret_code = code;
    code = (struct fvm_buffer){0};
    return 0;
}
