/* SPDX-License-Identifier: MIT */
/* What the native engine keeps of a guest: whole, of this machine, or refused with the reason. */
#include "assertions.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "vmm/snapshot.h"
#include "vmm/working_set.h"

enum { MIB = 1 << 20, PAGES = 4 * MIB / PAGE_BYTES };

static uint8_t ram[1];
static const struct memory memory = {.ram = ram, .ram_size = 4 * MIB};
static const struct snapshot_place place = {
    .ram_size = 4 * MIB, .image_size = 2 * MIB, .cpuid = 12345, .tsc_khz = 2000000, .cpus = 2};

/* A sound one; to be freed. */
static struct snapshot *sound(void)
{
    struct snapshot *snapshot = snapshot_new(&place);

    snapshot->waiting_cpu = 1;
    snapshot->page_count = 1;
    snapshot->pages[0] = 3 * PAGE_BYTES;
    snapshot->cpus[0].msrs.count = 3;
    snapshot_close(snapshot);
    return snapshot;
}

static void assert_flaw(const struct snapshot *snapshot, size_t size, enum snapshot_flaw flaw)
{
    assert_string_equal(snapshot_flaw_text(snapshot_check(snapshot, size, &place, &memory)),
                        snapshot_flaw_text(flaw));
}

static void a_whole_snapshot_is_taken_with_whatever_follows(void **state)
{
    struct snapshot *snapshot = sound();

    (void)state;
    assert_flaw(snapshot, snapshot->size, SNAPSHOT_WHOLE);
    assert_flaw(snapshot, snapshot->size + 1000UL, SNAPSHOT_WHOLE);
    free(snapshot);
}

static void a_snapshot_of_another_machine_is_told_from_it(void **state)
{
    const struct {
        struct snapshot_place place;
        enum snapshot_flaw flaw;
    } cases[] = {
        {{8 * MIB, 2 * MIB, 12345, 2000000, 2}, SNAPSHOT_OTHER_MEMORY},
        {{4 * MIB, 4 * MIB, 12345, 2000000, 2}, SNAPSHOT_OTHER_IMAGE},
        {{4 * MIB, 2 * MIB, 12346, 2000000, 2}, SNAPSHOT_OTHER_PROCESSOR},
        {{4 * MIB, 2 * MIB, 12345, 2001000, 2}, SNAPSHOT_OTHER_FREQUENCY},
        {{4 * MIB, 2 * MIB, 12345, 1999000, 2}, SNAPSHOT_OTHER_FREQUENCY},
        {{4 * MIB, 2 * MIB, 12345, 2000400, 2}, SNAPSHOT_WHOLE}, /* as it was measured this time */
        {{4 * MIB, 2 * MIB, 12345, 2000000, 1}, SNAPSHOT_OTHER_CPUS},
    };
    struct snapshot *snapshot = sound();

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_string_equal(
            snapshot_flaw_text(snapshot_check(snapshot, snapshot->size, &cases[i].place, &memory)),
            snapshot_flaw_text(cases[i].flaw));
    free(snapshot);
}

static void no_byte_of_a_snapshot_can_change_unnoticed(void **state)
{
    struct snapshot *snapshot = sound();
    uint8_t *bytes = (uint8_t *)snapshot;
    const size_t size = snapshot->size;

    (void)state;
    for (size_t i = 0; i < size; i += i < sizeof *snapshot ? 1 : 37) {
        bytes[i] ^= 1;
        if (snapshot_check(snapshot, size, &place, &memory) == SNAPSHOT_WHOLE)
            fail_msg("byte %zu", i);
        bytes[i] ^= 1;
    }
    for (size_t cut = 0; cut < size; cut += cut < sizeof *snapshot ? 1 : 37)
        if (snapshot_check(snapshot, cut, &place, &memory) == SNAPSHOT_WHOLE)
            fail_msg("cut to %zu", cut);
    assert_flaw(snapshot, 3, SNAPSHOT_NO_SNAPSHOT);
    assert_flaw(snapshot, size - 1, SNAPSHOT_CUT);
    bytes[0] ^= 1;
    assert_flaw(snapshot, size, SNAPSHOT_NO_SNAPSHOT);
    bytes[0] ^= 1;
    snapshot->version++;
    assert_flaw(snapshot, size, SNAPSHOT_OTHER_VERSION);
    snapshot->version--;
    snapshot->clock_ns++;
    assert_flaw(snapshot, size, SNAPSHOT_DAMAGED);
    free(snapshot);
}

static void a_snapshot_that_contradicts_itself_is_refused(void **state)
{
    struct snapshot *snapshot = sound();
    const size_t size = snapshot->size;

    (void)state;
#define REFUSED_WITH(part, value)                                                                  \
    do {                                                                                           \
        const uint64_t before = snapshot->part;                                                    \
        snapshot->part = (value);                                                                  \
        snapshot_close(snapshot);                                                                  \
        assert_flaw(snapshot, size, SNAPSHOT_NONSENSE);                                            \
        snapshot->part = (typeof(snapshot->part))before;                                           \
    } while (0)
    REFUSED_WITH(waiting_cpu, 2);
    REFUSED_WITH(page_count, FVM_MAILBOX_PAGES + 1);
    REFUSED_WITH(pages[0], 4 * MIB);
    REFUSED_WITH(cpus[1].msrs.count, MSRS_MAX + 1);
    REFUSED_WITH(cpus[0].clocks.count, UINT32_MAX);
    snapshot_close(snapshot);
    assert_flaw(snapshot, size, SNAPSHOT_WHOLE);
    free(snapshot);
}

