/* SPDX-License-Identifier: MIT */
#include "mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include "log.h"

void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data)
{
    if (mount(source, target, type, flags, data) < 0)
        agent_die_errno("cannot mount %s on %s", type ? type : source ? source : "again", target);
}

void make_directory(const char *path, mode_t mode)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        agent_die_errno("cannot make %s", path);
    if (chmod(path, mode) < 0)
        agent_die_errno("cannot chmod %s", path);
}
