/* SPDX-License-Identifier: MIT */
#include "engine/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "engine/kvm_remedy.h"

/* The program has a deadline of its own; this one is for a kernel that does not let go of it. */
enum { DEADLINE_MS = 2000 };

/*
 * A no that comes faster is not worth keeping, and may be of the moment: another hypervisor has the
 * processor, memory is short, the device is not what it should be.
 */
enum { QUICK_US = 500 * 1000 };

void fvm_kvm_init(struct fvm_kvm *kvm)
{
    *kvm = (struct fvm_kvm){0};
    pthread_mutex_init(&kvm->lock, NULL);
}

void fvm_kvm_finish(struct fvm_kvm *kvm)
{
    pthread_mutex_destroy(&kvm->lock);
}

/* Read the line that the probe prints before its end. Return: its length, 0 for none in time. */
static size_t read_answer(int fd, char *line, size_t size)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t count;
    int ready;

    do
        ready = poll(&wait, 1, DEADLINE_MS);
    while (ready < 0 && errno == EINTR);
    count = ready == 1 ? read(fd, line, size - 1) : 0;
    if (count < 0)
        count = 0;
    line[count] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return strlen(line);
}

/* Return: is this the device's answer, and not a trouble with asking, which may pass? */
static bool ask(struct fvm_kvm *kvm, const char *libexec_dir)
{
    cleanup_free char *program = fvm_format("%s/flashvm-probe-kvm", libexec_dir);
    const char *argv[] = {program, NULL};
    struct flashvm_error error = {0};
    bool answered = false;
    int answer[2];
    pid_t pid;

    if (access("/dev/kvm", F_OK) < 0) {
        snprintf(kvm->reason, sizeof kvm->reason, "%s", FVM_KVM_NO_DEVICE);
        return true;
    }
    if (program == NULL || pipe2(answer, O_CLOEXEC) < 0) {
        snprintf(kvm->reason, sizeof kvm->reason, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    if (fvm_process_start(argv, (const int[]){-1, answer[1], -1}, 3, &pid, &error) < 0) {
        snprintf(kvm->reason, sizeof kvm->reason, "%s", error.message);
    } else {
        fvm_cleanup_close(&answer[1]); /* so that its end ends the wait */
        answer[1] = -1;
        answered = read_answer(answer[0], kvm->reason, sizeof kvm->reason) > 0;
        if (!answered)
            snprintf(kvm->reason, sizeof kvm->reason,
                     "flashvm-probe-kvm gave no answer (it has %d ms for it)", DEADLINE_MS);
        kill(pid, SIGKILL);
        fvm_process_wait(pid);
    }
    close(answer[0]);
    fvm_cleanup_close(&answer[1]);
    flashvm_error_finish(&error);
    kvm->usable = strcmp(kvm->reason, "usable") == 0;
    if (kvm->usable)
        kvm->reason[0] = '\0'; /* "" is the answer of a usable one, here and in the file */
    return answered;
}

/* ---- the answer of this boot, kept in a file: a line that says which boot, and the answer ---- */

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

enum { KEPT_MAX = 1024 };

/* What the first line must be. The user is a part of it: it decides who may open the device. */
static char *make_key(void)
{
    cleanup_file FILE *file = fopen(BOOT_ID_FILE, "re");
    char boot[64];

    if (file == NULL || fscanf(file, "%63s", boot) != 1)
        return NULL;
    return fvm_format("kvm-probe 1 %s %u\n", boot, geteuid());
}

static bool recall(struct fvm_kvm *kvm, const char *path, const char *key)
{
    cleanup_free char *kept = NULL;

    if (fvm_read_file(path, KEPT_MAX, &kept, NULL, NULL) < 0 ||
        strncmp(kept, key, strlen(key)) != 0)
        return false;
    snprintf(kvm->reason, sizeof kvm->reason, "%s", kept + strlen(key));
    kvm->usable = kvm->reason[0] == '\0';
    return true;
}

/* Best effort: without it the next process asks again. */
static void keep(const struct fvm_kvm *kvm, const char *path, const char *key)
{
    cleanup_free char *text = fvm_format("%s%s", key, kvm->reason);

    if (text)
        fvm_replace_file(path, text);
}

static void find_out(struct fvm_kvm *kvm, const char *libexec_dir, const char *cache_dir)
{
    cleanup_free char *path = cache_dir ? fvm_format("%s/kvm-probe", cache_dir) : NULL;
    cleanup_free char *key = make_key();
    uint64_t begin = fvm_now_us();
    /* Cheap to see anew, and it may change at any time. */
    bool may_open = access("/dev/kvm", R_OK | W_OK) == 0;

    if (may_open && path && key && recall(kvm, path, key))
        return;
    if (ask(kvm, libexec_dir) && may_open && path && key &&
        (kvm->usable || fvm_now_us() - begin > QUICK_US))
        keep(kvm, path, key);
}

bool fvm_kvm_is_usable(struct fvm_kvm *kvm, const char *libexec_dir, const char *cache_dir)
{
    bool usable;

    pthread_mutex_lock(&kvm->lock);
    if (!kvm->known)
        find_out(kvm, libexec_dir, cache_dir);
    if (!kvm->known && !kvm->usable) /* anew in each process: the rights may be others */
        fvm_kvm_explain(kvm, &fvm_kvm_places);
    kvm->known = true;
    usable = kvm->usable;
    pthread_mutex_unlock(&kvm->lock);
    return usable;
}

char *fvm_kvm_describe_host(void)
{
    unsigned eax, ebx, ecx, edx, signature, features;
    struct utsname host;

    if (uname(&host) < 0 || !__get_cpuid(1, &signature, &ebx, &ecx, &edx) ||
        !__get_cpuid_count(7, 0, &eax, &features, &ecx, &edx))
        return NULL;
    return fvm_format("host %x %x, Linux %s", signature, features, host.release);
}
