/* SPDX-License-Identifier: MIT */
#include "run/pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"

/*
 * A run that has just begun gets the processors first: most are over by then. When it needs all of
 * them, for longer.
 */
enum { REFILL_DELAY_MS = 20, REFILL_DELAY_BUSY_MS = 250 };
/* Those that wait grow old with their template. */
enum { LOOK_AT_AGE_MS = 3600 * 1000 };
/* After failures, doubled with each. */
enum { RETRY_MS = 500, RETRY_MS_MAX = 60000 };

struct fvm_pool {
    pid_t owner; /* a fork of it has neither the thread nor the VMs */
    unsigned size, processors;
    uint64_t idle_us;
    struct fvm_pool_source source;
    struct fvm_templates *templates;
    pthread_t thread;
    struct pollfd *polls; /* of the thread: 1 + size */
    int wake_fd;          /* an eventfd; what else is to be done, plan() sees */

    pthread_mutex_t lock; /* for all below */
    bool closing;
    struct fvm_copy *waiting; /* `size` of them, the one that has waited longest first */
    unsigned waiting_count;
    unsigned starting;                         /* callers that start a VM by themselves */
    uint64_t last_use_us, refill_us, retry_ms; /* retry_ms: 0 when one was taken that waited */
    pid_t *graves;                             /* processes that were ended */
    size_t grave_count, grave_capacity;
    struct fvm_pool_stats stats; /* but for `waiting` */
};

