/* Several harts that do the same at the same time, in M-mode: barriers, and rounds for a fixed time. */
#ifndef DOPPEL_TESTS_CROWD_H
#define DOPPEL_TESTS_CROWD_H

#include "bare.h"

#define CROWD_MAX    4
#define TICKS_PER_MS UINT64_C(10000)

/* Harts 1 to `harts` - 1 go to work(id), which never returns. Once. */
void crowd_begin(unsigned harts, void (*work)(uint64_t id));
extern unsigned crowd_harts;
/* Until all harts are here. */
void crowd_barrier(void);

/* Clock ticks. */
static inline uint64_t now(void)
{
	return *(volatile uint64_t *)(CLINT + 0xbff8);
}

/* Numbers that are not the same for two harts. */
static inline uint64_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

#endif
