/*
 * Litmus tests of the memory model (RISC-V Unprivileged, RVWMO): a few instructions a hart, on words that others
 * use at that moment, over and over. Each test names an outcome that tells a weak memory from a strong one;
 * it is either forbidden, and then never seen, or allowed, and then counted.
 */
#ifndef DOPPEL_TESTS_LITMUS_H
#define DOPPEL_TESTS_LITMUS_H

#include "bare.h"

#define LITMUS_HARTS 4

/* A hart's part: x, y and z are words in lines of their own, 0 at first; two results are stored to `seen`. */
typedef void litmus_part(uint64_t *x, uint64_t *y, uint64_t *z, uint64_t *seen);

enum litmus_kind { FORBIDDEN, ALLOWED, UNCHECKED };

struct litmus {
	const char *name;
	enum litmus_kind kind;
	/* "1.0=1 1.1=0": hart 1's results are 1 and 0; "x=2": the word is 2 in the end; "; " separates
	 * alternatives. Values are single digits. */
	const char *outcome;
	litmus_part *parts[LITMUS_HARTS];
};

/* Runs all tests on harts 0 to `harts` - 1, a fixed time each; called by main of hart 0. */
void litmus_run(const struct litmus *tests, unsigned count, unsigned harts);

/* Parts are made of these: a0, a1 and a2 are x, y and z; t5 and t6 become the results. */
#define PART(name, text)                                                                                          \
	static naked void name(uint64_t *x, uint64_t *y, uint64_t *z, uint64_t *seen)                             \
	{                                                                                                         \
		(void)x, (void)y, (void)z, (void)seen;                                                            \
		asm("li t0, 1; li t1, 2; li t5, 0; li t6, 0; " text " sd t5, (a3); sd t6, 8(a3); ret");           \
	}
#define X "(a0)"
#define Y "(a1)"
#define Z "(a2)"
#define ONE(to) "sd t0, " to "; "
#define TWO(to) "sd t1, " to "; "
#define FIRST(from)  "ld t5, " from "; "
#define SECOND(from) "ld t6, " from "; "
#define FENCE(kind)  "fence " kind "; "
#define ALL          FENCE("rw, rw")

#endif
