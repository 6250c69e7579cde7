/* SPDX-License-Identifier: MIT */
/* Whether KVM is usable is what the probe program says, in time; it is asked once. */
#include "assertions.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/kvm.h"
#include "engine/kvm_remedy.h"

struct fixture {
    char *tmpdir; /* holds the probe program, and "asked": a line for each time it was */
    char *asked;
    struct fvm_kvm kvm;
};

/* Is there a /dev/kvm, of whatever kind? The program is not asked without one. */
static bool has_device(void)
{
    return access("/dev/kvm", F_OK) == 0;
}

/*
 * Where the host allows it, these tests have a /dev of their own with a kvm that is an ordinary
 * file, so that they say the same on every machine.
 */
static void make_own_dev(void)
{
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC), kvm = -1;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("dev", "/dev", "tmpfs", 0, NULL) < 0) {
        if (is_root() && errno != EPERM)
            fail_msg("cannot make a /dev: %s", strerror(errno));
        return;
    }
    assert_int_equal(mknod("/dev/null", S_IFCHR | 0666, 1 << 8 | 3), 0);
    kvm = open("/dev/kvm", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert_true(kvm >= 0);
}

static int group_setup(void **state)
{
    (void)state;
    make_own_dev();
    return 0;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->tmpdir = make_own_tmpdir();
    fixture->asked = fvm_format("%s/asked", fixture->tmpdir);
    fvm_kvm_init(&fixture->kvm);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    fvm_kvm_finish(&fixture->kvm);
    remove_own_tmpdir(fixture->tmpdir);
    free(fixture->asked);
    free(fixture);
    return 0;
}

#define probe_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* A program in the real one's place that counts itself and does `then`. */
static void install_probe(const struct fixture *fixture, const char *then)
{
    cleanup_free char *path = fvm_format("%s/flashvm-probe-kvm", fixture->tmpdir);
    cleanup_free char *script = fvm_format("#!/bin/sh\necho x >>'%s'\n%s\n", fixture->asked, then);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0755);

    assert_true(fd >= 0);
    assert_int_equal(fvm_write_all(fd, script, strlen(script)), 0);
    close(fd);
}

static int times_asked(const struct fixture *fixture)
{
    struct stat status;

    return stat(fixture->asked, &status) == 0 ? (int)status.st_size / 2 : 0;
}

static bool is_usable(struct fixture *fixture)
{
    return fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, NULL);
}

/* Not usable, and this is why: `reason` where the program is asked at all. */
static void assert_unusable(struct fixture *fixture, const char *reason)
{
    assert_false(is_usable(fixture));
    assert_non_null(strstr(fixture->kvm.reason, has_device() ? reason : FVM_KVM_NO_DEVICE));
    assert_string_not_equal(fixture->kvm.remedy, "");
}

static void kvm_is_usable_when_the_probe_says_so(void **state)
{
    struct fixture *fixture = *state;

    install_probe(fixture, "echo usable");
    assert_int_equal(is_usable(fixture), has_device());
    if (has_device()) {
        assert_string_equal(fixture->kvm.reason, "");
        assert_string_equal(fixture->kvm.remedy, "");
    }
}

static void another_answer_is_the_reason_why_not(void **state)
{
    struct fixture *fixture = *state;

    install_probe(fixture, "echo 'it is far too slow'; echo more; exit 1");
    assert_unusable(fixture, "it is far too slow");
    assert_null(strchr(fixture->kvm.reason, '\n'));
}

static void an_answer_must_be_exactly_usable(void **state)
{
    static const char *const answers[] = {"usable?", "unusable", "Usable", "usable, but slow"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < LENGTH(answers); i++) {
        cleanup_free char *then = fvm_format("echo '%s'", answers[i]);

        fixture->kvm.known = false;
        install_probe(fixture, then);
        assert_unusable(fixture, answers[i]);
    }
}

static void a_long_answer_is_cut(void **state)
{
    struct fixture *fixture = *state;

    install_probe(fixture, "printf '%01000d' 0 | tr 0 x");
    assert_unusable(fixture, "xxxxxxxxxx");
    assert_true(strlen(fixture->kvm.reason) < sizeof fixture->kvm.reason);
}

static void a_probe_that_is_silent_is_given_two_seconds(void **state)
{
    struct fixture *fixture = *state;
    uint64_t begin = fvm_now_us();

    install_probe(fixture, "exec sleep 30");
    assert_unusable(fixture, "flashvm-probe-kvm gave no answer");
    assert_in_range(fvm_now_us() - begin, has_device() ? 1900 * 1000 : 0, 6000 * 1000);
}

