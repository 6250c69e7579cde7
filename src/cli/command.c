/* SPDX-License-Identifier: MIT */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/message.h"

int command_usage_error(const struct command *command, const char *format, ...)
{
    cleanup_free char *what = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&what, format, args) < 0)
        what = NULL;
    va_end(args);
    show_error("%s: %s; see 'flashvm help %s'", command->name, what ? what : "wrong use",
               command->name);
    return FLASHVM_INVALID_ARGUMENT;
}

int command_option_error(const struct command *command, int returned, char **argv)
{
    const char *option = argv[optind - 1];

    if (returned == ':')
        return command_usage_error(command, "the option '%s' needs a value", option);
    return command_usage_error(command, "'%s' is not an option of this command", option);
}

int command_show_help(const struct command *command)
{
    fputs(command->help, stdout);
    return 0;
}

/* An empty variable is as good as none. */
static const char *directory_from_environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

int library_open(struct library *library, struct flashvm_error *error)
{
    struct flashvm_config config = FLASHVM_CONFIG_INIT;

    config.data_dir = directory_from_environment("FLASHVM_DATA_DIR");
    config.libexec_dir = directory_from_environment("FLASHVM_LIBEXEC_DIR");
    config.cache_dir = directory_from_environment("FLASHVM_CACHE_DIR");
    if (progress_init(&library->progress)) {
        config.progress = progress_show;
        config.progress_data = &library->progress;
    }
    return flashvm_open(&config, &library->fvm, error);
}

void library_close(struct library *library)
{
    flashvm_close(library->fvm);
    progress_finish(&library->progress);
}
