/*
 * Loops whose rounds are done several at a time, by vectors of two double words or four words: copies, also of what is aligned
 * otherwise and shifted together, fills, and arithmetic on arrays of integers or floats of these sizes.
 *
 * The rounds of such a loop are followed as sums of what registers hold at its head and known distances. A batch is as many
 * rounds as fill whole vectors; it does all loads, then all stores. What a batch takes for granted is for the back end
 * to look at before some of them run: the loop goes on for so many rounds and one more, every group of accesses stays in
 * its page for as long, nothing that a batch stores lies where it loads later (`apart`), and registers that come to
 * be equal are so from the start (`equal`). The round behind is done as always, to its end, so that whatever a round leaves
 * in registers without reading it before is right, and nothing can happen before: a way out of the loop finds its page,
 * its instructions and its registers as they must be.
 *
 * Order: what one batch does lies between two rounds, without fences; other harts may see it in any order as far as the memory
 * model (RVWMO) is asked, since loads from one place are done once, or in the order that they have, and by whole aligned double
 * words (emit_vector.c).
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_VECTOR_H
#define DOPPEL_ENGINE_TRANSLATE_VECTOR_H

#include "engine/translate/ir.h"

#define VECTOR_ROOTS  3
#define VECTOR_REGS   16
#define VECTOR_FLOATS 32   /* floats are numbered from here on where globals of both kinds are meant */
#define VECTOR_NONE   0xff /* no global */
#define VECTOR_CODES  48

/* A global that arrays lie at distances from; it moves by the same number of bytes in each round. */
struct vector_root {
	uint8_t global;
	uint8_t group; /* whose walk knows the page */
	int32_t stride;
};

/* A group of accesses: where its lowest byte lies when its leader runs first, from its root at the loop's head. */
struct vector_group {
	uint8_t group, root;
	int32_t low;
};

/* The distance from `other` to `root`, as host addresses, is not in [low, high]; of loads, where other harts may store. */
struct vector_apart {
	uint8_t root, other;
	bool loads;
	int32_t low, high;
};

/* global = other + distance */
struct vector_equal {
	uint8_t global, other;
	int32_t distance;
};

/* What a round adds to a general global. */
struct vector_move {
	uint8_t global;
	int32_t by;
};

/* A vector that is made before the first batch. */
struct vector_input {
	enum { VECTOR_GLOBAL, VECTOR_CONSTANT, VECTOR_SIGNS, VECTOR_COUNT, VECTOR_CARRIED } kind;
	uint8_t reg;
	/* Of VECTOR_SIGNS: the highest bit of each element, alone. */
	uint8_t low, high; /* the global in all elements, or the count; what is carried: one in each, or VECTOR_NONE */
	int32_t constant;
};

struct vector_code {
	enum { VECTOR_LOAD, VECTOR_STORE, VECTOR_SHUFFLE, VECTOR_COPY, VECTOR_OP, VECTOR_SHIFT } kind;
	uint8_t op;       /* enum ir_op */
	uint8_t dst, a, b, c;
	uint8_t root;
	bool half;        /* a load of the lower half alone, of double words */
	bool checked;     /* a store of what may be a NaN */
	int32_t number;   /* distance from the root; count of a shift; which halves are put together; of a sum of a product */
};

struct vector {
	unsigned head, back;   /* operations */
	unsigned size;         /* of elements: 4 or 8 */
	unsigned rounds;       /* in a batch, a power of two */
	unsigned instructions; /* of one round */
	/* The loop goes on as long as more - less, which shrinks by `shrinks` with each round, is not 0, and was not less (as a signed
	 * number or not) at the first test where that is asked. */
	struct {
		uint8_t more, less;
		int32_t more_distance, less_distance; /* to be added to the globals at the loop's head */
		int32_t shrinks;
		bool ordered, is_signed;
		bool early; /* the test is not the last that a round does */
	} trip;
	struct vector_root roots[VECTOR_ROOTS];
	struct vector_group groups[IR_GROUPS];
	struct vector_apart apart[2 * VECTOR_ROOTS * VECTOR_ROOTS];
	struct vector_equal equal[8];
	struct vector_move moves[12];
	struct vector_input inputs[VECTOR_REGS];
	struct vector_code codes[VECTOR_CODES];
	unsigned root_count, group_count, apart_count, equal_count, move_count, input_count, code_count;
};

/* Whether the loop whose head is this operation of an optimized unit is such a loop; then `out` says how. Registers are
 * the host's; those of the floats that it reads and the first one are left alone. */
bool vector_find(const struct ir_unit *unit, unsigned head, struct vector *out);

#endif
