/* What the two parts of loops by vectors share: what is under way. */
#ifndef DOPPEL_ENGINE_TRANSLATE_EMIT_VECTOR_PRIVATE_H
#define DOPPEL_ENGINE_TRANSLATE_EMIT_VECTOR_PRIVATE_H

#include "engine/translate/emit_private.h"
#include "engine/translate/vector.h"

#define VECTOR_WAYS    64
#define VECTOR_COUNTER X64_RBX

struct vector_ways {
	uint8_t *places[VECTOR_WAYS];
	unsigned count;
};

/* The ways on without vectors, for now and for good, and what lies between. */
struct vector_batch {
	struct emit *e;
	struct vector v;
	struct vector_ways later, never, given_up, not_yet, nans;
	uint32_t used; /* registers of vectors that guest floats live in */
};

/* Host addresses of the roots, once they are known. */
extern const enum x64_reg vector_pointers[VECTOR_ROOTS];

static inline void vector_add_way(struct vector_ways *w, uint8_t *place)
{
	w->places[w->count++] = place;
}

/* emit_vector_look.c: what must hold before registers are overwritten; the frame is told how many batches there are. */
void vector_look(struct vector_batch *b);
/* The same of where the arrays lie. Overwrites the counter. */
void vector_look_at_places(struct vector_batch *b);

#endif
