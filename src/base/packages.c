/* SPDX-License-Identifier: MIT */
#include "base/packages.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/files.h"

enum family { DEBIAN, FEDORA, RHEL, ARCH, SUSE, ALPINE, FAMILY_COUNT };

static const char *const installers[FAMILY_COUNT] = {
    "apt-get install", "dnf install", "dnf install", "pacman -S", "zypper install", "apk add",
};

/* Words of ID and ID_LIKE: a derived distribution names what it is like, the nearest first. */
static const struct {
    const char *id;
    enum family family;
} ids[] = {
    {"debian", DEBIAN}, {"ubuntu", DEBIAN}, {"fedora", FEDORA},
    {"rhel", RHEL},     {"centos", RHEL},   {"arch", ARCH},
    {"suse", SUSE},     {"opensuse", SUSE}, {"alpine", ALPINE},
};

/* NULL: that family has none, or none that we know of. (RHEL's QEMU is another program.) */
static const struct {
    const char *program;
    const char *packages[FAMILY_COUNT];
} table[] = {
    {"qemu-system-x86_64",
     {"qemu-system-x86", "qemu-system-x86-core", NULL, "qemu-system-x86", "qemu-x86",
      "qemu-system-x86_64"}},
    {"krunvm", {NULL, "krunvm (after: dnf copr enable slp/krunvm)", NULL, "krunvm", NULL, NULL}},
    {"newuidmap", {"uidmap", "shadow-utils", "shadow-utils", "shadow", "shadow", "shadow-uidmap"}},
    {"buildah", {"buildah", "buildah", "buildah", "buildah", "buildah", "buildah"}},
    {"skopeo", {"skopeo", "skopeo", "skopeo", "skopeo", "skopeo", "skopeo"}},
    {"netavark", {"netavark", "netavark", "netavark", "netavark", "netavark", "netavark"}},
    {"fuse-overlayfs",
     {"fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs",
      "fuse-overlayfs"}},
};

/* Does the line set this variable? Then its value, without quotes, is put into `value`. */
static bool take_value(const char *line, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);

    if (strncmp(line, name, length) != 0 || line[length] != '=')
        return false;
    line += length + 1;
    line += strspn(line, "\"'");
    snprintf(value, size, "%.*s", (int)strcspn(line, "\"'\n"), line);
    return true;
}

static enum family family_of(char *words)
{
    char *rest;

    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
            if (strcmp(word, ids[i].id) == 0)
                return ids[i].family;
    return FAMILY_COUNT;
}

static enum family read_family(const char *os_release)
{
    cleanup_file FILE *file = fopen(os_release ? os_release : "/etc/os-release", "re");
    char line[512], id[128] = "", like[256] = "";
    enum family family;

    if (file == NULL && os_release == NULL)
        file = fopen("/usr/lib/os-release", "re");
    while (file && fgets(line, sizeof line, file))
        if (!take_value(line, "ID", id, sizeof id))
            take_value(line, "ID_LIKE", like, sizeof like);
    family = family_of(id);
    return family < FAMILY_COUNT ? family : family_of(like);
}

char *fvm_package_hint(const char *program, const char *os_release)
{
    enum family family = read_family(os_release);

    for (size_t i = 0; family < FAMILY_COUNT && i < sizeof table / sizeof *table; i++)
        if (strcmp(program, table[i].program) == 0 && table[i].packages[family])
            return fvm_format("%s %s", installers[family], table[i].packages[family]);
    if (strcmp(program, "krunvm") == 0)
        return strdup(
            "from its project, containers/krunvm, with cargo: few systems have a package of it");
    return fvm_format("look in this system's packages for %s", program);
}
