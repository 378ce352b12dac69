/*
 * A limit of a rate: a token bucket that fills with time.
 *
 * The rate is what is allowed a second, in any unit; `burst` is how much may be taken at once after a rest. What is
 * taken may exceed what is there: the bucket then owes it, and the next take waits longer. So any amount passes in the end
 * and the mean is kept.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_BASE_LIMIT_H
#define DOPPEL_BASE_LIMIT_H

#include <stdint.h>

struct limit {
	uint64_t rate;  /* a second; 0: no limit */
	uint64_t burst; /* at least 1 */
	double level;   /* tokens there; negative: owed */
	uint64_t at_ns; /* of `level` */
};

/* Full at the start. `now_ns`: clock_host_ns, here and below. */
void limit_init(struct limit *limit, uint64_t rate, uint64_t burst, uint64_t now_ns);
/* The same with a burst of so many seconds' worth (0: LIMIT_BURST_SECONDS), but of `least` at least. */
#define LIMIT_BURST_SECONDS 0.1
void limit_set(struct limit *limit, uint64_t rate, double burst_seconds, uint64_t least, uint64_t now_ns);
/* Takes `amount`: 0. Or takes nothing and returns the nanoseconds after which to try again, because the bucket is empty. */
uint64_t limit_take(struct limit *limit, uint64_t amount, uint64_t now_ns);
/* Takes it also from an empty bucket, which owes it then: for what can not wait. */
void limit_owe(struct limit *limit, uint64_t amount, uint64_t now_ns);

#endif
