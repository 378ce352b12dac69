/*
 * The destination of a move: fills a machine that was just created with what a source sends, and takes it when the source
 * gives it away.
 *
 * A thread of its own receives and puts pages in place; what touches the machine otherwise is done by the owner, on the
 * machine's loop. Hello, offer and answer have passed already (whoever made the machine saw to that). Until the machine is
 * taken it is nobody's here: after any failure it has to be freed.
 *
 * Thread: the machine's owner.
 */
#ifndef DOPPEL_MIGRATE_DESTINATION_H
#define DOPPEL_MIGRATE_DESTINATION_H

#include "machine/machine.h"
#include "migrate/source.h"

/* Both are called by the owner's loop. */
struct destination_hooks {
	/* Decides, once and for ever, that the machine is taken here: 0; on disk when it returns. -ECANCELED: it was decided
	 * otherwise. */
	int (*take)(void *opaque, struct error *e);
	/* It is over. 0: the machine is paused and this side's, and shall run if `run`; or what went wrong. destination_free may
	 * be called as soon as this has returned. */
	void (*over)(void *opaque, int result, bool run, const struct error *why);
	/* Another phase, after it was over without a failure. destination_free may be called from there on. */
	void (*news)(void *opaque);
	void *opaque;
};

struct destination_options {
	char token[MIGRATE_TOKEN_TEXT]; /* as in the offer */
	int absent; /* of absent_open, for post-copy: the destination's from now on; -1: none */
	int door;   /* where further connections come (migrate/link.h), listening: the destination's from now on; -1: nowhere */
	struct destination_hooks hooks;
};

/* How much of the machine is here. */
enum destination_phase {
	DESTINATION_ARRIVING, /* it is the source's */
	DESTINATION_LATE,     /* it is here, but for some of its memory, which comes as it is needed (post-copy) */
	DESTINATION_CUT,      /* the same, and the link broke: vCPUs may wait for memory that does not come */
	DESTINATION_COMPLETE, /* all of it */
};

struct destination;

/* `machine` is created and was not started. `fd`: the connection, the destination's from now on, also on failure. */
MUST_USE int destination_new(struct destination **out, struct machine *machine, int fd,
			     const struct destination_options *options, struct error *e);
/* When it is over, well, and the machine runs: has the guest told of connections that did not come along (migrate/flows.h). Returns
 * how many. */
unsigned destination_drop_flows(struct destination *destination);
/* After it was over without a failure: whether it is late, or was. */
bool destination_is_late(const struct destination *destination);
/* Any thread. *left (may be NULL): bytes of memory that are elsewhere. */
enum destination_phase destination_phase(struct destination *destination, uint64_t *left);
/* Ends it wherever it is; accepts NULL. While it is late the machine must have ended: what is absent reads as zeros afterwards. */
void destination_free(struct destination *destination);

/* Frames that have passed each way before: hello, offer and answer. */
#define DESTINATION_FRAMES 2

#endif
