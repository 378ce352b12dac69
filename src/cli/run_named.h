/*
 * `doppel run` of a machine with a name, on this terminal or in a process of its own; and what that process does.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_RUN_NAMED_H
#define DOPPEL_CLI_RUN_NAMED_H

#include "cli/machine_document.h"
#include "cli/plan.h"
#include "registry/registry.h"

/* Of both, `arguments` are of the verb run, and `settings` the same.
 *
 * Makes the machine, starts it in a process of its own, and prints its name. When it does not start, it is removed. */
MUST_USE int run_detached(const struct arguments *arguments, const struct settings *settings, struct error *e);
/* Makes the machine, runs it in this process until it ends, and removes it. Returns as monitor_run does. */
MUST_USE int run_named(const struct arguments *arguments, const struct settings *settings,
		       struct machine_outcome *outcome, struct error *e);

#endif
