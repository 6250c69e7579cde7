/* SPDX-License-Identifier: MIT */
/* What to do about what skopeo and buildah say; the words are theirs, as they were seen. */
#include "assertions.h"

#include "base/cleanup.h"
#include "image/storage_advice.h"

static char *tmpdir, *os_release;
static struct fvm_storage_places places;

static int setup(void **state)
{
    (void)state;
    tmpdir = make_own_tmpdir();
    os_release = fvm_format("%s/os-release", tmpdir);
    assert_int_equal(fvm_replace_file(os_release, "ID=fedora\n"), 0);
    places = (struct fvm_storage_places){.sysctls = tmpdir, .os_release = os_release};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_own_tmpdir(tmpdir);
    free(os_release);
    return 0;
}

static void assert_advice(const char *words, const char *expected)
{
    cleanup_free char *advice = fvm_storage_advice(words, &places);

    if (advice == NULL || strstr(advice, expected) == NULL)
        fail_msg("to \"%s\" it says \"%s\", and not \"%s\"", words, advice ?: "nothing", expected);
}

#define NAMESPACES "this kernel, or the container around, lets this user make no user namespaces: "

static void words_of_the_tools_have_advice(void **state)
{
    static const struct {
        const char *words, *advice;
    } known[] = {
        {"cannot find newuidmap: exec: \"newuidmap\": executable file not found in $PATH",
         "install newuidmap and newgidmap, which give a user more than one id: dnf install "
         "shadow-utils"},
        {"exec: \"newgidmap\": executable file not found in $PATH", "dnf install shadow-utils"},
        {"Error running newuidmap: exit status 1: newuidmap: write to uid_map failed: Operation "
         "not "
         "permitted",
         "must be setuid root, which a container or a copy may have taken from them: install them "
         "again: dnf install shadow-utils"},
        {"/usr/bin/newuidmap should be setuid or have filecaps setuid", "must be setuid root"},
        {"no subuid ranges found for user \"alice\" in /etc/subuid", "usermod --add-subuids"},
        {"no subgid ranges found for group \"alice\" in /etc/subgid", "usermod --add-subuids"},
        {"potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for "
         "/etc/shadow): Check /etc/subuid and /etc/subgid: lchown /etc/shadow: invalid argument",
         "usermod --add-subuids"},
        {"there might not be enough IDs available in the namespace (requested 0:42 for /x)",
         "usermod --add-subuids"},
        {"user: unknown userid 12345", "an entry in /etc/passwd"},
        {"XDG_RUNTIME_DIR directory \"/run/user/0\" is not owned by the current user",
         "log in as this user"},
        {"exec: \"netavark\": executable file not found in $PATH",
         "install it, or skopeo: dnf install netavark"},
        {"open /etc/containers/policy.json: no such file or directory",
         "containers-policy.json(5)"},
        {"Source image rejected: Running image oci:/x is rejected by policy.", "transport oci"},
        {"overlay: can't stat program \"/usr/bin/fuse-overlayfs\": stat /usr/bin/fuse-overlayfs: "
         "no "
         "such file or directory",
         "or driver = \"vfs\" in storage.conf, which works everywhere: dnf install fuse-overlayfs"},
        {"'overlay' is not supported over overlayfs, a mount_program is required: backing file "
         "system is unsupported for this graph driver",
         "dnf install fuse-overlayfs"},
        {"kernel does not support overlay fs: 'overlay' is not supported over extfs at \"/x\": "
         "backing file system is unsupported for this graph driver",
         "dnf install fuse-overlayfs"},
        {"using mount program /usr/bin/fuse-overlayfs: fuse: device not found, try 'modprobe fuse' "
         "first",
         "fuse-overlayfs needs /dev/fuse"},
        {"'btrfs' is not supported over extfs at \"/x\": backing file system is unsupported for "
         "this graph driver",
         "vfs works everywhere"},
        {"write /x: no space left on device", "free some space"},
        {"mkdir /x: read-only file system", "must be one that can be written"},
        {"mkdir /x: permission denied", "must be one that this user can write"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(known); i++)
        assert_advice(known[i].words, known[i].advice);
}

static void words_that_nobody_knows_have_none(void **state)
{
    (void)state;
    assert_null(fvm_storage_advice("something else", &places));
    assert_null(fvm_storage_advice("", &places));
}

/* ---- user namespaces ---- */

/* The kernel's "No space left on device" is about user namespaces there. */
static const char *const refusals[] = {
    "Error during unshare(CLONE_NEWUSER): No space left on device\n"
    "User namespaces are not enabled in /proc/sys/user/max_user_namespaces.",
    "Error during unshare(CLONE_NEWUSER): Operation not permitted",
    "Error during unshare(...): Operation not permitted", /* newer ones */
};

static void set(const char *name, const char *value)
{
    cleanup_free char *path = fvm_format("%s/%s", tmpdir, name);
    cleanup_free char *directory = strndup(path, (size_t)(strrchr(path, '/') - path));

    assert_int_equal(fvm_make_directories(directory, 0755, NULL), 0);
    assert_int_equal(fvm_replace_file(path, value), 0);
}

static void the_setting_that_forbids_is_named(void **state)
{
    static const struct {
        const char *name, *allows, *forbids, *remedy;
    } settings[] = {
        {"kernel/unprivileged_userns_clone", "1\n", "0\n",
         "sysctl -w kernel.unprivileged_userns_clone=1"},
        {"user/max_user_namespaces", "96365\n", "0\n", "sysctl -w user.max_user_namespaces=15000"},
        {"kernel/apparmor_restrict_unprivileged_userns", "0\n", "1\n",
         "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(settings); i++) {
        set(settings[i].name, settings[i].forbids);
        for (size_t j = 0; j < LENGTH(refusals); j++) {
            assert_advice(refusals[j], settings[i].remedy);
            assert_advice(refusals[j], NAMESPACES);
        }
        set(settings[i].name, settings[i].allows);
        assert_advice(refusals[0], NAMESPACES "no setting of the kernel forbids it");
    }
}

static void without_a_setting_it_is_the_container(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(refusals); i++)
        assert_advice(refusals[i], NAMESPACES "no setting of the kernel forbids it, so it is the "
                                              "container's seccomp or AppArmor profile");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_of_the_tools_have_advice, setup, teardown),
        cmocka_unit_test_setup_teardown(words_that_nobody_knows_have_none, setup, teardown),
        cmocka_unit_test_setup_teardown(the_setting_that_forbids_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_setting_it_is_the_container, setup, teardown),
    };

    return cmocka_run_group_tests_name("storage_advice", tests, NULL, NULL);
}
