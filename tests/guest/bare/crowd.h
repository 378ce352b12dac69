/*
 * Several harts that do the same at the same time: barriers, and rounds for a fixed time. Harts have the numbers
 * from 0 on; main runs on `crowd_boot`, which is 0 in M-mode.
 */
#ifndef DOPPEL_TESTS_CROWD_H
#define DOPPEL_TESTS_CROWD_H

#include "bare.h"

#define CROWD_MAX    4
#define TICKS_PER_MS UINT64_C(10000)

/* All harts but this one go to work(id), which never returns. Once. crowd_machine.c, crowd_supervisor.c */
void crowd_begin(unsigned harts, void (*work)(uint64_t id));
extern unsigned crowd_harts;
extern uint64_t crowd_boot;
/* Until all harts are here. */
void crowd_barrier(void);

/* Clock ticks. */
static inline uint64_t now(void)
{
	return csr_read(time);
}

/* Numbers that are not the same for two harts. */
static inline uint64_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

static inline uint64_t amo_add(volatile uint64_t *word, uint64_t value)
{
	uint64_t old;

	asm volatile("amoadd.d.aqrl %0, %1, (%2)" : "=r"(old) : "r"(value), "r"(word) : "memory");
	return old;
}

#endif
