/* SPDX-License-Identifier: MIT */
#include "image/storage_advice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "base/packages.h"

static const struct fvm_storage_places this_machine = {.sysctls = "/proc/sys"};

/* ---- user namespaces ------------------------------------------------------------------------- */

#define FORBIDDEN "this kernel, or the container around, lets this user make no user namespaces: "

/* Settings that forbid them, by the value that does. The first is Debian's, the last Ubuntu's. */
static const struct {
    const char *file, *remedy;
    int forbids;
} settings[] = {
    {"kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone=1", 0},
    {"user/max_user_namespaces", "user.max_user_namespaces=15000", 0},
    {"kernel/apparmor_restrict_unprivileged_userns",
     "kernel.apparmor_restrict_unprivileged_userns=0", 1},
};

static long read_setting(const char *sysctls, const char *name)
{
    cleanup_free char *path = fvm_format("%s/%s", sysctls, name);
    cleanup_file FILE *file = path ? fopen(path, "re") : NULL;
    char text[16], *end;
    long value;

    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        return -1;
    value = strtol(text, &end, 10);
    return end == text ? -1 : value;
}

static char *allow_namespaces(const struct fvm_storage_places *places)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (read_setting(places->sysctls, settings[i].file) == settings[i].forbids)
            return fvm_format(FORBIDDEN "as root, sysctl -w %s, and for good the same in a file of "
                                        "/etc/sysctl.d",
                              settings[i].remedy);
    return strdup(FORBIDDEN "no setting of the kernel forbids it, so it is the container's seccomp "
                            "or AppArmor profile, or SELinux");
}

/* ---- the table ------------------------------------------------------------------------------- */

#define UIDMAP "install newuidmap and newgidmap, which give a user more than one id"
#define MAPPERS                                                                                    \
    "newuidmap and newgidmap must be setuid root, which a container or a copy may have "           \
    "taken from them: install them again"
#define SUBIDS                                                                                     \
    "give this user ids of its own, as root: usermod --add-subuids 100000-165535 "                 \
    "--add-subgids 100000-165535 USER"
#define OVERLAY                                                                                    \
    "for this file system the storage needs fuse-overlayfs, or driver = \"vfs\" in "               \
    "storage.conf, which works everywhere"
#define WRITABLE "the storage's directory must be one that "

/*
 * By words of skopeo 1.9 to 1.18 and buildah 1.28 to 1.39, which stay through their versions. The
 * order counts: a kernel that forbids user namespaces says "No space left on device" too.
 */
static const struct {
    const char *words;
    const char *advice;  /* NULL: about user namespaces */
    const char *program; /* whose package stands behind the advice; NULL: none */
} table[] = {
    {"should be setuid", MAPPERS, "newuidmap"},
    {"map failed: Operation not permitted", MAPPERS, "newuidmap"},
    {"newuidmap", UIDMAP, "newuidmap"}, /* it looks for both at once */
    {"newgidmap", UIDMAP, "newuidmap"},
    {"User namespaces are not enabled", NULL, NULL},
    {"during unshare(", NULL, NULL}, /* newer ones print dots for the flags */
    {"CLONE_NEWUSER", NULL, NULL},
    {"/etc/subuid", SUBIDS, NULL},
    {"/etc/subgid", SUBIDS, NULL},
    {"not be enough IDs available", SUBIDS, NULL},
    {"unknown userid", "this user id needs an entry in /etc/passwd", NULL},
    {"XDG_RUNTIME_DIR",
     "log in as this user, since su and sudo leave XDG_RUNTIME_DIR another's; or unset it", NULL},
    {"netavark", "buildah wants netavark even to import: install it, or skopeo", "netavark"},
    {"policy.json",
     "the policy of this machine for images is missing or broken: see containers-policy.json(5)",
     NULL},
    {"rejected by policy",
     "the policy of this machine, /etc/containers/policy.json, has to allow images of the "
     "transport oci",
     NULL},
    {"/dev/fuse",
     "fuse-overlayfs needs /dev/fuse: modprobe fuse, as root, or start the container "
     "with --device /dev/fuse",
     NULL},
    {"fuse: device not found",
     "fuse-overlayfs needs /dev/fuse: modprobe fuse, as root, or start "
     "the container with --device /dev/fuse",
     NULL},
    {"fuse-overlayfs", OVERLAY, "fuse-overlayfs"},
    {"mount_program", OVERLAY, "fuse-overlayfs"},
    {"'overlay' is not supported", OVERLAY, "fuse-overlayfs"},
    {"no space left on device", "free some space where the storage is (buildah info names it)",
     NULL},
    {"prerequisites for driver",
     "set another driver in storage.conf, vfs works everywhere: see containers-storage.conf(5)",
     NULL},
    {"unsupported for this graph driver",
     "set another driver in storage.conf, vfs works everywhere: see containers-storage.conf(5)",
     NULL},
    {"read-only file system", WRITABLE "can be written: see containers-storage.conf(5)", NULL},
    {"permission denied", WRITABLE "this user can write: see containers-storage.conf(5)", NULL},
};

char *fvm_storage_advice(const char *words, const struct fvm_storage_places *places)
{
    cleanup_free char *package = NULL;
    size_t i = 0, count = sizeof table / sizeof *table;

    places = places ? places : &this_machine;
    while (i < count && strcasestr(words, table[i].words) == NULL)
        i++;
    if (i == count)
        return NULL;
    if (table[i].advice == NULL)
        return allow_namespaces(places);
    if (table[i].program == NULL)
        return strdup(table[i].advice);
    package = fvm_package_hint(table[i].program, places->os_release);
    return package ? fvm_format("%s: %s", table[i].advice, package) : NULL;
}
