/* SPDX-License-Identifier: MIT */
/* Writing an artifact under a directory, to the path that a hostile guest chose for it. */
#pragma once

#include <flashvm/flashvm.h>

/*
 * Write the artifact to `directory`/`guest_path`, replacing a file that is there. `directory` and
 * missing parents are made. Nothing is written outside of `directory`, no symlink inside of it is
 * followed (in the place of a parent it is an error, in the place of the file it is replaced), and
 * the file appears complete or not at all, with the mode of an ordinary new file.
 * @ret_path: receives the path; free() it.
 */
int artifact_save(const struct flashvm_artifact *artifact, const char *directory, char **ret_path,
                  struct flashvm_error *error);
