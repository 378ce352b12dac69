/*
 * Errands: what the thread that moves a machine has the machine's owner do, since only he may touch it.
 *
 * Thread: errand_run on the mover's, everything else on the owner's, who runs the loop.
 */
#ifndef DOPPEL_MIGRATE_ERRAND_H
#define DOPPEL_MIGRATE_ERRAND_H

#include <pthread.h>

#include "base/loop.h"

typedef int errand_fn(void *arg, struct error *e);

/* Memory of the caller; it stays where it is until errands_finish. */
struct errands {
	struct bell bell;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	errand_fn *fn; /* asked for, not done yet; or NULL */
	void *arg;
	int result;
	struct error error;
	bool done, closed;
};

void errands_init(struct errands *errands, struct loop *loop);
/* The owner calls fn(arg, e) soon; returns what it did. -ECANCELED when it never will. */
MUST_USE int errand_run(struct errands *errands, errand_fn *fn, void *arg, struct error *e);
/* What is asked for and was not begun is not done any more. */
void errands_close(struct errands *errands);
/* When the mover is gone. */
void errands_finish(struct errands *errands);

#endif
