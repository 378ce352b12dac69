/*
 * Random numbers that are the same everywhere, and operands that instructions are likely to get wrong.
 */
#ifndef ISA_VALUES_H
#define ISA_VALUES_H

#include <stdint.h>

struct isa_random {
	uint64_t state;
};

uint64_t isa_random(struct isa_random *r);
/* 0 to bound - 1; bound must not be 0. */
unsigned isa_below(struct isa_random *r, unsigned bound);
/* Raw bits, short numbers, powers of two and their neighbours, corners. */
uint64_t isa_integer(struct isa_random *r);
/* What an f register may hold: numbers of each width and kind, boxed, badly boxed, or raw bits. */
uint64_t isa_float(struct isa_random *r);

/* Corner operands: every pair of them is worth a try. */
extern const uint64_t isa_integer_corners[];
extern const unsigned isa_integer_corner_count;
/* Corners of a format of 16, 32 or 64 bits, boxed; the last two of the narrow ones are badly boxed. */
const uint64_t *isa_float_corners(unsigned bits, unsigned *count);

#endif
