/*
 * A queue that lets requests through no faster than the limits of a disk.
 *
 * Thread: the loop's.
 */
#ifndef DOPPEL_BLOCK_THROTTLE_H
#define DOPPEL_BLOCK_THROTTLE_H

#include "base/limit.h"
#include "base/loop.h"
#include "block/block.h"

struct throttled {
	uint64_t bytes;
	uint64_t since_ns;
	bool operation_paid;
	struct throttled *next;
};

/* Called once for each, in the order they came; `waited_ns`: in the queue. */
typedef void throttle_fn(void *owner, struct throttled *entry, uint64_t waited_ns);

struct throttle {
	struct limit bytes, operations;
	struct loop *loop;
	struct loop_timer timer;
	struct throttled *first, **last;
	throttle_fn *pass;
	void *owner;
	bool passing;
};

void throttle_init(struct throttle *throttle, const struct block_limits *limits, throttle_fn *pass, void *owner);
void throttle_attach(struct throttle *throttle, struct loop *loop);
/* Nothing waits any more. */
void throttle_finish(struct throttle *throttle);
/* What waits is looked at again with the new limits. */
void throttle_set(struct throttle *throttle, const struct block_limits *limits);
/* Lets the entry through now or, its turn come, later. Memory of the caller till then. */
void throttle_submit(struct throttle *throttle, struct throttled *entry, uint64_t bytes);

#endif
