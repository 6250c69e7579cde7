/* SPDX-License-Identifier: MIT */
/*
 * A guest of the native engine that does with its ports what it likes: nothing of the monitor's is
 * harmed, nothing waits, and only what it has put into its mailbox comes out of the channel.
 *
 * Input: accesses of eight bytes each: what it is, the port, the value.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/ports.h"

enum { RAM_BYTES = 1 << 20 };

/* Of the access's first byte. */
enum { IS_READ = 1, IS_LARGE = 2, IS_MIDDLE = 4, HOST_SPEAKS = 8, HOST_IS_GONE = 16 };

static struct memory memory;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    memory_map_ram(&memory, RAM_BYTES, -1, 0);
    memset(memory.ram, 'g', RAM_BYTES);
    return 0;
}

/* The ports that there are come more often than their share. */
static uint16_t choose_port(struct input *input)
{
    static const uint16_t known[] = {
        FVM_MAILBOX_PORT_PAGE,
        FVM_MAILBOX_PORT_SEND,
        FVM_MAILBOX_PORT_RECEIVE,
        FVM_MAILBOX_PORT_POLL,
        0x3f8,
        0x3f9,
        0x3fb,
        0xcf8,
    };
    const uint8_t choice = input_byte(input), low = input_byte(input);

    return choice < 200 ? known[choice % (sizeof known / sizeof *known)]
                        : (uint16_t)(choice << 8 | low);
}

static uint32_t number(struct input *input)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 8 | input_byte(input);
    return value;
}

static void take_all(int host)
{
    char bytes[65536];
    ssize_t count;

    while ((count = recv(host, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        for (ssize_t i = 0; i < count; i++)
            must(bytes[i] == 'g' || bytes[i] == 'h');
}

static void access_port(struct ports *ports, struct input *input, int host)
{
    const uint8_t what = input_byte(input);
    const uint16_t port = choose_port(input);
    const uint32_t value = number(input);
    const size_t size = what & IS_LARGE ? 4 : what & IS_MIDDLE ? 2 : 1;
    uint32_t read = 0;

    if (what & HOST_SPEAKS)
        must(send(host, "hhhhhhhhhh", 10, MSG_NOSIGNAL | MSG_DONTWAIT) != 0);
    if (what & HOST_IS_GONE)
        shutdown(host, SHUT_WR);
    if (what & IS_READ)
        ports_read(ports, port, &read, size);
    else
        ports_write(ports, port, &value, size);
    if (size < 4)
        must(read >> (8 * size) == 0);
    must(ports->mailbox.page_count <= FVM_MAILBOX_PAGES);
    for (uint32_t i = 0; i < ports->mailbox.page_count; i++)
        must(memory_at(&memory, ports->mailbox.pages[i], PAGE_BYTES));
    take_all(host); /* or the monitor would wait for us, as it should */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    struct ports ports = {.mailbox.memory = &memory};
    int ends[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ports.mailbox.channel_fd = ends[1];
    ports.console.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (input.left > 0)
        access_port(&ports, &input, ends[0]);
    close(ports.console.fd);
    close(ends[0]);
    close(ends[1]);
    return 0;
}
