/* SPDX-License-Identifier: MIT */
/* One line on the terminal for work that takes longer than a second. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct progress {
    bool enabled;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t ticker; /* draws; exists while there is work */
    bool ticking;
    struct timespec began;
    char stage[128];
};

/* Return: is stderr a terminal that can show the line? Otherwise the rest need not be called. */
bool progress_init(struct progress *progress);

/*
 * The library's progress callback: the work has come to `stage`; NULL: it has ended, the line goes.
 * To be called by one thread at a time.
 */
void progress_show(void *progress_data, const char *stage);

void progress_finish(struct progress *progress);
