/*
 * The passes of optimize.c, each in its file, in their order. They see branches within the unit as loops_find has left them.
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_PRIVATE_H
#define DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_PRIVATE_H

#include "engine/translate/loops.h"
#include "engine/translate/optimize.h"

/* Pairs of operations become one. */
void simplify(struct ir_unit *unit);
/* A part of it: operation `write` writes the float flags. Compilers and libraries put what must not raise any between reading and
 * writing them. */
void optimize_quiet(struct ir_unit *unit, unsigned write);
/* Results that nobody sees are not made, or late, or narrow. */
void optimize_unseen(struct ir_unit *unit);
/* Accesses share checks (optimize.h). */
void optimize_groups(struct ir_unit *unit, struct loops *loops, enum optimize_tables tables);

#endif
