/*
 * A terminal, or a pipe, that looks at a machine's console: the other end of machine/viewers.h.
 *
 * Standard input goes to the machine, what comes from there to standard output. A terminal is raw meanwhile, and its keys
 * after Ctrl-A are ours (machine/keys.h); they always work, however slow the machine or whoever reads the output is. What
 * is typed beyond VIEWER_TYPED bytes that the machine does not take is dropped; a pipe or a file is read only as fast as
 * it is taken, and its end ends nothing.
 *
 * Thread: the main one, once a process at a time.
 */
#ifndef DOPPEL_CLI_VIEWER_H
#define DOPPEL_CLI_VIEWER_H

#include "base/error.h"
#include "base/types.h"

#define VIEWER_TYPED (64 * KIB)

enum viewer_end {
	VIEWER_LEFT,   /* Ctrl-A d, or nobody reads the output any more */
	VIEWER_SIGNAL, /* `code` is its number */
	VIEWER_OVER,   /* the machine's end: `code` and `message` are its own */
	VIEWER_LOST,   /* the connection broke: the machine's process was killed */
};

struct viewer_outcome {
	enum viewer_end end;
	int code;
	char message[400];
};

/* Looks until it ends; `socket` is closed in any case. The terminal is as before when this returns. With `writes` input
 * is sent, else only keys are looked at. */
MUST_USE int viewer_run(int socket, bool writes, struct viewer_outcome *outcome, struct error *e);

#endif
