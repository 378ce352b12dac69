/*
 * The process of a machine with a name, for those who do not start it as a program of its own.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_MONITOR_H
#define DOPPEL_CLI_MONITOR_H

#include "registry/registry.h"
#include "snapshot/open.h"

/* Until the machine's end: it goes on from the chain, which is open. In a copy of the process (monitor_copy_begin), which tells at
 * `starter` when it runs. The exit status. */
int monitor_clone(struct registry *registry, const struct snapshot_chain *chain, const char *name, int starter);

#endif
