/* SPDX-License-Identifier: MIT */
#include "cli/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/text.h"

static void show(const char *prefix, const char *format, va_list args)
{
    cleanup_free char *message = NULL, *printable = NULL;

    if (vasprintf(&message, format, args) < 0)
        message = NULL;
    if (message)
        printable = text_printable(message, strlen(message), true);
    fprintf(stderr, "%s%s\n", prefix, printable ? printable : "out of memory");
}

void show_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    show("flashvm: error: ", format, args);
    va_end(args);
}

void show_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    show("flashvm: ", format, args);
    va_end(args);
}

int show_failure(const struct flashvm_error *error)
{
    show_error("%s", error->message ? error->message : flashvm_status_name(error->status));
    return error->status;
}
