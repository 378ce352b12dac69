/*
 * A share of processor time as a bucket: time on the clock fills it, time on a processor empties it.
 *
 * When it is empty it is spent, until it holds enough for a stretch of work that is worth beginning. What was used beyond
 * empty is owed, so the mean is kept exactly. In any stretch of time T no more than
 *
 *   share * T + what it holds when full + what was used between its end and the look that found it
 *
 * is used, however the use is spread. Pure arithmetic; it knows no clock.
 */
#ifndef DOPPEL_MACHINE_BUDGET_H
#define DOPPEL_MACHINE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* Debts beyond what this much time pays are forgiven, so that one long piece of work for somebody else does not
 * stop a guest for minutes. */
#define BUDGET_DEBT_NS UINT64_C(5000000000)

struct budget {
	double share;            /* of one processor, 0.4; 0: no limit, never spent */
	double level;            /* nanoseconds there; negative: owed */
	double full, worthwhile; /* nanoseconds: what it holds at most, and from where on it is spent no longer */
	uint64_t at_ns, used_ns; /* at the last look */
	bool spent;
};

/* Full. `used_ns` is a reading of the processor time that counts, from any beginning. */
void budget_init(struct budget *budget, double share, uint64_t now_ns, uint64_t used_ns);
/* Another share from now on; what is there or owed stays. */
void budget_set(struct budget *budget, double share, uint64_t now_ns, uint64_t used_ns);
/* Sees what was used meanwhile, and whether it is spent. A reading below the last counts as nothing used. */
void budget_look(struct budget *budget, uint64_t now_ns, uint64_t used_ns);
/* When to look next: the nanoseconds until it changes between spent and not, if `speed` processors work. */
uint64_t budget_next(const struct budget *budget, double speed);

#endif
