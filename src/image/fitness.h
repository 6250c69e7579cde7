/* SPDX-License-Identifier: MIT */
/*
 * Can the guest run from this tree? Looked at while the image is unpacked, so that one that cannot
 * is refused before a VM boots, and by a sentence about the image.
 */
#pragma once

#include "base/error.h"
#include "image/image.h"
#include "image/tree.h"

/*
 * The image needs an interpreter: what its Entrypoint and Cmd begin with, when that is python,
 * python3 or python3.N, else python3 on its PATH. And where the agent mounts something (/dev, /tmp,
 * …) there must be a directory or nothing: a symlink would lead the agent elsewhere.
 * @ret_python: the interpreter's path, to be freed. Not resolved: a virtual environment is known by
 * the path of its symlink.
 */
int fvm_fitness_check(struct fvm_tree *tree, const struct fvm_image_config *config,
                      char **ret_python, struct flashvm_error *error);
