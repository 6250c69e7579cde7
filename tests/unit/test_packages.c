/* SPDX-License-Identifier: MIT */
/* Each distribution is told its own package, by what /etc/os-release says. */
#include "assertions.h"

#include "base/cleanup.h"
#include "base/packages.h"

static char *tmpdir, *os_release;

static int setup(void **state)
{
    (void)state;
    tmpdir = make_own_tmpdir();
    os_release = fvm_format("%s/os-release", tmpdir);
    return os_release == NULL;
}

static int teardown(void **state)
{
    (void)state;
    remove_own_tmpdir(tmpdir);
    free(os_release);
    return 0;
}

static void assert_hint(const char *text, const char *program, const char *expected)
{
    cleanup_free char *hint = NULL;

    assert_int_equal(fvm_replace_file(os_release, text), 0);
    hint = fvm_package_hint(program, os_release);
    assert_string_equal(hint, expected);
}

/* As the distributions have it, shortened. */
#define DEBIAN "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n"
#define UBUNTU "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"
#define MINT   "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"
#define FEDORA "NAME=\"Fedora Linux\"\nID=fedora\nVARIANT_ID=server\n"
#define RHEL   "ID=\"rhel\"\nID_LIKE=\"fedora\"\n"
#define ROCKY  "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"
#define ARCH   "NAME='Arch Linux'\nID='arch'\n"
#define LEAP   "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"
#define ALPINE "ID=alpine" /* no newline at the end */

static void each_distribution_has_its_qemu(void **state)
{
    (void)state;
    assert_hint(DEBIAN, "qemu-system-x86_64", "apt-get install qemu-system-x86");
    assert_hint(UBUNTU, "qemu-system-x86_64", "apt-get install qemu-system-x86");
    assert_hint(MINT, "qemu-system-x86_64", "apt-get install qemu-system-x86");
    assert_hint(FEDORA, "qemu-system-x86_64", "dnf install qemu-system-x86-core");
    assert_hint(ARCH, "qemu-system-x86_64", "pacman -S qemu-system-x86");
    assert_hint(LEAP, "qemu-system-x86_64", "zypper install qemu-x86");
    assert_hint(ALPINE, "qemu-system-x86_64", "apk add qemu-system-x86_64");
}

static void each_distribution_has_its_newuidmap(void **state)
{
    (void)state;
    assert_hint(DEBIAN, "newuidmap", "apt-get install uidmap");
    assert_hint(UBUNTU, "newuidmap", "apt-get install uidmap");
    assert_hint(FEDORA, "newuidmap", "dnf install shadow-utils");
    assert_hint(RHEL, "newuidmap", "dnf install shadow-utils");
    assert_hint(ARCH, "newuidmap", "pacman -S shadow");
    assert_hint(LEAP, "newuidmap", "zypper install shadow");
    assert_hint(ALPINE, "newuidmap", "apk add shadow-uidmap");
}

static void tools_with_one_name_everywhere_have_it(void **state)
{
    static const char *const programs[] = {"buildah", "skopeo", "netavark", "fuse-overlayfs"};
    static const struct {
        const char *text, *installer;
    } systems[] = {
        {DEBIAN, "apt-get install"}, {UBUNTU, "apt-get install"}, {FEDORA, "dnf install"},
        {RHEL, "dnf install"},       {ROCKY, "dnf install"},      {ARCH, "pacman -S"},
        {LEAP, "zypper install"},    {ALPINE, "apk add"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(systems); i++)
        for (size_t j = 0; j < LENGTH(programs); j++) {
            cleanup_free char *expected = fvm_format("%s %s", systems[i].installer, programs[j]);

            assert_hint(systems[i].text, programs[j], expected);
        }
}

static void krunvm_is_packaged_by_few(void **state)
{
    static const char elsewhere[] =
        "from its project, containers/krunvm, with cargo: few systems have a package of it";

    (void)state;
    assert_hint(FEDORA, "krunvm", "dnf install krunvm (after: dnf copr enable slp/krunvm)");
    assert_hint(ARCH, "krunvm", "pacman -S krunvm");
    assert_hint(DEBIAN, "krunvm", elsewhere);
    assert_hint("", "krunvm", elsewhere);
}

/* RHEL's QEMU is called qemu-kvm, and lies where no PATH leads. */
static void what_is_nearer_comes_first(void **state)
{
    (void)state;
    assert_hint(ROCKY, "qemu-system-x86_64",
                "look in this system's packages for qemu-system-x86_64");
    assert_hint(RHEL, "qemu-system-x86_64",
                "look in this system's packages for qemu-system-x86_64");
}

static void an_unknown_system_is_told_the_program(void **state)
{
    static const char *const texts[] = {
        "",
        "ID=\n",
        "ID=gentoo\n",
        "# ID=debian\n",
        "VERSION_ID=debian\n",
        "ID=debianish\n",
        "ID_LIKE=\"\"\n",
        "\n\n=\n",
        "ID",
        "ID=\"",
    };
    cleanup_free char *hint = NULL;

    (void)state;
    for (size_t i = 0; i < LENGTH(texts); i++)
        assert_hint(texts[i], "newuidmap", "look in this system's packages for newuidmap");
    assert_hint(DEBIAN, "something", "look in this system's packages for something");
    assert_int_equal(unlink(os_release), 0);
    hint = fvm_package_hint("newuidmap", os_release);
    assert_string_equal(hint, "look in this system's packages for newuidmap");
}

static void this_machine_has_an_answer(void **state)
{
    cleanup_free char *hint = fvm_package_hint("skopeo", NULL);

    (void)state;
    assert_non_null(strstr(hint, "skopeo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_distribution_has_its_qemu),
        cmocka_unit_test(each_distribution_has_its_newuidmap),
        cmocka_unit_test(tools_with_one_name_everywhere_have_it),
        cmocka_unit_test(krunvm_is_packaged_by_few),
        cmocka_unit_test(what_is_nearer_comes_first),
        cmocka_unit_test(an_unknown_system_is_told_the_program),
        cmocka_unit_test(this_machine_has_an_answer),
    };

    return cmocka_run_group_tests_name("packages", tests, setup, teardown);
}
