/*
 * Registers as sums of an unknown value, the root, and a distance that is known, or known within a range.
 *
 * Each value is followed twice: `near`, as a sum whose range is less than SUM_RANGE_MAX, from a root of its own if it must be;
 * and `far`, where it is an element of a table, as one whose range is less than OPTIMIZE_TABLE. Small numbers are sums as well,
 * from zero: bytes, what was masked or shifted, and what is made of these.
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_SUMS_H
#define DOPPEL_ENGINE_TRANSLATE_SUMS_H

#include "engine/translate/ir.h"

/* A value: at least `distance` from the root, and by at most `range` more, which is a multiple of 1 << grain. */
struct sum {
	uint16_t root;
	uint16_t range : 13, grain : 3;
	int32_t distance;
};
_Static_assert(sizeof(struct sum) == 8, "forgetting all of them is much of the work");

struct sums {
	struct sum near[IR_GLOBALS], far[IR_GLOBALS];
	uint32_t tables; /* a bit for each global of which `far` is kept; of others it is as `near` */
	uint32_t roots; /* the next one; more than a sum can name: nothing that is known holds */
};

#define SUM_DISTANCE_MAX (1 << 20)
#define SUM_RANGE_MAX    128 /* from here on what is chosen by a number is an element of a table */
#define SUM_ROOT_PAGE    0 /* of addresses of code and what lies at a known distance from it: the page's start */
#define SUM_ROOT_ZERO    1 /* of small numbers */
#define SUM_ROOTS        2 /* the first of all others */

static inline struct sum sums_far(const struct sums *s, unsigned global)
{
	return s->tables >> global & 1 ? s->far[global] : s->near[global];
}

/* One or the other; neither root's: its range is OPTIMIZE_TABLE. */
struct sum sums_either(struct sum a, struct sum b);
/* A global of which nothing is known is an element of a table all the same, if the sum is one. */
void sums_keep_far(struct sums *s, unsigned global, struct sum far);

/* Nothing is known of the global from here on, but what is found out. */
static inline void sums_fresh(struct sums *s, unsigned global)
{
	s->near[global] = (struct sum){.root = (uint16_t)s->roots++};
	s->tables &= ~(UINT32_C(1) << global);
}

static inline void sums_all_fresh(struct sums *s)
{
	for (unsigned i = 0; i < IR_GLOBALS; i++)
		s->near[i] = (struct sum){.root = (uint16_t)(s->roots + i)};
	s->roots += IR_GLOBALS;
	s->tables = 0;
}

/* The operation, which writes a global, is done; of one that is not known to make a sum nothing is known. */
void sums_made(struct sums *s, const struct ir *ir);
static inline void sums_follow(struct sums *s, const struct ir *ir)
{
	const uint64_t known = UINT64_C(1) << IR_HERE | UINT64_C(1) << IR_AND | UINT64_C(1) << IR_OR | UINT64_C(1) << IR_XOR |
			       UINT64_C(1) << IR_SHR | UINT64_C(1) << IR_SHL | UINT64_C(1) << IR_ZERO_EXTEND |
			       UINT64_C(1) << IR_LOAD | UINT64_C(1) << IR_ADD | UINT64_C(1) << IR_SHIFT_ADD;

	if (ir->op < 64 && known >> ir->op & 1)
		sums_made(s, ir);
	else
		sums_fresh(s, ir->dst);
}

#endif
