/* SPDX-License-Identifier: MIT */
#include "image/fitness.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/files.h"

/* As the agent's own, for an image that sets none. */
static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

static const char *find_path_variable(char *const *env)
{
    const char *found = NULL;

    for (size_t i = 0; env[i]; i++)
        if (strncmp(env[i], "PATH=", 5) == 0)
            found = env[i] + 5; /* the last one counts */
    return found ? found : default_path;
}

static bool is_program(struct fvm_tree *tree, const char *path)
{
    const struct fvm_node *node = fvm_tree_find(tree, path);

    return node && S_ISREG(node->inode->mode) && (node->inode->mode & 0111);
}

/* Return: the path, to be freed, or NULL. */
static char *find_on_path(struct fvm_tree *tree, const char *search, const char *name)
{
    while (*search) {
        size_t length = strcspn(search, ":");
        cleanup_free char *path = fvm_format("%.*s/%s", (int)length, search, name);

        if (path && path[0] == '/' && length > 0 && is_program(tree, path))
            return steal_pointer(path);
        search += length + (search[length] == ':');
    }
    return NULL;
}

/* python, python3 or python3.N: what one says to start an interpreter. */
static bool is_interpreter_name(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    const char *minor = name + strlen("python3.");

    if (strcmp(name, "python") == 0 || strcmp(name, "python3") == 0)
        return true;
    return strncmp(name, "python3.", strlen("python3.")) == 0 && *minor &&
           minor[strspn(minor, "0123456789")] == '\0';
}

/* A program with a '/' in its name is no matter of PATH. */
static char *find_named(struct fvm_tree *tree, const struct fvm_image_config *config)
{
    cleanup_free char *path = NULL;

    if (strchr(config->program, '/') == NULL)
        return find_on_path(tree, find_path_variable(config->env), config->program);
    path = fvm_format("%s%s%s", config->program[0] == '/' ? "" : config->working_dir,
                      config->program[0] == '/' ? "" : "/", config->program);
    return path && is_program(tree, path) ? steal_pointer(path) : NULL;
}

/* Return: where on the PATH something has that name and is no program, to be freed, or NULL. */
static char *find_unusable(struct fvm_tree *tree, const char *search, const char *name)
{
    while (*search) {
        size_t length = strcspn(search, ":");
        cleanup_free char *directory = fvm_format("%.*s", (int)length, search);
        const struct fvm_node *node =
            directory && directory[0] == '/' ? fvm_tree_find(tree, directory) : NULL;

        if (node && S_ISDIR(node->inode->mode) && fvm_tree_child(node, name))
            return fvm_format("%s/%s", directory, name);
        search += length + (search[length] == ':');
    }
    return NULL;
}

static int fail_no_python(struct fvm_tree *tree, const char *search, struct flashvm_error *error)
{
    cleanup_free char *unusable = find_unusable(tree, search, "python3");

    if (unusable)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "it has no Python: %s is no executable file, and no symlink to one in the "
                        "image",
                        unusable);
    return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                    "it has no Python: there is no python3 on its PATH (%s)", search);
}

static int find_interpreter(struct fvm_tree *tree, const struct fvm_image_config *config,
                            char **ret_python, struct flashvm_error *error)
{
    cleanup_free char *shown = fvm_printable(config->program);
    bool is_named = is_interpreter_name(config->program);
    char *python = is_named ? find_named(tree, config)
                            : find_on_path(tree, find_path_variable(config->env), "python3");

    if (python == NULL && is_named)
        return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                        "its config starts \"%s\", which is no program in it", shown ? shown : "");
    if (python == NULL)
        return fail_no_python(tree, find_path_variable(config->env), error);
    *ret_python = python;
    return 0;
}

static int check_mount_points(struct fvm_tree *tree, struct flashvm_error *error)
{
    static const char *const names[] = {"dev", "proc", "run", "sys", "tmp", "work"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct fvm_node *node = fvm_tree_child(tree->root, names[i]);

        if (node && !S_ISDIR(node->inode->mode))
            return fvm_fail(error, FLASHVM_IMAGE_INVALID,
                            "its /%s is not a directory; the guest needs one there", names[i]);
    }
    return 0;
}

int fvm_fitness_check(struct fvm_tree *tree, const struct fvm_image_config *config,
                      char **ret_python, struct flashvm_error *error)
{
    if (check_mount_points(tree, error) < 0)
        return -1;
    return find_interpreter(tree, config, ret_python, error);
}
