/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#undef fvm_fail /* not the functions, but what the analyzer takes for them */
#undef fvm_fail_errno
#undef fvm_fail_context
#undef fvm_fail_no_memory

static int fail_text(struct flashvm_error *error, enum flashvm_status status, int os_errno,
                     char *message)
{
    if (error == NULL) {
        free(message);
        return -1;
    }
    free(error->message);
    error->status = status;
    error->os_errno = os_errno;
    error->message = message ? message : strdup("out of memory");
    return -1;
}

int fvm_fail(struct flashvm_error *error, enum flashvm_status status, const char *format, ...)
{
    char *message = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&message, format, args) < 0)
        message = NULL;
    va_end(args);
    return fail_text(error, status, 0, message);
}

/* What to do about an errno whose text says only what is wrong. */
static const char *remedy_for(int err)
{
    static const struct {
        int err;
        const char *remedy;
    } remedies[] = {
        {ENOSPC, " (free some space there, or use another place)"},
        {EDQUOT, " (remove files of yours there, or use another place)"},
        {EFBIG, " (the limit on the size of files is too low: see ulimit -f)"},
        {EMFILE, " (this process has too many: see ulimit -n)"},
    };

    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (remedies[i].err == err)
            return remedies[i].remedy;
    return "";
}

static enum flashvm_status status_of(int err)
{
    return err == ENOENT ? FLASHVM_NOT_FOUND : err == ECANCELED ? FLASHVM_CANCELLED : FLASHVM_IO;
}

int fvm_fail_errno(struct flashvm_error *error, int err, const char *format, ...)
{
    cleanup_free char *what = NULL;
    char *message = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&what, format, args) < 0)
        what = NULL;
    va_end(args);
    if (asprintf(&message, "%s: %s%s", what ? what : "?", strerrordesc_np(err) ?: "unknown error",
                 remedy_for(err)) < 0)
        message = NULL;
    return fail_text(error, status_of(err), err, message);
}

int fvm_fail_context(struct flashvm_error *error, const char *format, ...)
{
    cleanup_free char *what = NULL;
    char *message = NULL;
    va_list args;

    if (error == NULL || error->message == NULL)
        return -1;
    va_start(args, format);
    if (vasprintf(&what, format, args) < 0)
        what = NULL;
    va_end(args);
    if (what == NULL || asprintf(&message, "%s: %s", what, error->message) < 0)
        return -1; /* the cause alone is better than nothing */
    return fail_text(error, error->status, error->os_errno, message);
}

int fvm_fail_no_memory(struct flashvm_error *error)
{
    return fail_text(error, FLASHVM_IO, ENOMEM, strdup("the host is out of memory"));
}

char *fvm_printable(const char *name)
{
    enum { SHOWN = 200 };
    size_t length = strnlen(name, SHOWN + 1);
    char *text = strndup(name, SHOWN);

    for (char *c = text; c && *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    if (text && length > SHOWN)
        memcpy(text + SHOWN - 3, "...", 3);
    return text;
}

int fvm_error_return(struct flashvm_error *own, struct flashvm_error *ret_error)
{
    int status = own->status;

    if (ret_error) {
        flashvm_error_finish(ret_error);
        *ret_error = *own;
        *own = (struct flashvm_error){0};
    } else {
        flashvm_error_finish(own);
    }
    return status;
}
