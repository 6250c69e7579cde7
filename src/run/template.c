/* SPDX-License-Identifier: MIT */
#include "run/template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/files.h"
#include "engine/guest_files.h"
#include "image/rootfs.h"
#include "run/conversation.h"
#include "run/run.h"
#include "run/template_cache.h"

/* Raised when templates of before must not be used any more. */
enum { TEMPLATE_FORMAT = 1 };
/* Timers and workers of the guest's kernel that a rehearsal has set going. */
enum { SETTLE_MS = 1000 };
enum { LEARNING_ROUNDS = 2 };
/* As long as loaded ones are kept that nobody uses. */
enum { LOADED_MAX = 4 };

static void template_free(struct fvm_template *template)
{
    fvm_cleanup_close(&template->snapshot.memory_fd);
    fvm_cleanup_close(&template->snapshot.state_fd);
    free(template);
}

/* ---- the list -------------------------------------------------------------------------------- */

void fvm_templates_init(struct fvm_templates *templates)
{
    *templates = (struct fvm_templates){0};
    pthread_mutex_init(&templates->lock, NULL);
}

/* Take out of the list all that nobody uses beyond the first `keep`. The lock is held. */
static void trim(struct fvm_templates *templates, unsigned keep)
{
    struct fvm_template **link = &templates->loaded;

    while (*link) {
        struct fvm_template *template = *link;

        if (keep > 0)
            keep--;
        else if (template->users == 0) {
            *link = template->next;
            template_free(template);
            continue;
        }
        link = &template->next;
    }
}

void fvm_templates_trim(struct fvm_templates *templates)
{
    pthread_mutex_lock(&templates->lock);
    trim(templates, 0);
    pthread_mutex_unlock(&templates->lock);
}

void fvm_templates_finish(struct fvm_templates *templates)
{
    fvm_templates_trim(templates);
    pthread_mutex_destroy(&templates->lock);
}

static struct fvm_template **find_link(struct fvm_templates *templates, const char *key)
{
    struct fvm_template **link = &templates->loaded;

    while (*link && strcmp((*link)->key, key) != 0)
        link = &(*link)->next;
    return link;
}

/* Take it out of the list; the last user frees it. The lock is held. */
static void forget(struct fvm_template **link)
{
    struct fvm_template *template = *link;

    *link = template->next;
    template->is_dropped = true;
    if (template->users == 0)
        template_free(template);
}

/* Return: the loaded one, with one user more; NULL when there is none, or it is too old. */
static struct fvm_template *find_loaded(struct fvm_templates *templates, const char *key)
{
    struct fvm_template *template;
    struct fvm_template **link;

    pthread_mutex_lock(&templates->lock);
    link = find_link(templates, key);
    template = *link;
    if (template && fvm_template_is_too_old(template->made_at)) {
        forget(link);
        template = NULL;
    }
    if (template) {
        template->users++;
        *link = template->next;
        template->next = templates->loaded;
        templates->loaded = template;
    }
    pthread_mutex_unlock(&templates->lock);
    return template;
}

/* Another thread may have loaded the same meanwhile: then that one is used. */
static struct fvm_template *add_loaded(struct fvm_templates *templates,
                                       struct fvm_template *template)
{
    struct fvm_template *known;

    pthread_mutex_lock(&templates->lock);
    known = *find_link(templates, template->key);
    if (known) {
        template_free(template);
        template = known;
    } else {
        template->next = templates->loaded;
        templates->loaded = template;
        trim(templates, LOADED_MAX);
    }
    template->users++;
    pthread_mutex_unlock(&templates->lock);
    return template;
}

void fvm_template_put(struct fvm_templates *templates, struct fvm_template *template)
{
    pthread_mutex_lock(&templates->lock);
    if (--template->users == 0 && template->is_dropped)
        template_free(template);
    pthread_mutex_unlock(&templates->lock);
}

void fvm_template_drop(struct fvm_templates *templates, const struct fvm_guest *guest,
                       struct fvm_template *template)
{
    struct fvm_template **link;

    if (guest->host->cache_dir)
        fvm_template_cache_remove(guest->host->cache_dir, template->key);
    pthread_mutex_lock(&templates->lock);
    link = find_link(templates, template->key);
    if (*link == template)
        forget(link);
    pthread_mutex_unlock(&templates->lock);
}

