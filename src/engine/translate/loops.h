/*
 * Branches within a unit, and what its loops do with globals.
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_LOOPS_H
#define DOPPEL_ENGINE_TRANSLATE_LOOPS_H

#include "engine/translate/ir.h"

/* Only what is needed is written: the first two where unit.inside, the third where unit.loops and loops_stillness was called. */
struct loops {
	/* Of operations that branches of the unit lead to: the first from before, the last from behind. Counted from 1; 0:
	 * none. Loops that overlap end together. */
	uint16_t first_from[UNIT_OPS], last_from[UNIT_OPS];
	uint32_t still[UNIT_OPS]; /* globals that a loop around the operation does not change */
};

/* Branches and jumps to operations of the unit say so (ir.inside, ir.label), and the unit (inside, loops). */
void loops_find(struct loops *loops, struct ir_unit *unit);

/* Jumps back to the operation. */
unsigned loops_ways_back(const struct ir_unit *unit, unsigned head);

/* Of the globals, those that operations [first, last] move by constants alone, and not far, or not at all. */
uint32_t loops_walking(const struct ir_unit *unit, unsigned first, unsigned last);

/* Which globals loops leave as they are, where nothing may make a page no longer good. */
void loops_stillness(struct loops *loops, const struct ir_unit *unit);

#endif
