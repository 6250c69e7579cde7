/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ERASE_LINE "\r\033[K"

enum { QUIET_SECONDS = 1 };

bool progress_init(struct progress *progress)
{
    const char *terminal = getenv("TERM");
    pthread_condattr_t attributes;

    progress->enabled = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    if (!progress->enabled)
        return false;
    pthread_mutex_init(&progress->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    progress->ticking = false;
    return true;
}

static void draw(const char *stage, intmax_t seconds)
{
    struct winsize window;
    char line[160];
    int length = snprintf(line, sizeof line, "flashvm: %s... %jd s", stage, seconds);

    /* A line that wraps could not be erased again. */
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 &&
        length >= window.ws_col)
        length = window.ws_col - 1;
    fprintf(stderr, ERASE_LINE "%.*s", length, line);
}

/* Draw after a second and then every second, until the work has ended; then erase what was drawn.
 */
static void *tick(void *progress_data)
{
    struct progress *progress = progress_data;
    struct timespec next;
    bool drawn = false;

    pthread_mutex_lock(&progress->mutex);
    next = progress->began;
    next.tv_sec += QUIET_SECONDS;
    while (progress->ticking) {
        struct timespec now;

        pthread_cond_timedwait(&progress->changed, &progress->mutex, &next);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!progress->ticking || now.tv_sec < next.tv_sec ||
            (now.tv_sec == next.tv_sec && now.tv_nsec < next.tv_nsec))
            continue;
        draw(progress->stage, (intmax_t)(next.tv_sec - progress->began.tv_sec));
        drawn = true;
        next.tv_sec++;
    }
    pthread_mutex_unlock(&progress->mutex);
    if (drawn)
        fputs(ERASE_LINE, stderr);
    return NULL;
}

static void begin(struct progress *progress)
{
    sigset_t all, kept;

    clock_gettime(CLOCK_MONOTONIC, &progress->began);
    /* Signals are for the thread that runs the snippet. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &kept);
    progress->ticking = true;
    if (pthread_create(&progress->ticker, NULL, tick, progress) != 0)
        progress->ticking = false; /* then there is no line; the work matters more */
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
}

void progress_show(void *progress_data, const char *stage)
{
    struct progress *progress = progress_data;
    bool ended;

    pthread_mutex_lock(&progress->mutex);
    if (stage) {
        snprintf(progress->stage, sizeof progress->stage, "%s", stage);
        if (!progress->ticking)
            begin(progress);
    }
    ended = stage == NULL && progress->ticking;
    if (ended) {
        progress->ticking = false;
        pthread_cond_signal(&progress->changed);
    }
    pthread_mutex_unlock(&progress->mutex);
    if (ended)
        pthread_join(progress->ticker, NULL);
}

void progress_finish(struct progress *progress)
{
    if (!progress->enabled)
        return;
    progress_show(progress, NULL);
    pthread_cond_destroy(&progress->changed);
    pthread_mutex_destroy(&progress->mutex);
    progress->enabled = false;
}
