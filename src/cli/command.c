/* SPDX-License-Identifier: MIT */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "cli/interrupt.h"
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

/* Return: the next long option after `option` that begins as the word does; NULL: there is none. */
static const struct option *next_match(const struct option *option, const char *word)
{
    size_t length = strcspn(word, "=");

    while (option->name && strncmp(option->name, word, length) != 0)
        option++;
    return option->name ? option : NULL;
}

/* A word that begins like several long options. */
static int fail_ambiguous(const struct command *command, const struct option *match,
                          const char *word)
{
    cleanup_buffer struct fvm_buffer list = {0};

    for (; match; match = next_match(match + 1, word)) {
        cleanup_free char *item = fvm_format("%s--%s", list.size > 0 ? ", " : "", match->name);

        if (item == NULL || fvm_buffer_append(&list, item, strlen(item)) < 0)
            break;
    }
    return command_usage_error(command, "'--%.*s' is short for more than one option: %s",
                               (int)strcspn(word, "="), word, list.data ? list.data : "");
}

int command_option_error(const struct command *command, int returned,
                         const struct option *long_options, char **argv)
{
    const char *option = argv[optind - 1];
    bool is_long = strncmp(option, "--", 2) == 0;
    const struct option *match = is_long ? next_match(long_options, option + 2) : NULL;

    if (returned == ':')
        return command_usage_error(command, "the option '%s' needs a value", option);
    if (match && optopt == match->val) /* one that is known, and took no value */
        return command_usage_error(command, "the option '--%s' takes no value, so leave out '%s'",
                                   match->name, option + strcspn(option, "="));
    if (optopt != 0)
        return command_usage_error(command, "'-%c' is not an option of this command", optopt);
    if (match)
        return fail_ambiguous(command, match, option + 2);
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

static void show_notice(void *nothing, const char *text)
{
    (void)nothing;
    show_note("%s", text);
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
    config.interrupted = interrupt_came;
    config.notice = show_notice;
    return flashvm_open(&config, &library->fvm, error);
}

void library_close(struct library *library)
{
    flashvm_close(library->fvm);
    progress_finish(&library->progress);
}
