/*
 * The walls of a machine's process: put up when the machine is made, before its guest runs.
 *
 * Thread: the main one. `arguments` are of the verb run.
 */
#ifndef DOPPEL_CLI_RUN_WALLS_H
#define DOPPEL_CLI_RUN_WALLS_H

#include "cli/plan.h"
#include "host/keeper.h"

/* Without --walls off. */
bool run_walls_wanted(const struct arguments *arguments);
/* Before machine_new: what threads and helpers that it starts then have from the beginning. */
void run_walls_begin(const struct arguments *arguments);
/* After machine_new. `folder`: a descriptor of the machine's own, -1 without a name. Tells on standard error, or in the
 * log, what of the walls is missing. */
MUST_USE int run_walls_put_up(const struct arguments *arguments, int folder, struct error *e);

/* Before machine_new: a keeper for the sockets that the machine is told to listen on, if any. To be ended when the machine is
 * gone. */
MUST_USE int run_walls_keep_sockets(struct keeper *keeper, const struct plan *plan, struct error *e);

#endif
