/*
 * A pool of threads for work that blocks. Jobs begin in the order they were given; each runs on some thread, then
 * its `done` is called on the loop.
 *
 * Threads are started when there is work that none of those there is free for, up to a limit.
 *
 * Thread: submit from the loop's; new and free from the owner.
 */
#ifndef DOPPEL_BLOCK_POOL_H
#define DOPPEL_BLOCK_POOL_H

#include "base/error.h"
#include "base/loop.h"

struct pool;

/* Memory of the caller until `done`. */
struct pool_job {
	int (*run)(void *arg);               /* on a thread of the pool */
	void (*done)(void *arg, int result); /* on the loop; the job's memory may be gone after */
	void *arg;
	int result;
	struct pool_job *next;
};

MUST_USE int pool_new(struct pool **out, struct loop *loop, unsigned threads_max, struct error *e);
/* Nothing is under way any more, or ends unreported. Accepts NULL. */
void pool_free(struct pool *pool);
/* When not even one thread can be started the job is done with -EAGAIN, at once. */
void pool_submit(struct pool *pool, struct pool_job *job);

#endif
