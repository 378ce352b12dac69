/*
 * A worker: a thread with an event loop, on which devices serve their queues and back ends.
 *
 * Several devices may share one. Thread: new and free from the machine's owner, the rest from any.
 */
#ifndef DOPPEL_DEVICE_WORKER_H
#define DOPPEL_DEVICE_WORKER_H

#include "base/loop.h"

struct worker;

/* With its thread, all signals blocked. The name is cut to 15 bytes. */
MUST_USE int worker_new(struct worker **out, const char *name, struct error *e);
/* The same without its thread, until worker_start: what is run on the worker runs at once on its owner's thread, the only one
 * that may use it so far, and its loop stands. */
MUST_USE int worker_make(struct worker **out, struct error *e);
MUST_USE int worker_start(struct worker *worker, const char *name, struct error *e);
/* Ends and joins it; accepts NULL. Nobody may use its loop any more. */
void worker_free(struct worker *worker);
/* Its loop: functions that belong to a loop's owner are called on the worker only. */
struct loop *worker_loop(struct worker *worker);
/* Runs fn(arg) on the worker and returns when it has returned; at once when called on the worker itself. Not with a
 * lock held that the worker takes. */
void worker_call(struct worker *worker, loop_fn *fn, void *arg);
/* The same for what can fail: returns what fn(arg, e) does. */
MUST_USE int worker_try(struct worker *worker, int (*fn)(void *arg, struct error *e), void *arg, struct error *e);
/* Whether the caller is the worker. */
bool worker_is_current(const struct worker *worker);

#endif
