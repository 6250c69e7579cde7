/* SPDX-License-Identifier: MIT */
/*
 * The quick start in C: run a snippet, print its output and the files that it leaves behind.
 *
 *     cc hello.c $(pkg-config --cflags --libs flashvm) -o hello && ./hello
 *
 * Usage: hello [DATA_DIR LIBEXEC_DIR], for a libflashvm that is not installed.
 */
#include <flashvm/flashvm.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const char code[] = "print('Hello from microVM!')\n"
                               "open('out/result.txt', 'w').write('made in a microVM')\n";
    static const char *const expect[] = {"out/*.txt", NULL};
    struct flashvm_config config = FLASHVM_CONFIG_INIT;
    struct flashvm_run_options options = FLASHVM_RUN_OPTIONS_INIT;
    struct flashvm_result *result = NULL;
    struct flashvm_error error = {0};
    struct flashvm *fvm = NULL;
    int exit_code = 1;

    if (argc == 3) {
        config.data_dir = argv[1];
        config.libexec_dir = argv[2];
    }
    options.expect = expect;
    if (flashvm_open(&config, &fvm, &error) != FLASHVM_OK ||
        flashvm_run(fvm, &options, code, strlen(code), &result, &error) != FLASHVM_OK) {
        fprintf(stderr, "%s: %s\n", flashvm_status_name(error.status), error.message);
    } else {
        fwrite(result->stdout_data, 1, result->stdout_size, stdout);
        fwrite(result->stderr_data, 1, result->stderr_size, stderr);
        for (size_t i = 0; i < result->artifact_count; i++)
            printf("%s (%ju bytes)\n", result->artifacts[i].guest_path,
                   (uintmax_t)result->artifacts[i].size_bytes);
        exit_code = result->exit_code;
    }
    flashvm_result_free(result);
    flashvm_close(fvm);
    flashvm_error_finish(&error);
    return exit_code;
}
