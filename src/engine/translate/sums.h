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

/* A value: at least `distance` from the root, and by at most `range` more. */
struct sum {
	uint16_t root;
	uint16_t range;
	int32_t distance;
	uint8_t grain; /* what it is more by is a multiple of 1 << grain */
};

struct sums {
	struct sum near[IR_GLOBALS], far[IR_GLOBALS];
	uint16_t roots; /* the next one */
};

#define SUM_DISTANCE_MAX (1 << 20)
#define SUM_RANGE_MAX    128 /* from here on what is chosen by a number is an element of a table */
#define SUM_ROOT_PAGE    0 /* of addresses of code and what lies at a known distance from it: the page's start */
#define SUM_ROOT_ZERO    1 /* of small numbers */
#define SUM_ROOTS        2 /* the first of all others */

/* Nothing is known of the global from here on, but what is found out. */
void sums_fresh(struct sums *s, unsigned global);
/* The operation, which writes a global, is done. */
void sums_follow(struct sums *s, const struct ir *ir);

#endif
