/* SPDX-License-Identifier: MIT */
#include "engine/krunvm_volume.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/guest_files.h"

static void cleanup_reader(struct archive **reader)
{
    archive_read_free(*reader); /* NULL is allowed */
}

static int fail_archive(struct archive *reader, const char *path, struct flashvm_error *error)
{
    return fvm_fail(error, FLASHVM_IMAGE_INVALID, "cannot read %s: %s", path,
                    archive_error_string(reader));
}

/* Return: where an entry of the initramfs goes, below the directory; NULL: nowhere. */
static const char *destination(const char *name)
{
    if (strcmp(name, "init") == 0)
        return "agent";
    return strncmp(name, "zygote/", 7) == 0 && strchr(name + 7, '/') == NULL ? name : NULL;
}

static int take_out(struct archive *reader, int directory_fd, const char *name, mode_t mode,
                    struct flashvm_error *error)
{
    cleanup_close int fd =
        openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0 || archive_read_data_into_fd(reader, fd) != ARCHIVE_OK || fchmod(fd, mode) < 0)
        return fvm_fail_errno(error, errno ? errno : EIO, "cannot write the guest's %s", name);
    return 0;
}

int fvm_krunvm_volume_fill(const char *data_dir, const char *directory, struct flashvm_error *error)
{
    __attribute__((cleanup(cleanup_reader))) struct archive *reader = archive_read_new();
    cleanup_free char *path = fvm_format("%s/" FVM_GUEST_INITRAMFS, data_dir);
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct archive_entry *entry;
    int outcome;

    if (reader == NULL || path == NULL)
        return fvm_fail_no_memory(error);
    if (fd < 0 || mkdirat(fd, "zygote", 0755) < 0)
        return fvm_fail_errno(error, errno, "cannot write to %s", directory);
    archive_read_support_format_cpio(reader);
    if (archive_read_open_filename(reader, path, 65536) != ARCHIVE_OK)
        return fail_archive(reader, path, error);
    while ((outcome = archive_read_next_header(reader, &entry)) == ARCHIVE_OK) {
        const char *name = destination(archive_entry_pathname(entry));

        if (name && archive_entry_filetype(entry) == AE_IFREG &&
            take_out(reader, fd, name, archive_entry_perm(entry), error) < 0)
            return -1;
    }
    return outcome == ARCHIVE_EOF ? 0 : fail_archive(reader, path, error);
}
