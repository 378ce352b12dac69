/*
 * The program's own threads: started so that no signal for the process lands on them, and known, so that something
 * can be done on each of them.
 */
#ifndef DOPPEL_BASE_THREADS_H
#define DOPPEL_BASE_THREADS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/types.h"

/* What a thread is for; the walls of a monitor differ by it (wall/self.h). */
enum thread_kind {
	THREAD_MAIN,    /* the first one, which is not started here, and what stands in for it */
	THREAD_VCPU,    /* runs guest code */
	THREAD_DEVICES, /* serves virtio devices */
	THREAD_DISK,    /* one blocking job of a disk at a time */
	THREAD_OUTPUT,  /* writes console output, or the log of it */
	THREAD_GOVERNOR, /* holds vCPUs to their shares */
	THREAD_MOVER,    /* sends the machine elsewhere, or receives it */
	THREAD_KINDS,
};

/* Starts a thread with every signal blocked but those of its own faults, whose handlers restore the terminal, and
 * THREADS_SIGNAL. The name is cut to 15 bytes. 0 or a negative errno. */
MUST_USE int thread_start(pthread_t *thread, enum thread_kind kind, const char *name, void *(*main)(void *arg),
			  void *arg);

/* Calls fn(kind, later) on every thread that thread_start started: on those that run now before this returns, on later
 * ones before their `main`; and on the caller, as THREAD_MAIN, while the others do it. It interrupts them wherever they
 * are: async-signal-safe. Blocking calls of theirs that handlers do not restart return EINTR once. Once in a process; from
 * a thread that was not started here. */
void threads_guard(void (*fn)(enum thread_kind kind, bool later));
#define THREADS_SIGNAL (SIGRTMAX - 1)

/* A condition whose waits with an end go by CLOCK_MONOTONIC, as clock_host_ns does (base/clock.h). */
void thread_condition_init(pthread_cond_t *condition);
/* Waits as pthread_cond_wait, until `ns` of that clock at the latest: false then. */
bool thread_wait_until(pthread_cond_t *condition, pthread_mutex_t *held, uint64_t ns);

/* "vcpu", ... */
const char *thread_kind_name(enum thread_kind kind);

#endif
