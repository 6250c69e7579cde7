/* SPDX-License-Identifier: MIT */
#include "mailbox.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "log.h"
#include "protocol/mailbox.h"

enum { PAGE_BYTES = 4096, ASK_AGAIN_MS = 10 };
/* In /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGE_PRESENT (1ULL << 63)
#define FRAME_MASK   ((1ULL << 55) - 1)

static char *mailbox;

/* The kernel may move even locked pages to make room for large ones, and the host would not know. */
static void keep_pages_in_place(void)
{
    cleanup_close int fd = open("/proc/sys/vm/compact_unevictable_allowed", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "0", 1) != 1)
        agent_die_errno("cannot keep the mailbox where it is");
}

static void tell_page(int pagemap, const char *page)
{
    uint64_t entry = 0;

    if (pread(pagemap, &entry, sizeof entry,
              (off_t)((uintptr_t)page / PAGE_BYTES * sizeof entry)) != sizeof entry ||
        !(entry & PAGE_PRESENT) || (entry & FRAME_MASK) == 0)
        agent_die_errno("cannot tell where the mailbox is");
    outl((uint32_t)(entry & FRAME_MASK), FVM_MAILBOX_PORT_PAGE);
}

void mailbox_open(void)
{
    cleanup_close int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (pagemap < 0)
        agent_die_errno("cannot open /proc/self/pagemap");
    if (ioperm(FVM_MAILBOX_PORT_PAGE, FVM_MAILBOX_PORTS, 1) < 0)
        agent_die_errno("cannot use the mailbox's ports");
    keep_pages_in_place();
    /* Shared, so that no fork() of the agent's makes a copy of it; and no child has it. */
    mailbox = mmap(NULL, FVM_MAILBOX_BYTES, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mailbox == MAP_FAILED || mlock(mailbox, FVM_MAILBOX_BYTES) < 0 ||
        madvise(mailbox, FVM_MAILBOX_BYTES, MADV_DONTFORK) < 0)
        agent_die_errno("cannot make a mailbox");
    for (size_t i = 0; i < FVM_MAILBOX_PAGES; i++)
        tell_page(pagemap, mailbox + i * PAGE_BYTES);
}

void mailbox_send(const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        const size_t piece = size < FVM_MAILBOX_BYTES ? size : FVM_MAILBOX_BYTES;

        memcpy(mailbox, next, piece);
        outl((uint32_t)piece, FVM_MAILBOX_PORT_SEND);
        next += piece;
        size -= piece;
    }
}

static size_t ask(unsigned short port, const char **ret_bytes)
{
    const uint32_t size = inl(port);

    if (size == FVM_MAILBOX_CLOSED)
        agent_die("the host has closed the channel");
    *ret_bytes = mailbox;
    return size;
}

size_t mailbox_receive(const char **ret_bytes)
{
    const struct timespec pause = {.tv_nsec = ASK_AGAIN_MS * 1000000};
    size_t size;

    while ((size = ask(FVM_MAILBOX_PORT_RECEIVE, ret_bytes)) == 0)
        nanosleep(&pause, NULL);
    return size;
}

size_t mailbox_look(const char **ret_bytes)
{
    return ask(FVM_MAILBOX_PORT_POLL, ret_bytes);
}

int mailbox_renounce(void)
{
    return mailbox ? ioperm(FVM_MAILBOX_PORT_PAGE, FVM_MAILBOX_PORTS, 0) : 0;
}
