/* SPDX-License-Identifier: MIT */
/* All that a guest of the native engine can reach of its monitor: memory, console, mailbox. */
#include "assertions.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vmm/ports.h"

enum { MIB = 1 << 20, CONSOLE = 0x3f8 };

struct fixture {
    struct memory memory;
    struct ports ports;
    int host;       /* the other end of the channel */
    int console[2]; /* to read, to write */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(pipe2(fixture->console, O_CLOEXEC | O_NONBLOCK), 0);
    memory_map_ram(&fixture->memory, 4 * MIB, -1, 0);
    fixture->host = ends[0];
    fixture->ports.console.fd = fixture->console[1];
    fixture->ports.mailbox.channel_fd = ends[1];
    fixture->ports.mailbox.memory = &fixture->memory;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    munmap(fixture->memory.ram, fixture->memory.ram_size);
    close(fixture->host);
    close(fixture->ports.mailbox.channel_fd);
    close(fixture->console[0]);
    close(fixture->console[1]);
    free(fixture);
    return 0;
}

static void out(struct fixture *fixture, uint16_t port, uint32_t value)
{
    ports_write(&fixture->ports, port, &value, sizeof value);
}

static uint32_t in(struct fixture *fixture, uint16_t port)
{
    uint32_t value = 0;

    ports_read(&fixture->ports, port, &value, sizeof value);
    return value;
}

/* The guest's mailbox: every second page, the last one first. */
static uint32_t frame(unsigned page)
{
    return 512 - 2 * page;
}

static void tell_pages(struct fixture *fixture)
{
    for (unsigned i = 0; i < FVM_MAILBOX_PAGES; i++)
        out(fixture, FVM_MAILBOX_PORT_PAGE, frame(i));
}

static char *page_of(struct fixture *fixture, unsigned page)
{
    return (char *)fixture->memory.ram + (uint64_t)frame(page) * PAGE_BYTES;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void memory_ends_where_it_ends(void **state)
{
    struct memory memory;
    const uint8_t *ram;

    (void)state;
    memory_map_ram(&memory, 4 * GIB, -1, 0);
    ram = memory.ram;
    assert_ptr_equal(memory_at(&memory, 0, 1), ram);
    assert_ptr_equal(memory_at(&memory, 3 * GIB - 1, 1), ram + 3 * GIB - 1);
    assert_null(memory_at(&memory, 3 * GIB - 1, 2)); /* into the hole */
    assert_null(memory_at(&memory, 3 * GIB, 1));
    assert_null(memory_at(&memory, 4 * GIB - 1, 1));
    assert_ptr_equal(memory_at(&memory, 4 * GIB, 1), ram + 3 * GIB);
    assert_ptr_equal(memory_at(&memory, 5 * GIB - 4096, 4096), ram + 4 * GIB - 4096);
    assert_null(memory_at(&memory, 5 * GIB - 4096, 4097));
    assert_null(memory_at(&memory, 5 * GIB, 1));
    assert_null(memory_at(&memory, UINT64_MAX, 2));
    assert_null(memory_at(&memory, 0, UINT64_MAX));
    munmap(memory.ram, memory.ram_size);
}

static void an_offset_in_the_ram_is_an_address_beside_the_hole(void **state)
{
    const struct memory memory = {.ram_size = 4 * GIB};

    (void)state;
    assert_int_equal(memory_address(&memory, 5), 5);
    assert_int_equal(memory_address(&memory, 3 * GIB), 4 * GIB);
    assert_int_equal(memory_image_address(&memory), 5 * GIB);
    assert_int_equal(memory_image_address(&(struct memory){.ram_size = MIB}), 4 * GIB);
}

static void an_image_is_whole_pieces_with_zeros_behind_it_and_cannot_be_written(void **state)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    struct memory memory = {.ram_size = MIB};

    (void)state;
    assert_int_equal(ftruncate(fd, 2 * MIB), 0);
    assert_int_equal(pwrite(fd, "last", 4, 2 * MIB), 4);
    memory_map_image(&memory, fd);
    assert_int_equal(memory.image_size, 4 * MIB);
    assert_memory_equal(memory.image + 2 * MIB, "last\0", 5);
    assert_int_equal(memory.image[4 * MIB - 1], 0);
    assert_int_equal(read(fd, memory.image, 1), -1); /* EFAULT */
    munmap(memory.image, memory.image_size);
    close(fd);
}

/* ---- mailbox --------------------------------------------------------------------------------- */

static void what_the_guest_sends_comes_from_its_pages_in_order(void **state)
{
    struct fixture *fixture = *state;
    char received[PAGE_BYTES + 100];

    tell_pages(fixture);
    memset(page_of(fixture, 0), 'a', PAGE_BYTES);
    memset(page_of(fixture, 1), 'b', PAGE_BYTES);
    out(fixture, FVM_MAILBOX_PORT_SEND, PAGE_BYTES + 3);
    assert_int_equal(recv(fixture->host, received, sizeof received, MSG_DONTWAIT), PAGE_BYTES + 3);
    assert_memory_equal(received + PAGE_BYTES - 2, "aabbb", 5);
}

