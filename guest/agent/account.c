/* SPDX-License-Identifier: MIT */
#include "account.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { DEFAULT_UID = 1000 };

#define DEFAULT_HOME "/work"

/* Open a regular file of the image. Not blocking, or a fifo in its place would hang the agent. */
static FILE *open_table(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    FILE *file = NULL;

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        file = fdopen(fd, "r");
    if (file == NULL)
        fvm_cleanup_close(&fd);
    return file;
}

/* One line of the image's /etc/passwd, by name or by uid. The image's NSS is not consulted. */
static bool find_passwd(const char *name, uid_t uid, struct account *account)
{
    cleanup_file FILE *file = open_table("/etc/passwd");
    struct passwd *entry;

    while (file && (entry = fgetpwent(file)) != NULL) {
        if (name ? strcmp(entry->pw_name, name) != 0 : entry->pw_uid != uid)
            continue;
        account->uid = entry->pw_uid;
        account->gid = entry->pw_gid;
        snprintf(account->home, sizeof account->home, "%s", entry->pw_dir);
        return true;
    }
    return false;
}

static void find_group(const char *name, gid_t *gid)
{
    cleanup_file FILE *file = open_table("/etc/group");
    struct group *entry;

    while (file && (entry = fgetgrent(file)) != NULL)
        if (strcmp(entry->gr_name, name) == 0) {
            *gid = entry->gr_gid;
            return;
        }
}

static bool parse_id(const char *text, size_t length, unsigned *ret_id)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);

    if (length == 0 || end != text + length || id >= UINT32_MAX)
        return false;
    *ret_id = (unsigned)id;
    return true;
}

void account_find(const char *user, struct account *ret_account)
{
    size_t name_length = strcspn(user, ":");
    const char *group = user[name_length] ? user + name_length + 1 : "";
    struct account account = {.uid = DEFAULT_UID, .gid = DEFAULT_UID, .home = DEFAULT_HOME};
    char name[64];
    unsigned id;

    snprintf(name, sizeof name, "%.*s", (int)name_length, user);
    if (parse_id(user, name_length, &id)) {
        account.uid = account.gid = id;
        find_passwd(NULL, id, &account);
    } else {
        find_passwd(name, 0, &account);
    }
    if (parse_id(group, strlen(group), &id))
        account.gid = id;
    else if (*group)
        find_group(group, &account.gid);
    if (account.uid == 0) {
        account = (struct account){.uid = DEFAULT_UID, .gid = DEFAULT_UID, .home = DEFAULT_HOME};
        find_passwd(NULL, DEFAULT_UID, &account);
    }
    if (account.gid == 0)
        account.gid = DEFAULT_UID;
    *ret_account = account;
}
