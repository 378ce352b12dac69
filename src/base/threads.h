/*
 * The program's own threads: started so that no signal for the process lands on them.
 */
#ifndef DOPPEL_BASE_THREADS_H
#define DOPPEL_BASE_THREADS_H

#include <pthread.h>

#include "base/error.h"

/* Starts a thread with every signal blocked but those of its own faults, whose handlers restore the terminal.
 * The name is cut to 15 bytes. 0 or a negative errno. */
MUST_USE int thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg);

#endif