static void wake(struct fvm_pool *pool)
{
    const uint64_t one = 1;

    (void)!write(pool->wake_fd, &one, sizeof one); /* it is readable when it is full, too */
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* The lock is held. */
static void bury(struct fvm_pool *pool, struct fvm_vm *vm)
{
    pid_t pid = fvm_vm_end(vm);

    if (pid <= 0)
        return;
    if (pool->grave_count == pool->grave_capacity) {
        size_t capacity = 2 * pool->grave_capacity + 16;
        pid_t *grown = reallocarray(pool->graves, capacity, sizeof *grown);

        if (grown == NULL) {
            fvm_process_wait(pid);
            return;
        }
        pool->graves = grown;
        pool->grave_capacity = capacity;
    }
    pool->graves[pool->grave_count++] = pid;
}

/* Wait for those that were ended. */
static void reap(struct fvm_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->grave_count > 0) {
        pid_t pid = pool->graves[--pool->grave_count];

        pthread_mutex_unlock(&pool->lock);
        fvm_process_wait(pid);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Take one of those that wait out of their list. The lock is held. */
static struct fvm_copy remove_waiting(struct fvm_pool *pool, unsigned index)
{
    struct fvm_copy copy = pool->waiting[index];

    pool->waiting_count--;
    memmove(&pool->waiting[index], &pool->waiting[index + 1],
            (pool->waiting_count - index) * sizeof *pool->waiting);
    return copy;
}

static bool is_of_no_use(const struct fvm_copy *copy)
{
    return fvm_vm_ends(&copy->vm, 0) || fvm_template_is_too_old(copy->template_made_at);
}

/* One more could not be made, or died while it waited. The lock is held. */
static void note_failure(struct fvm_pool *pool)
{
    pool->stats.failed++;
    pool->retry_ms = pool->retry_ms ? 2 * pool->retry_ms : RETRY_MS;
    if (pool->retry_ms > RETRY_MS_MAX)
        pool->retry_ms = RETRY_MS_MAX;
    pool->refill_us = fvm_now_us() + pool->retry_ms * 1000;
}

static void bury_waiting(struct fvm_pool *pool, unsigned index)
{
    struct fvm_copy copy = remove_waiting(pool, index);

    if (fvm_vm_ends(&copy.vm, 0))
        note_failure(pool);
    bury(pool, &copy.vm);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool is_closing(void *data)
{
    struct fvm_pool *pool = data;
    uint64_t times;
    bool closing;

    (void)!read(pool->wake_fd, &times, sizeof times); /* whatever it was: plan() comes next */
    pthread_mutex_lock(&pool->lock);
    closing = pool->closing;
    pthread_mutex_unlock(&pool->lock);
    return closing;
}

/* Start a copy and warm it up. */
static int make_waiting(struct fvm_pool *pool, struct fvm_copy *ret_copy)
{
    __attribute__((cleanup(fvm_image_finish))) struct fvm_image image = {.rootfs_fd = -1};
    struct fvm_caller caller = {
        .interrupt_fd = pool->wake_fd,
        .interrupted = is_closing,
        .interrupted_data = pool,
    };
    cleanup_copy struct fvm_copy copy = FVM_COPY_NONE;
    cleanup_error struct flashvm_error unheard = {0}; /* a run meets and explains the same */
    struct fvm_guest guest;

    if (pool->source.describe(pool->source.data, &caller, &image, &guest, &unheard) < 0 ||
        fvm_copy_make(&guest, pool->templates, &caller, &copy, &unheard) < 0 ||
        fvm_copy_warm_up(&copy, &guest, &caller, &unheard) < 0)
        return -1;
    *ret_copy = copy;
    copy = (struct fvm_copy)FVM_COPY_NONE;
    return 0;
}

/* Have one more waiting. */
static void refill(struct fvm_pool *pool)
{
    struct fvm_copy made;
    int outcome = make_waiting(pool, &made);

    pthread_mutex_lock(&pool->lock);
    if (outcome == 0)
        pool->waiting[pool->waiting_count++] = made; /* no other thread adds any */
    else if (!pool->closing)
        note_failure(pool);
    pthread_mutex_unlock(&pool->lock);
}

/* Give back what nobody wants any more. The lock is held. */
static void tidy(struct fvm_pool *pool, bool idle)
{
    for (unsigned i = pool->waiting_count; i-- > 0;)
        if (idle || is_of_no_use(&pool->waiting[i]))
            bury_waiting(pool, i);
}

/* Milliseconds for poll(), rounded up. */
static int milliseconds_until(uint64_t us, uint64_t now)
{
    uint64_t ms = us > now ? (us - now + 999) / 1000 : 0;

    return ms < 1000000 ? (int)ms : 1000000;
}

/*
 * What is to be done? The lock is held.
 * @ret_wait_ms: when to look again, whatever happens until then; -1: never.
 * Return: is one more to wait, now?
 */
static bool plan(struct fvm_pool *pool, int *ret_wait_ms)
{
    const uint64_t now = fvm_now_us(), idle_at = pool->last_use_us + pool->idle_us;
    const bool idle = pool->idle_us > 0 && now >= idle_at;

    *ret_wait_ms = -1;
    tidy(pool, idle);
    if (idle) {
        fvm_templates_trim(pool->templates);
        return false;
    }
    if (pool->waiting_count > 0)
        *ret_wait_ms = LOOK_AT_AGE_MS;
    if (pool->idle_us > 0)
        *ret_wait_ms = milliseconds_until(idle_at, now);
    /* Callers who start VMs by themselves have all processors to do: they come first. */
    if (pool->waiting_count == pool->size || pool->starting >= pool->processors)
        return false;
    if (now < pool->refill_us && (pool->idle_us == 0 || pool->refill_us < idle_at))
        *ret_wait_ms = milliseconds_until(pool->refill_us, now);
    return now >= pool->refill_us;
}

static void *work(void *data)
{
    struct fvm_pool *pool = data;
    struct pollfd *polls = pool->polls;

    for (;;) {
        nfds_t count = 1;
        uint64_t times;
        int wait_ms;
        bool wants_more;

        reap(pool);
        pthread_mutex_lock(&pool->lock);
        if (pool->closing)
            break;
        wants_more = plan(pool, &wait_ms);
        polls[0] = (struct pollfd){.fd = pool->wake_fd, .events = POLLIN};
        for (unsigned i = 0; i < pool->waiting_count; i++)
            polls[count++] =
                (struct pollfd){.fd = pool->waiting[i].vm.control_fd, .events = POLLIN};
        if (pool->grave_count > 0)
            wait_ms = 0;
        pthread_mutex_unlock(&pool->lock);
        if (wants_more)
            refill(pool);
        else if (poll(polls, count, wait_ms) > 0 && polls[0].revents)
            (void)!read(pool->wake_fd, &times, sizeof times);
    }
    tidy(pool, true);
    pthread_mutex_unlock(&pool->lock);
    reap(pool);
    return NULL;
}

/* ---- the pool -------------------------------------------------------------------------------- */

static unsigned count_processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Signals are for the threads of the program that uses the library. */
static int start_thread(struct fvm_pool *pool)
{
    sigset_t all, before;
    int outcome;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    outcome = pthread_create(&pool->thread, NULL, work, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return outcome;
}

static void pool_free(struct fvm_pool *pool)
{
    fvm_cleanup_close(&pool->wake_fd);
    pthread_mutex_destroy(&pool->lock);
    free(pool->polls);
    free(pool->waiting);
    free(pool->graves);
    free(pool);
}

int fvm_pool_new(unsigned size, uint64_t idle_ms, const struct fvm_pool_source *source,
                 struct fvm_templates *templates, struct fvm_pool **ret_pool,
                 struct flashvm_error *error)
{
    struct fvm_pool *pool = calloc(1, sizeof *pool);
    int outcome;

    if (pool == NULL)
        return fvm_fail_no_memory(error);
    *pool = (struct fvm_pool){
        .owner = getpid(),
        .size = size,
        .processors = count_processors(),
        .idle_us = idle_ms * 1000,
        .source = *source,
        .templates = templates,
        .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .polls = calloc(1 + size, sizeof *pool->polls),
        .waiting = calloc(size, sizeof *pool->waiting),
        .last_use_us = fvm_now_us(),
    };
    pthread_mutex_init(&pool->lock, NULL);
    if (pool->wake_fd < 0 || pool->polls == NULL || pool->waiting == NULL) {
        outcome = pool->wake_fd < 0 ? fvm_fail_errno(error, errno, "cannot make an eventfd")
                                    : fvm_fail_no_memory(error);
        pool_free(pool);
        return outcome;
    }
    outcome = start_thread(pool);
    if (outcome != 0) {
        pool_free(pool);
        return fvm_fail_errno(error, outcome, "cannot start a thread for a pool");
    }
    *ret_pool = pool;
    return 0;
}

void fvm_pool_free(struct fvm_pool *pool)
{
    if (pool == NULL || pool->owner != getpid())
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_mutex_unlock(&pool->lock);
    wake(pool);
    pthread_join(pool->thread, NULL);
    pool_free(pool);
}

/* The lock is held. */
static void put_refill_off(struct fvm_pool *pool)
{
    const bool busy = pool->stats.running >= pool->processors;
    const uint64_t ms = busy ? REFILL_DELAY_BUSY_MS : REFILL_DELAY_MS;
    const uint64_t then = fvm_now_us() + ms * 1000;

    if (pool->refill_us < then)
        pool->refill_us = then;
}

/* A run has ended: it needs no processor any more. The lock is held. */
static void bring_refill_forward(struct fvm_pool *pool)
{
    const uint64_t then = fvm_now_us() + REFILL_DELAY_MS * 1000;

    if (pool->retry_ms == 0 && pool->stats.running < pool->processors && pool->refill_us > then)
        pool->refill_us = then;
}

/* Take the one that waited last: more of it is still in the processor's caches. */
static bool take(struct fvm_pool *pool, const char *key, struct fvm_copy *ret_copy)
{
    bool taken = false;

    while (pool->waiting_count > 0 && !taken) {
        const struct fvm_copy *last = &pool->waiting[pool->waiting_count - 1];

        taken = strcmp(last->template_key, key) == 0 && !is_of_no_use(last);
        if (taken)
            *ret_copy = remove_waiting(pool, pool->waiting_count - 1);
        else
            bury_waiting(pool, pool->waiting_count - 1);
    }
    return taken;
}

int fvm_pool_get(struct fvm_pool *pool, const struct fvm_guest *guest, struct fvm_caller *caller,
                 struct fvm_copy *ret_copy, bool *ret_waited, struct flashvm_error *error)
{
    const bool foreign = pool->owner != getpid();
    char key[FVM_SHA256_HEX_SIZE];
    int outcome = 0;

    *ret_waited = false;
    if (foreign)
        return fvm_copy_make(guest, pool->templates, caller, ret_copy, error);
    if (fvm_template_key(guest, key, error) < 0)
        return -1;
    pthread_mutex_lock(&pool->lock);
    *ret_waited = take(pool, key, ret_copy);
    if (*ret_waited)
        pool->retry_ms = 0;
    pool->stats.served += *ret_waited;
    pool->stats.missed += !*ret_waited;
    pool->stats.running++;
    pool->starting += !*ret_waited;
    pool->last_use_us = fvm_now_us();
    if (pool->refill_us < pool->last_use_us)
        put_refill_off(pool);
    pthread_mutex_unlock(&pool->lock);
    wake(pool);
    if (*ret_waited)
        return 0;
    outcome = fvm_copy_make(guest, pool->templates, caller, ret_copy, error);
    pthread_mutex_lock(&pool->lock);
    if (pool->starting-- >= pool->processors) /* and they may go on so: they come first */
        put_refill_off(pool);
    pool->stats.running -= outcome < 0;
    pthread_mutex_unlock(&pool->lock);
    wake(pool);
    return outcome;
}

void fvm_pool_bury(struct fvm_pool *pool, struct fvm_copy *copy)
{
    if (pool->owner != getpid()) {
        fvm_copy_destroy(copy);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    bury(pool, &copy->vm);
    pool->stats.running--;
    bring_refill_forward(pool);
    pool->last_use_us = fvm_now_us();
    pthread_mutex_unlock(&pool->lock);
    wake(pool);
}

void fvm_pool_read_stats(struct fvm_pool *pool, struct fvm_pool_stats *ret_stats)
{
    *ret_stats = (struct fvm_pool_stats){0};
    if (pool->owner != getpid()) /* the thread may have held the lock, which nobody gives back */
        return;
    pthread_mutex_lock(&pool->lock);
    *ret_stats = pool->stats;
    ret_stats->waiting = pool->waiting_count;
    pthread_mutex_unlock(&pool->lock);
}
