/* SPDX-License-Identifier: MIT */
#include "cli/option_names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"

static const struct {
    const char *field, *option;
    bool is_word; /* of English, too: it is the field only where a message begins with it */
} names[] = {
    {"args", "the list of arguments", true},
    {"boot_timeout_ms", "--boot-timeout", false},
    {"code", "the snippet", true},
    {"cold_boot", "--cold-boot", false},
    {"cpus", "--cpus", false},
    {"engine", "--engine", true},
    {"env", "--env", false},
    {"expect", "--expect", false},
    {"files_in", "--in", false},
    {"image", "--image", true},
    {"max_artifact_bytes", "--max-artifact-bytes", false},
    {"max_artifacts", "--max-artifacts", false},
    {"max_disk_mb", "--max-disk", false},
    {"max_files_in", "--max-files-in", false},
    {"max_files_in_bytes", "--max-files-in-bytes", false},
    {"max_processes", "--max-processes", false},
    {"max_stderr_bytes", "--max-stderr", false},
    {"max_stdout_bytes", "--max-stdout", false},
    {"memory_mb", "--memory", false},
    {"network", "--network", true},
    {"ports", "--port", true},
    {"python_args", "--python-arg", false},
    {"stdin_fd", "the descriptor of standard input", false},
    {"timeout_ms", "--timeout", false},
    {"workdir", "--workdir", false},
};

/* Return: the option that a word of a message stands for; NULL: it is a word like others. */
static const char *find_option(const char *word, size_t size, bool is_first)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].field) == size && strncmp(names[i].field, word, size) == 0)
            return is_first || !names[i].is_word ? names[i].option : NULL;
    return NULL;
}

/* How much of a message is the library's own: not the guest's console, not the path of a file. */
static size_t own_size(const char *message)
{
    static const char of_a_file[] = "files_in: ";

    return strncmp(message, of_a_file, strlen(of_a_file)) == 0 ? strlen(of_a_file)
                                                               : strcspn(message, "\n");
}

void option_names_translate(struct flashvm_error *error)
{
    cleanup_buffer struct fvm_buffer text = {0};
    const char *message = error->message ? error->message : "";
    size_t end = own_size(message);
    bool is_quoted = false;
    int status = 0;

    for (size_t at = 0, size; at < end && status == 0; at += size) {
        const char *option = NULL;

        size = strcspn(message + at, " :;,()\"\n");
        if (size == 0)
            size = 1;
        else if (!is_quoted)
            option = find_option(message + at, size, at == 0);
        is_quoted ^= message[at] == '"';
        status = option ? fvm_buffer_append(&text, option, strlen(option))
                        : fvm_buffer_append(&text, message + at, size);
    }
    if (status < 0 || fvm_buffer_append(&text, message + end, strlen(message + end)) < 0)
        return; /* as it was: what it says is more than how */
    free(error->message);
    error->message = steal_pointer(text.data);
}
