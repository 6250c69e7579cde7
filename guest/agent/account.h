/* SPDX-License-Identifier: MIT */
/* Whom the snippet runs as. */
#pragma once

#include <sys/types.h>

struct account {
    uid_t uid;
    gid_t gid;
    char home[256];
};

/*
 * Find the account that the image's config names ("uid[:gid]", or names of /etc/passwd and
 * /etc/group). root, "" and a name that is not there give uid 1000: the snippet never runs as root.
 */
void account_find(const char *user, struct account *ret_account);
