/*
 * Fragments that give one instruction every pair of corner operands, in every rounding mode, and store each result
 * with the exception flags that it raised.
 */
#ifndef ISA_CORNERS_H
#define ISA_CORNERS_H

#include "generate.h"

/* Part `part` (from 0) of the corners of instruction `id` becomes the fragment; false when there is no such part, or
 * the instruction does not compute. */
bool isa_corners(struct isa_fragment *f, unsigned id, unsigned part);
/* Whether the result is held against a model here: the oracle lacks Zicond, and its ctzw counts beyond bit 31. */
bool isa_corners_modelled(unsigned id);

struct isa_corner {
	uint64_t a, b, result, expected;
};

/* After an engine ran a fragment of such an instruction: the number of wrong results, the last of them in *wrong. */
unsigned isa_corners_check(unsigned id, const uint8_t *data, struct isa_corner *wrong);

/* The first case of which two sides have different results or flags, with its first two operands. */
bool isa_corners_first(const uint8_t *ours, const uint8_t *theirs, struct isa_corner *wrong);

#endif