static void every_flaw_has_words_of_its_own(void **state)
{
    (void)state;
    for (int i = SNAPSHOT_WHOLE; i <= SNAPSHOT_NONSENSE; i++)
        for (int j = i + 1; j <= SNAPSHOT_NONSENSE; j++)
            assert_string_not_equal(snapshot_flaw_text((enum snapshot_flaw)i),
                                    snapshot_flaw_text((enum snapshot_flaw)j));
}

/* ---- working sets ---------------------------------------------------------------------------- */

/* A template of 4 MiB, and a copy of it. */
static struct memory map_copy(void)
{
    struct memory copy;
    int fd = memfd_create("template", MFD_CLOEXEC);
    void *page = malloc(PAGE_BYTES);

    memset(page, 1, PAGE_BYTES);
    for (unsigned i = 0; i < PAGES; i++)
        assert_int_equal(write(fd, page, PAGE_BYTES), PAGE_BYTES);
    free(page);
    memory_map_ram(&copy, 4 * MIB, fd, MAP_PRIVATE);
    close(fd);
    return copy;
}

/* What the copy tells; to be freed. */
static struct working_set *told_by(const struct memory *copy, int watch_fd, size_t *ret_size)
{
    enum { MAX = 65536 };
    struct working_set *set = malloc(MAX);
    int ends[2];
    ssize_t size;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    working_set_send(copy, watch_fd, ends[1]);
    size = read(ends[0], set, MAX);
    assert_true(size > 0);
    *ret_size = (size_t)size;
    close(ends[0]);
    close(ends[1]);
    return set;
}

static bool has_page(const struct page_range *ranges, uint32_t count, uint32_t page)
{
    for (uint32_t i = 0; i < count; i++)
        if (page >= ranges[i].first && page - ranges[i].first < ranges[i].count)
            return true;
    return false;
}

static void a_copy_tells_the_pages_that_it_has_written_and_read(void **state)
{
    struct memory copy = map_copy();
    int watch_fd = working_set_watch(&copy);
    const volatile uint8_t *read_one = copy.ram + 700 * PAGE_BYTES;
    struct working_set *set;
    size_t size;

    (void)state;
    copy.ram[100 * PAGE_BYTES] = 2;
    copy.ram[101 * PAGE_BYTES] = 2;
    copy.ram[300 * PAGE_BYTES] = 2;
    assert_int_equal(*read_one, 1);
    set = told_by(&copy, watch_fd, &size);
    assert_true(working_set_is_whole(set, size, &copy));
    assert_int_equal(set->written_count, 2);
    assert_int_equal(set->ranges[0].first, 100);
    assert_int_equal(set->ranges[0].count, 2);
    assert_int_equal(set->ranges[1].first, 300);
    assert_true(has_page(set->ranges + set->written_count, set->touched_count, 700));
    assert_true(has_page(set->ranges + set->written_count, set->touched_count, 100));
    assert_false(has_page(set->ranges, set->written_count, 700));
    assert_false(has_page(set->ranges + set->written_count, set->touched_count, 500));
    free(set);
    close(watch_fd);
    munmap(copy.ram, copy.ram_size);
}

static void a_damaged_working_set_is_no_set(void **state)
{
    struct memory copy = map_copy();
    int watch_fd = working_set_watch(&copy);
    struct working_set *set;
    uint8_t *bytes;
    size_t size;

    (void)state;
    copy.ram[7 * PAGE_BYTES] = 2;
    set = told_by(&copy, watch_fd, &size);
    bytes = (uint8_t *)set;
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x40;
        assert_false(working_set_is_whole(set, size, &copy));
        bytes[i] ^= 0x40;
        assert_false(working_set_is_whole(set, i, &copy));
    }
    assert_false(working_set_is_whole(set, size + 8, &copy));
    copy.ram_size = 7 * PAGE_BYTES; /* the page would be behind its end */
    assert_false(working_set_is_whole(set, size, &copy));
    copy.ram_size = 4 * MIB;
    assert_true(working_set_is_whole(set, size, &copy));
    free(set);
    close(watch_fd);
    munmap(copy.ram, copy.ram_size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_snapshot_is_taken_with_whatever_follows),
        cmocka_unit_test(a_snapshot_of_another_machine_is_told_from_it),
        cmocka_unit_test(no_byte_of_a_snapshot_can_change_unnoticed),
        cmocka_unit_test(a_snapshot_that_contradicts_itself_is_refused),
        cmocka_unit_test(every_flaw_has_words_of_its_own),
        cmocka_unit_test(a_copy_tells_the_pages_that_it_has_written_and_read),
        cmocka_unit_test(a_damaged_working_set_is_no_set),
    };

    return cmocka_run_group_tests_name("vmm_snapshot", tests, NULL, NULL);
}
