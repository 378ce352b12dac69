/*
 * The process of a machine with a name, for those who do not start it as a program of its own.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_MONITOR_H
#define DOPPEL_CLI_MONITOR_H

#include "registry/registry.h"
#include "snapshot/open.h"

/* What a clone goes on from. */
struct clone_source {
	const struct snapshot_chain *chain; /* open; or NULL: */
	int file; /* a snapshot that is being written still, or will be: the copy is told when (monitor_copy_wait). It is closed */
	int wants; /* where its memory is asked for meanwhile (snapshot/filling.h), likewise; -1: nowhere */
};

/* Until the machine's end. In a copy of the process (monitor_copy_begin), which tells at `starter` when it runs. The exit
 * status. */
int monitor_clone(struct registry *registry, const struct clone_source *source, const char *name, int starter);

#endif
