/*
 * Passes over a unit between the front end and the back end.
 *
 * Groups: loads and stores at constant distances from one value (a stack frame, a structure, an unrolled loop)
 * are one group. Its first access, the leader, checks that the whole span of the group lies in one page which may be
 * accessed so; those behind it need no check. A store leads loads and stores; a load leads loads, and stores as well if
 * one follows for certain: then it asks for a page that may be stored to. Where the span lies in two pages, or stores are
 * not allowed yet, a unit without groups goes on from the leader.
 *
 * Groups that walk: in a loop of the unit, where the base moves by constants or not at all, a group (of one access, too) most
 * often stays in the page of the time before. It keeps that page from one time to the next, for as long as the unit runs.
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_H
#define DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_H

#include "engine/translate/ir.h"

/* The longest span of a group, in bytes: the longer, the more often it lies in two pages. */
#define OPTIMIZE_SPAN 768

void optimize(struct ir_unit *unit);

/* A part of it, simplify.c: after the branches within the unit are known. */
void simplify(struct ir_unit *unit);

/* Whether the operation's result goes to general global `dst`. */
bool ir_writes_global(const struct ir *ir);
/* Whether operands a and b are general globals. */
bool ir_reads_a(const struct ir *ir);
bool ir_reads_b(const struct ir *ir);

#endif
