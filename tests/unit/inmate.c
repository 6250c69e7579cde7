/* SPDX-License-Identifier: MIT */
#include "inmate.h"

#include <fcntl.h>
#include <poll.h>

#include "base/buffer.h"

void inmate_start(struct inmate *inmate, struct fvm_vm_program program)
{
    const struct fvm_host host = {.libexec_dir = getenv("FLASHVM_LIBEXEC_DIR")};
    struct flashvm_error error = {0};
    int alive[2];

    assert_non_null(host.libexec_dir);
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    program.files = &alive[1];
    program.file_count = 1;
    assert_success(fvm_vm_process_start(&host, &program, &inmate->vm, &error), &error);
    close(alive[1]);
    inmate->alive_fd = alive[0];
}

void inmate_start_shell(struct inmate *inmate, const char *command, const char *guarded)
{
    struct flashvm_error error = {0};

    inmate_start(inmate, (struct fvm_vm_program){
                             .argv = (const char *const[]){"/bin/sh", "-c", command, NULL},
                         });
    if (guarded)
        assert_success(fvm_vm_guard(&inmate->vm, guarded, &error), &error);
}

bool happens(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, 20000) == 1;
}

char *inmate_read_all(int fd)
{
    struct fvm_buffer text = {0};
    char chunk[4096];
    ssize_t count = -1;

    while (count != 0) {
        if (!happens(fd))
            fail_msg("the program does not end");
        count = read(fd, chunk, sizeof chunk);
        if (count > 0)
            fvm_buffer_append(&text, chunk, (size_t)count);
    }
    fvm_buffer_append(&text, "", 0);
    return text.data;
}

void inmate_assert_ended(struct inmate *inmate)
{
    char byte;

    assert_true(happens(inmate->alive_fd));
    assert_int_equal(read(inmate->alive_fd, &byte, 1), 0);
    close(inmate->alive_fd);
}

void inmate_finish(struct inmate *inmate)
{
    fvm_vm_destroy(&inmate->vm);
    inmate_assert_ended(inmate);
}
