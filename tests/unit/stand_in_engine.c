/* SPDX-License-Identifier: MIT */
#include "stand_in_engine.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/vm_process.h"

enum { WORD_SIZE = 20, SETTLE_MS = 1000 };

struct stand_in stand_in;
static const char *const all_well[] = {WELL, NULL};

/* ---- in the place of the C library's own ----------------------------------------------------- */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
time_t time(time_t *ret_now)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += stand_in.clock_ahead_s;
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
int poll(struct pollfd *polls, nfds_t count, int timeout_ms)
{
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

    stand_in.poll_count++;
    if (count == 1 && timeout_ms == SETTLE_MS)
        timeout = (struct timespec){.tv_nsec = 1000000};
    return ppoll(polls, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static int start(const struct fvm_host *host, const struct fvm_vm_spec *spec, const char *word,
                 struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    const struct fvm_vm_program program = {
        .argv = (const char *const[]){"guest", word, NULL},
        .files = &spec->rootfs_fd,
        .file_count = 1,
    };

    if (fvm_vm_process_start(host, &program, ret_vm, error) < 0)
        return -1;
    ret_vm->engine = &stand_in_engine;
    stand_in.memory_mb = spec->memory_mb;
    stand_in.last_pid = ret_vm->jail_pid;
    return 0;
}

static int boot(struct fvm_host *host, const struct fvm_vm_spec *spec, struct fvm_caller *caller,
                struct fvm_vm *ret_vm, struct flashvm_error *error)
{
    (void)caller;
    stand_in.boot_count++;
    return start(host, spec, stand_in.boots, ret_vm, error);
}

/* Return: how copies of the template behave that is made now. */
static const char *next_word(void)
{
    size_t index = 0;

    while (index + 1 < stand_in.boot_count && stand_in.copies[index + 1])
        index++;
    return stand_in.copies[index];
}

static int snapshot(struct fvm_vm *vm, int state_fd, struct fvm_caller *caller,
                    struct flashvm_error *error)
{
    (void)vm, (void)caller;
    if (fvm_write_all(state_fd, next_word(), strlen(next_word())) < 0)
        return fvm_fail(error, FLASHVM_IO, "cannot write the word");
    return 0;
}

static int restore(struct fvm_host *host, const struct fvm_vm_spec *spec,
                   const struct fvm_snapshot *snapshot, struct fvm_vm *ret_vm,
                   struct flashvm_error *error)
{
    char word[WORD_SIZE] = "";

    stand_in.restore_count++;
    stand_in.last_restore_us = fvm_now_us();
    if (stand_in.cannot_restore)
        return fvm_fail(error, stand_in.cannot_restore, "the engine does not restore");
    if (pread(snapshot->state_fd, word, sizeof word - 1, 0) < 0)
        return fvm_fail(error, FLASHVM_IO, "cannot read the word");
    return start(host, spec, word, ret_vm, error);
}

static char *snapshot_key(const struct fvm_vm_spec *spec, struct flashvm_error *error)
{
    (void)spec, (void)error;
    return strdup(stand_in.key);
}

static int examine(struct flashvm_error *error)
{
    (void)error;
    return 0;
}

/* It never says anything. */
static int take_news(struct fvm_vm *vm, struct flashvm_error *error)
{
    (void)vm, (void)error;
    return 1;
}

const struct fvm_engine stand_in_engine = {
    .name = "stand-in",
    .examine = examine,
    .boot = boot,
    .take_news = take_news,
    .snapshot_key = snapshot_key,
    .snapshot = snapshot,
    .restore = restore,
};

/* ---- the stage ------------------------------------------------------------------------------- */

static unsigned count_names(const char *path, const char *ending)
{
    cleanup_dir DIR *directory = opendir(path);
    unsigned count = 0;

    for (const struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.') ?: "";

        count += *ending == '\0' || strcmp(dot, ending) == 0;
    }
    return count;
}

unsigned count_cached(const struct stage *stage, const char *ending)
{
    cleanup_free char *path = fvm_format("%s/templates", stage->cache_dir);

    return count_names(path, ending);
}

void make_image(struct fvm_image *ret_image, const char *digest)
{
    *ret_image = (struct fvm_image){
        .reference = strdup("localhost/test:1"),
        .digest = strdup(digest),
        .python = strdup("/bin/python3"),
        .rootfs_fd = -1,
        .config = {.env = calloc(1, sizeof(char *)),
                   .working_dir = strdup(""),
                   .user = strdup(""),
                   .program = strdup("")},
    };
}

/* @ret_hex: of its content. */
static void write_guest_file(const struct stage *stage, const char *name, const char *content,
                             char ret_hex[FVM_SHA256_HEX_SIZE])
{
    cleanup_free char *path = fvm_format("%s/%s", stage->data_dir, name);
    struct sha256_ctx sha256;

    assert_int_equal(fvm_replace_file(path, content), 0);
    sha256_init(&sha256);
    sha256_update(&sha256, strlen(content), (const uint8_t *)content);
    fvm_sha256_hex(&sha256, ret_hex);
}

void write_guest_files(const struct stage *stage, const char *kernel, const char *initramfs)
{
    char kernel_hex[FVM_SHA256_HEX_SIZE], initramfs_hex[FVM_SHA256_HEX_SIZE];
    cleanup_free char *path = fvm_format("%s/manifest.json", stage->data_dir);
    cleanup_free char *text = NULL;

    write_guest_file(stage, "vmlinux", kernel, kernel_hex);
    write_guest_file(stage, "initramfs.cpio", initramfs, initramfs_hex);
    text = fvm_format("{\"kernel\": {\"vmlinux\": {\"sha256\": \"%s\"}}, "
                      "\"initramfs\": {\"initramfs.cpio\": {\"sha256\": \"%s\"}}}",
                      kernel_hex, initramfs_hex);
    assert_int_equal(fvm_replace_file(path, text), 0);
}

/* Where the library looks for the jail. */
static void put_stand_in_vm(const char *directory)
{
    cleanup_free char *jail = fvm_format("%s/flashvm-jail", directory);

    assert_non_null(getenv("FLASHVM_STAND_IN_VM"));
    assert_int_equal(symlink(getenv("FLASHVM_STAND_IN_VM"), jail), 0);
}

int stage_setup(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);

    assert_non_null(stage);
    stage->descriptor_count = count_names("/proc/self/fd", "");
    stand_in = (struct stand_in){.boots = WELL, .copies = all_well, .key = "stand-in 1"};
    stage->tmpdir = make_own_tmpdir();
    stage->data_dir = fvm_format("%s/data", stage->tmpdir);
    stage->cache_dir = fvm_format("%s/cache", stage->tmpdir);
    assert_int_equal(mkdir(stage->data_dir, 0700), 0);
    assert_int_equal(mkdir(stage->cache_dir, 0700), 0);
    write_guest_files(stage, "1", "2");
    put_stand_in_vm(stage->data_dir);
    stage->host = (struct fvm_host){
        .data_dir = stage->data_dir,
        .libexec_dir = stage->data_dir,
        .cache_dir = stage->cache_dir,
    };
    make_image(&stage->image, "sha256:1");
    stage->guest = (struct fvm_guest){
        .host = &stage->host,
        .engine = &stand_in_engine,
        .accelerator = "none",
        .image = &stage->image,
        .cpus = 1,
        .memory_mb = STAND_IN_MEMORY_MB,
        .boot_timeout_ms = 20000,
    };
    stage->caller = (struct fvm_caller)FVM_CALLER_NONE;
    fvm_templates_init(&stage->templates);
    *state = stage;
    return 0;
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;

    fvm_templates_finish(&stage->templates);
    fvm_image_finish(&stage->image);
    flashvm_error_finish(&stage->error);
    free(stage->data_dir);
    free(stage->cache_dir);
    remove_own_tmpdir(stage->tmpdir);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(count_names("/proc/self/fd", ""), stage->descriptor_count);
    free(stage);
    return 0;
}

/* ---- time and processes ---------------------------------------------------------------------- */

void wait_ms(unsigned milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

/* Somebody else may wait for it, too. */
void kill_vm(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(kill(pid, SIGKILL), 0);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
}

void run_threads(unsigned count, void *(*thread)(void *), void *data)
{
    pthread_t threads[THREADS_MAX];

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread, data), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}
