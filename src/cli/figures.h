/*
 * What two answers of a monitor say about a machine: present values, and what happened in a second between them.
 *
 * A monitor may be in its guest's hands, so nothing of its answer is believed to be there, of its type, or to have grown: what is
 * not is 0.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CLI_FIGURES_H
#define DOPPEL_CLI_FIGURES_H

#include "cli/watch.h"

/*
 * A new reference, or NULL without memory. Members: "name", "state", "seconds" (between the answers), "trouble" if there is
 * some; and, if the machine lives and has answered, "cpu", "memory", "disk", "network", "console", "engine", "exits",
 * "tlb_misses", "devices". Bytes, counts, percent of one processor; all but memory and states of things is for a second, and
 * null before there are two answers.
 */
json_t *figures_of(const struct watched *machine);

/* Of a tree of figures: the number at tree[group][key]; 0 where there is none. */
double figures_number(const json_t *figures, const char *group, const char *key);

#endif