/* ---- which one ------------------------------------------------------------------------------- */

int fvm_template_key(const struct fvm_guest *guest, char ret_key[FVM_SHA256_HEX_SIZE],
                     struct flashvm_error *error)
{
    const struct fvm_vm_spec spec = fvm_guest_spec(guest);
    cleanup_free char *engine = guest->engine->snapshot_key(guest->host, &spec, error);
    cleanup_free char *files =
        engine ? fvm_guest_files_verify(guest->host->data_dir, guest->host->cache_dir, error)
               : NULL;
    cleanup_free char *text = NULL;
    struct sha256_ctx sha256;

    if (files == NULL)
        return -1;
    text =
        fvm_format("template %d\n%s\n%s\nrootfs %d %s\n%u cpus, %u MiB\n", TEMPLATE_FORMAT, engine,
                   files, FVM_ROOTFS_FORMAT, guest->image->digest, guest->cpus, guest->memory_mb);
    if (text == NULL)
        return fvm_fail_no_memory(error);
    sha256_init(&sha256);
    sha256_update(&sha256, strlen(text), (const uint8_t *)text);
    fvm_sha256_hex(&sha256, ret_key);
    return 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* A run as most begin. */
static struct fvm_run_spec trial_spec(const struct fvm_guest *guest, struct fvm_caller *caller)
{
    static const char code[] = "print(1)";
    static const char *const python_args[] = {"-u", NULL}; /* as the waiting interpreter has */
    static const char *const *nothing = python_args + 1;
    struct fvm_run_spec spec = {
        .timeout_ms = guest->boot_timeout_ms,
        .start_timeout_ms = guest->boot_timeout_ms,
        .grace_ms = guest->boot_timeout_ms,
        .collect_timeout_ms = guest->boot_timeout_ms,
        .env = nothing,
        .python_args = python_args,
        .args = nothing,
        .expect = nothing,
        .stdin_fd = -1,
        .max_processes = 4096, /* the agent's own choice, too */
        .max_stdout_bytes = sizeof code,
        .max_stderr_bytes = sizeof code,
        .code = code,
        .code_size = sizeof code - 1,
        .caller = *caller,
    };

    fvm_run_spec_set_image(&spec, guest->image);
    return spec;
}

/* Have a copy do a run of ours, and keep what the engine learns of it behind the state itself. */
static int learn_once(const struct fvm_guest *guest, const struct fvm_snapshot *snapshot,
                      off_t state_size, struct fvm_result *result, struct fvm_caller *caller,
                      struct flashvm_error *error)
{
    struct fvm_run_spec spec = trial_spec(guest, caller);
    cleanup_vm struct fvm_vm vm = FVM_VM_NONE;

    if (fvm_guest_restore(guest, snapshot, true, &vm, error) < 0 ||
        fvm_conversation_run(&vm, &spec, true, result, error) < 0)
        return -1;
    if (ftruncate(snapshot->state_fd, state_size) < 0 ||
        lseek(snapshot->state_fd, state_size, SEEK_SET) < 0)
        return fvm_fail_errno(error, errno, "cannot keep what a copy has learnt");
    return guest->engine->learn(&vm, snapshot->state_fd, caller, error);
}

/* The first copy is slow, and what a kernel does depends on the time that it has: so another one goes
 * on from what the first has learnt. */
static int learn(const struct fvm_guest *guest, const struct fvm_snapshot *snapshot,
                 struct fvm_caller *caller, struct flashvm_error *error)
{
    const off_t state_size = lseek(snapshot->state_fd, 0, SEEK_END);
    int outcome = 0;

    if (guest->engine->learn == NULL)
        return 0;
    for (int round = 0; round < LEARNING_ROUNDS && outcome == 0; round++) {
        struct fvm_result *result = fvm_result_new();

        outcome = result ? learn_once(guest, snapshot, state_size, result, caller, error)
                         : fvm_fail_no_memory(error);
        if (result)
            fvm_result_free(result);
    }
    return outcome;
}

static int make(const struct fvm_guest *guest, struct fvm_caller *caller,
                struct fvm_template *template, struct flashvm_error *error)
{
    struct fvm_snapshot *snapshot = &template->snapshot;
    cleanup_vm struct fvm_vm vm = FVM_VM_NONE;

