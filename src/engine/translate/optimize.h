/*
 * Passes over a unit between the front end and the back end.
 *
 * Groups: loads and stores at constant distances from one value (a stack frame, a structure, an unrolled loop)
 * are one group. Its first access, the leader, checks that the whole span of the group lies in one page which may
 * be accessed so; those behind it need no check. A store leads loads and stores; a load leads loads, and stores as
 * well, in a loop if one follows for certain: then it asks for a page that may be stored to. Where the span lies in
 * two pages, or stores are not allowed yet, a unit without groups goes on from the leader.
 *
 * What lies at a small unknown distance (a number that was masked or shifted, times the size of a word) belongs to a group
 * too, with all the places that it may choose in the span: the elements of a small array.
 *
 * Groups that walk: in a loop of the unit, where the base moves by constants, a group (of one access, too) most often stays
 * in the page of the time before. It keeps that page from one time to the next, for as long as the unit runs. Groups that
 * stay: the same where the loop does not move the base. The page is good until the base is written, and nothing is compared.
 *
 * Tables: elements that a number of at least seven bits chooses, less than OPTIMIZE_TABLE bytes away, are groups of their own
 * where these stay, and elsewhere if they are some. Their span may lie in two pages that lie side by side in the host's memory, too. Where it lies in two that
 * do not, a unit goes on whose accesses to tables choose between two pages; and where one of these can not be had, one without
 * groups of tables.
 *
 * Thread: any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_H
#define DOPPEL_ENGINE_TRANSLATE_OPTIMIZE_H

#include "engine/translate/ir.h"

/* The longest span of a group, in bytes: the longer, the more often it lies in two pages. */
#define OPTIMIZE_SPAN 768

/* And of a table. */
#define OPTIMIZE_TABLE 4096

enum optimize_tables { OPTIMIZE_TABLES, OPTIMIZE_TABLES_APART, OPTIMIZE_NO_TABLES };

void optimize(struct ir_unit *unit, enum optimize_tables tables);

#endif