static void a_probe_that_ends_without_an_answer_is_no_yes(void **state)
{
    struct fixture *fixture = *state;
    uint64_t begin = fvm_now_us();

    install_probe(fixture, "kill -9 $$");
    assert_unusable(fixture, "flashvm-probe-kvm gave no answer");
    assert_in_range(fvm_now_us() - begin, 0, 1500 * 1000); /* nor is it waited for */
}

static void a_probe_that_is_missing_is_the_reason(void **state)
{
    assert_unusable(*state, "cannot start ");
    assert_unusable(*state, "flashvm-probe-kvm: No such file or directory");
}

static void the_probe_is_asked_once(void **state)
{
    struct fixture *fixture = *state;

    install_probe(fixture, "echo usable");
    for (int i = 0; i < 5; i++)
        assert_int_equal(is_usable(fixture), has_device());
    assert_int_equal(times_asked(fixture), has_device());
    install_probe(fixture, "echo 'changed its mind'");
    assert_int_equal(is_usable(fixture), has_device());
}

static void an_answer_is_kept_for_other_processes(void **state)
{
    struct fixture *fixture = *state;
    bool may_open = access("/dev/kvm", R_OK | W_OK) == 0;

    install_probe(fixture, "sleep 0.6; echo 'not today'");
    for (int i = 0; i < 3; i++) {
        fixture->kvm = (struct fvm_kvm){0}; /* as a new process has it */
        fvm_kvm_init(&fixture->kvm);
        assert_false(fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, fixture->tmpdir));
        assert_non_null(
            strstr(fixture->kvm.reason, has_device() ? "not today" : FVM_KVM_NO_DEVICE));
        assert_string_not_equal(fixture->kvm.remedy, "");
        fvm_kvm_finish(&fixture->kvm);
    }
    fvm_kvm_init(&fixture->kvm);
    assert_int_equal(times_asked(fixture), may_open ? 1 : has_device() ? 3 : 0);
}

static void a_quick_no_is_not_kept(void **state)
{
    struct fixture *fixture = *state;

    install_probe(fixture, "echo 'the processor is taken'; exit 1");
    assert_false(fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, fixture->tmpdir));
    fvm_kvm_finish(&fixture->kvm);
    fvm_kvm_init(&fixture->kvm);
    install_probe(fixture, "echo usable");
    assert_int_equal(fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, fixture->tmpdir),
                     has_device());
}

static void trouble_with_asking_is_not_kept(void **state)
{
    struct fixture *fixture = *state;

    assert_false(fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, fixture->tmpdir));
    fvm_kvm_finish(&fixture->kvm);
    fvm_kvm_init(&fixture->kvm);
    install_probe(fixture, "echo usable");
    assert_int_equal(fvm_kvm_is_usable(&fixture->kvm, fixture->tmpdir, fixture->tmpdir),
                     has_device());
}

static void without_a_device_the_probe_is_not_asked(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;

    install_probe(fixture, "echo usable");
    /* Only our own may be taken away; a real one is a device. */
    if (has_device() && (stat("/dev/kvm", &status) < 0 || !S_ISREG(status.st_mode))) {
        print_message("cannot hide /dev/kvm here\n");
        skip();
    }
    if (has_device())
        assert_int_equal(unlink("/dev/kvm"), 0);
    assert_false(is_usable(fixture));
    assert_memory_equal(fixture->kvm.reason, FVM_KVM_NO_DEVICE, sizeof FVM_KVM_NO_DEVICE - 1);
    assert_int_equal(times_asked(fixture), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        probe_test(kvm_is_usable_when_the_probe_says_so),
        probe_test(another_answer_is_the_reason_why_not),
        probe_test(an_answer_must_be_exactly_usable),
        probe_test(a_long_answer_is_cut),
        probe_test(a_probe_that_is_silent_is_given_two_seconds),
        probe_test(a_probe_that_ends_without_an_answer_is_no_yes),
        probe_test(a_probe_that_is_missing_is_the_reason),
        probe_test(the_probe_is_asked_once),
        probe_test(an_answer_is_kept_for_other_processes),
        probe_test(a_quick_no_is_not_kept),
        probe_test(trouble_with_asking_is_not_kept),
        probe_test(without_a_device_the_probe_is_not_asked), /* the last: it stays away */
    };

    return cmocka_run_group_tests_name("kvm_probe", tests, group_setup, NULL);
}
