/* What the two parts of vector.h share: the values of a batch of rounds. */
#ifndef DOPPEL_ENGINE_TRANSLATE_VECTOR_PRIVATE_H
#define DOPPEL_ENGINE_TRANSLATE_VECTOR_PRIVATE_H

#include "engine/translate/vector.h"

#define VECTOR_ALL       (2 * VECTOR_FLOATS)
#define VECTOR_NODES     400
#define VECTOR_ACCESSES  48
#define VECTOR_LOADED    24 /* vectors */
#define VECTOR_NUMBERS   48 /* of vectors, before each gets a register of the host */
#define VECTOR_NO_NUMBER 0xff

/* A value. */
struct vector_node {
	enum {
		NODE_SUM,      /* general `global` at the loop's head, plus `number` */
		NODE_GIVEN,    /* float `global` at the head */
		NODE_CARRIED,  /* `global` at the head, which the round before has loaded */
		NODE_CONSTANT, /* number */
		NODE_LOADED,   /* from root `global` plus `number` */
		NODE_DONE,     /* by `op`, from a, b and c; number: of a sum of a product */
		NODE_OTHER,
	} kind;
	uint8_t op, global;
	bool used; /* of operations on floats: their flags are raised */
	uint16_t a, b, c;
	int32_t number;
	uint8_t size;
};

struct vector_access {
	bool store;
	uint8_t root;
	int32_t at;
	uint16_t value;
};

#define VECTOR_LANES 4

/* Values for the elements of one register, from the lowest on. */
struct vector_lanes {
	uint16_t node[VECTOR_LANES];
};

/* Elements that lie together and are loaded at once; of double words, the lower one may be alone: it is there twice. */
struct vector_loaded {
	struct vector_lanes lanes;
	uint8_t reg, before; /* `before`: what it was in the batch before, or VECTOR_NO_NUMBER */
};

/* Values that are in one register. */
struct vector_packed {
	struct vector_lanes lanes;
	uint8_t reg;
};

struct vector_look {
	const struct ir_unit *unit;
	struct vector *out;
	struct vector_node nodes[VECTOR_NODES];
	unsigned count;
	uint16_t first[VECTOR_ALL], now[VECTOR_ALL]; /* nodes of globals at the head and now */
	uint64_t written, outer; /* globals; `outer`: read before they are written */
	uint32_t moving;         /* general globals that the loop writes */
	unsigned base;           /* of the nodes of a batch */
	struct vector_access accesses[VECTOR_ACCESSES];
	unsigned access_count;
	struct vector_loaded loaded[VECTOR_LOADED];
	unsigned loaded_count;
	struct vector_packed done[VECTOR_CODES];
	unsigned done_count;
	struct vector_input inputs[VECTOR_NUMBERS];
	unsigned input_count;
	unsigned reg_count;
	unsigned round; /* from 0 */
	bool failed;
};

static inline unsigned vector_fail(struct vector_look *l)
{
	l->failed = true;
	return 0;
}

/* Whether it is the same in each round. */
static inline bool vector_is_fixed(const struct vector_look *l, const struct vector_node *node)
{
	return node->kind == NODE_CONSTANT ||
	       (node->kind == NODE_SUM && !node->number && !(l->moving >> node->global & 1));
}

static inline bool vector_is_shift(unsigned op)
{
	return op == IR_SHL || op == IR_SHR || op == IR_SAR;
}

static inline unsigned vector_lanes(const struct vector_look *l)
{
	return 16 / l->out->size;
}

/* vector_pack.c: what the rounds store, put together into `out`. */
void vector_pack(struct vector_look *l);

#endif