static void what_the_host_sends_fills_its_pages_in_order(void **state)
{
    struct fixture *fixture = *state;
    char sent[PAGE_BYTES + 3];

    tell_pages(fixture);
    memset(sent, 'x', sizeof sent);
    memcpy(sent + PAGE_BYTES - 2, "aabbb", 5);
    assert_int_equal(in(fixture, FVM_MAILBOX_PORT_POLL), 0);
    assert_int_equal(write(fixture->host, sent, sizeof sent), sizeof sent);
    assert_int_equal(in(fixture, FVM_MAILBOX_PORT_RECEIVE), sizeof sent);
    assert_memory_equal(page_of(fixture, 0) + PAGE_BYTES - 2, "aa", 2);
    assert_memory_equal(page_of(fixture, 1), "bbb\0", 4);
    assert_int_equal(in(fixture, FVM_MAILBOX_PORT_RECEIVE), 0);
}

static void a_host_that_is_gone_is_told_and_harms_nobody(void **state)
{
    struct fixture *fixture = *state;

    tell_pages(fixture);
    shutdown(fixture->host, SHUT_RDWR);
    assert_int_equal(in(fixture, FVM_MAILBOX_PORT_RECEIVE), FVM_MAILBOX_CLOSED);
    out(fixture, FVM_MAILBOX_PORT_SEND, 100); /* no SIGPIPE */
}

static void a_guests_nonsense_is_left_undone(void **state)
{
    struct fixture *fixture = *state;
    char byte;

    out(fixture, FVM_MAILBOX_PORT_PAGE, MIB); /* not in the RAM */
    out(fixture, FVM_MAILBOX_PORT_PAGE, UINT32_MAX);
    out(fixture, FVM_MAILBOX_PORT_SEND, 1); /* no mailbox yet */
    assert_int_equal(write(fixture->host, "x", 1), 1);
    assert_int_equal(in(fixture, FVM_MAILBOX_PORT_RECEIVE), 0);
    assert_int_equal(fixture->ports.mailbox.page_count, 0);
    tell_pages(fixture);
    tell_pages(fixture); /* more than there can be */
    assert_int_equal(fixture->ports.mailbox.page_count, FVM_MAILBOX_PAGES);
    out(fixture, FVM_MAILBOX_PORT_SEND, FVM_MAILBOX_BYTES + 1);
    out(fixture, FVM_MAILBOX_PORT_SEND, UINT32_MAX);
    ports_write(&fixture->ports, FVM_MAILBOX_PORT_SEND, "\1", 1); /* not 32 bits */
    assert_int_equal(recv(fixture->host, &byte, 1, MSG_DONTWAIT), -1);
}

/* ---- console, and the rest ------------------------------------------------------------------- */

static void put(struct fixture *fixture, uint16_t port, uint8_t value)
{
    ports_write(&fixture->ports, port, &value, sizeof value);
}

static uint8_t get(struct fixture *fixture, uint16_t port)
{
    uint8_t value = 0;

    ports_read(&fixture->ports, port, &value, sizeof value);
    return value;
}

static void the_console_prints_and_takes_a_divisor_for_no_text(void **state)
{
    struct fixture *fixture = *state;
    char text[10] = "";

    put(fixture, CONSOLE + 3, 0x80); /* the divisor's turn */
    put(fixture, CONSOLE, 12);
    put(fixture, CONSOLE + 1, 1);
    put(fixture, CONSOLE + 3, 3);
    assert_int_equal(get(fixture, CONSOLE + 3), 3);
    assert_int_equal(get(fixture, CONSOLE + 1), 0);
    assert_int_equal(get(fixture, CONSOLE + 5), 0x60); /* there is always room */
    put(fixture, CONSOLE, 'h');
    put(fixture, CONSOLE, 'i');
    assert_int_equal(read(fixture->console[0], text, sizeof text), 2);
    assert_string_equal(text, "hi");
}

static void a_console_that_nobody_reads_loses_text_and_holds_nobody_up(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < MIB; i++)
        put(fixture, CONSOLE, 'x');
    assert_int_equal(get(fixture, CONSOLE + 5), 0x60);
}

static void there_is_nothing_at_any_other_port(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t port = 0; port <= UINT16_MAX; port++) {
        if (console_has_port((uint16_t)port) || mailbox_has_port((uint16_t)port) || port == 0xcf8)
            continue;
        out(fixture, (uint16_t)port, 0);
        assert_int_equal(in(fixture, (uint16_t)port), UINT32_MAX);
        assert_int_equal(get(fixture, (uint16_t)port), UINT8_MAX);
    }
    out(fixture, 0xcf8, 0x80000000); /* Linux looks whether it is kept */
    assert_int_equal(in(fixture, 0xcf8), 0x80000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_ends_where_it_ends),
        cmocka_unit_test(an_offset_in_the_ram_is_an_address_beside_the_hole),
        cmocka_unit_test(an_image_is_whole_pieces_with_zeros_behind_it_and_cannot_be_written),
        cmocka_unit_test_setup_teardown(what_the_guest_sends_comes_from_its_pages_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_host_sends_fills_its_pages_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_host_that_is_gone_is_told_and_harms_nobody, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_guests_nonsense_is_left_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(the_console_prints_and_takes_a_divisor_for_no_text, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_console_that_nobody_reads_loses_text_and_holds_nobody_up,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_nothing_at_any_other_port, setup, teardown),
    };

    return cmocka_run_group_tests_name("vmm_ports", tests, NULL, NULL);
}
