/*
 * The stages of a move, and how far it has come.
 *
 *   0 pre-migration   the destination is asked; all that does not fit is told at once
 *   1 reservation     the destination makes the machine: its memory and its name are held there
 *   2 pre-copy        round by round, what has changed since it was sent; left out when the machine moves at rest
 *   3 stop and copy   the machine stands still; the last pages and the rest of its state
 *   4 commitment      the machine changes hands: who has it is decided in one place, once (docs/internals/migrate.md)
 *   5 activation      it runs on the destination; in post-copy the rest of its memory follows
 *
 * A stage follows the one before it; up to the middle of 4 any failure leads back to the source, which goes on.
 */
#ifndef DOPPEL_MIGRATE_STAGE_H
#define DOPPEL_MIGRATE_STAGE_H

#include <jansson.h>

#include "base/types.h"

enum migrate_stage {
	MIGRATE_ASKING,
	MIGRATE_RESERVATION,
	MIGRATE_PRE_COPY,
	MIGRATE_STOP_AND_COPY,
	MIGRATE_COMMITMENT,
	MIGRATE_ACTIVATION,
	MIGRATE_STAGES,
};

struct migrate_progress {
	enum migrate_stage stage;
	unsigned round;         /* of pre-copy, from 1 */
	uint64_t pages, zeros;  /* sent with their bytes; sent as marks */
	uint64_t bytes;         /* over the link */
	uint64_t due;           /* pages that the round, or what follows it, began with; parts of disks count as pages */
	uint64_t left;          /* of them, those that are due still */
	uint64_t rate;          /* bytes a second, in the last round */
	uint64_t estimate_ns;   /* of the downtime, if the machine were stopped now; 0: not known yet */
	uint64_t downtime_ns;   /* from the machine's stop to the destination's word that it has it; 0: not yet */
	uint64_t total_ns;      /* so far */
	uint64_t faults;        /* pages that were waited for in post-copy */
	uint64_t fault_bytes;   /* over the link for them */
	bool post_copy;         /* the machine runs there before all of its memory is */
	bool cut;               /* the same, and the link broke */
	unsigned throttle;      /* percent of its processor time that the guest is left, to let it converge; 0: all */
};

/* "pre-migration", "reservation", ... */
const char *migrate_stage_name(enum migrate_stage stage);
/* A new reference; NULL without memory. */
json_t *migrate_progress_json(const struct migrate_progress *progress);

#endif