    snapshot->memory_fd =
        fvm_memory_file_make("flashvm-template", (uint64_t)guest->memory_mb << 20, error);
    snapshot->state_fd =
        snapshot->memory_fd < 0 ? -1 : fvm_memory_file_make("flashvm-template", 0, error);
    if (snapshot->state_fd < 0)
        return -1;
    if (fvm_guest_boot(guest, snapshot->memory_fd, caller, &vm, error) < 0 ||
        fvm_conversation_rehearse(&vm, FVM_REHEARSAL_OF_A_TEMPLATE, guest->boot_timeout_ms, caller,
                                  error) < 0 ||
        fvm_caller_pause(caller, SETTLE_MS, error) < 0 ||
        guest->engine->snapshot(&vm, snapshot->state_fd, caller, error) < 0)
        return -1;
    fvm_vm_destroy(&vm); /* it has the memory mapped for writing */
    template->made_at = time(NULL);
    if (fvm_memory_file_seal(snapshot->memory_fd, error) < 0 ||
        learn(guest, snapshot, caller, error) < 0 ||
        fvm_memory_file_seal(snapshot->state_fd, error) < 0)
        return -1;
    return 0;
}

/* Best effort: this process has it in any case. */
static void store(const struct fvm_guest *guest, const struct fvm_template *template)
{
    struct fvm_template_info info = {
        .engine = (char *)guest->engine->name,
        .accelerator = (char *)guest->accelerator,
        .image = fvm_image_full_name(guest->image),
        .memory_mb = guest->memory_mb,
        .cpus = guest->cpus,
        .made_at = template->made_at,
    };

    if (info.image)
        fvm_template_cache_store(guest->host->cache_dir, template->key, &template->snapshot, &info,
                                 NULL);
    free(info.image);
}

/* Return: 1 when the template was filled from the cache, 0, or -1. */
static int load(const struct fvm_guest *guest, struct fvm_template *template,
                struct flashvm_error *error)
{
    if (guest->host->cache_dir == NULL)
        return 0;
    return fvm_template_cache_load(guest->host->cache_dir, template->key, guest->memory_mb,
                                   &template->snapshot, &template->made_at, error);
}

static int load_or_make(const struct fvm_guest *guest, struct fvm_caller *caller,
                        struct fvm_template *template, struct flashvm_error *error)
{
    const char *cache = guest->host->cache_dir;
    cleanup_close int lock_fd = -1;
    cleanup_error struct flashvm_error no_lock = {0};
    int loaded = load(guest, template, error);

    if (loaded != 0)
        return loaded < 0 ? -1 : 0;
    if (cache && fvm_template_cache_lock(cache, template->key, caller, &lock_fd, &no_lock) < 0 &&
        no_lock.status == FLASHVM_CANCELLED)
        return fvm_fail(error, no_lock.status, "%s", no_lock.message);
    /* Another process may have made it while this one waited. */
    loaded = lock_fd < 0 ? 0 : load(guest, template, error);
    if (loaded != 0)
        return loaded < 0 ? -1 : 0;
    fvm_caller_tell(caller, "booting a microVM, once, to make a template of it");
    if (make(guest, caller, template, error) < 0)
        return -1;
    if (lock_fd >= 0)
        store(guest, template);
    return 0;
}

int fvm_template_get(struct fvm_templates *templates, const struct fvm_guest *guest,
                     struct fvm_caller *caller, struct fvm_template **ret_template,
                     struct flashvm_error *error)
{
    char key[FVM_SHA256_HEX_SIZE];
    struct fvm_template *template;

    if (guest->engine->restore == NULL)
        return fvm_fail(error, FLASHVM_UNSUPPORTED, "the engine %s cannot restore a microVM",
                        guest->engine->name);
    if (fvm_template_key(guest, key, error) < 0)
        return -1;
    template = find_loaded(templates, key);
    if (template == NULL) {
        template = calloc(1, sizeof *template);
        if (template == NULL)
            return fvm_fail_no_memory(error);
        memcpy(template->key, key, sizeof key);
        template->snapshot = (struct fvm_snapshot){-1, -1};
        if (load_or_make(guest, caller, template, error) < 0) {
            template_free(template);
            return -1;
        }
        template = add_loaded(templates, template);
    }
    *ret_template = template;
    return 0;
}
