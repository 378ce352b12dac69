/*
 * A chain of snapshots as one plain file that needs no other.
 *
 * Thread: any.
 */
#ifndef DOPPEL_SNAPSHOT_COLLAPSE_H
#define DOPPEL_SNAPSHOT_COLLAPSE_H

#include "snapshot/open.h"

/* Writes what the chain's newest file is, with all of its memory, into a new file, open for writing and empty; the id stays
 * its, so others can still build on it. Each page is compared with its hash on the way. Not flushed to disk. */
MUST_USE int snapshot_collapse(const struct snapshot_chain *chain, int fd, snapshot_progress_fn *progress, void *context,
			       struct error *e);

#endif
