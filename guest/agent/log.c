/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void agent_log(const char *format, ...)
{
    char line[1200] = "flashvm-agent: ";
    size_t start = strlen(line);
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line + start, sizeof line - start - 1, format, args);
    va_end(args);
    if (size < 0)
        return;
    start = strlen(line);
    line[start] = '\n';
    if (write(STDERR_FILENO, line, start + 1) < 0)
        return; /* there is nobody else to tell */
}
