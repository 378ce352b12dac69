/*
 * Locks and lock-free structures under load: spin, ticket and queue locks, a stack and a ring without locks, atomic
 * operations on neighbouring words, stores of all sizes, misaligned ones too, beside the bytes of other harts.
 */
#ifndef DOPPEL_TESTS_TORTURE_H
#define DOPPEL_TESTS_TORTURE_H

#include "crowd.h"

/* All of it by harts 0 to `harts` - 1; called by main of hart 0. */
void torture_run(unsigned harts);

/* One kind of load. A round may be made at any number by any hart; verify is called by hart 0 after the last. */
struct torture {
	const char *name;
	void (*round)(uint64_t id, uint64_t *random);
	void (*verify)(const uint64_t rounds[CROWD_MAX]);
};
extern const struct torture torture_locks[], torture_free[];

/* Counts what went wrong amid rounds, by any hart. */
void torture_wrong(void);

static inline uint64_t amo_swap(volatile uint64_t *word, uint64_t value)
{
	uint64_t old;

	asm volatile("amoswap.d.aqrl %0, %1, (%2)" : "=r"(old) : "r"(value), "r"(word) : "memory");
	return old;
}

/* Compare and exchange by LR and SC. */
static inline bool replaced(volatile uint64_t *word, uint64_t expected, uint64_t value)
{
	uint64_t old, failed;

	asm volatile("1: lr.d.aq %0, (%2); bne %0, %3, 2f; sc.d.rl %1, %4, (%2); bnez %1, 1b; 2:"
		     : "=&r"(old), "=&r"(failed)
		     : "r"(word), "r"(expected), "r"(value)
		     : "memory");
	return old == expected;
}

static inline uint64_t total(const uint64_t rounds[CROWD_MAX])
{
	return rounds[0] + rounds[1] + rounds[2] + rounds[3];
}

#endif
