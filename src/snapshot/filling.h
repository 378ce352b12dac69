/*
 * The memory of a machine that goes on from a snapshot which is being written still.
 *
 * Nothing of it is there in the beginning. Who touches a group of pages (snapshot/marks.h) waits until it was read out of the file, for
 * which the writer is asked when it is not there yet. When the writer has ended, all that nobody touched is mapped, private, as of
 * any snapshot: from then on nothing is different. Until then no memory is given back to the host (memory/memory.h, `coming`), and
 * no child may be forked that needs it.
 *
 * When the writer dies before its time, those who wait could only go on with zeros. So the process must end then: its owner has a
 * moment to do that in good order, after which the thread here does it.
 *
 * Thread: the machine's owner; the work is a thread's of its own (THREAD_MOVER).
 */
#ifndef DOPPEL_SNAPSHOT_FILLING_H
#define DOPPEL_SNAPSHOT_FILLING_H

#include "snapshot/open.h"

struct filling;

/* What is there of one that is being written. All are the caller's until the filling has begun. */
struct filling_source {
	int absent; /* of absent_open */
	int wants;  /* the writing end of the pipe, which does not block */
};

/* Whether memory can come so: not when it is the host's reserved huge pages, or locked. Whatever was in it goes. */
bool filling_can(const struct memory *memory);
/* `early`: of snapshot_open_early, of the same memory; it may be closed afterwards. No vCPU runs yet. On failure the memory is as it
 * was, and the source's descriptors are the caller's still. */
MUST_USE int filling_begin(struct filling **out, const struct snapshot *early, struct memory *memory,
			   const struct filling_source *source, struct error *e);
/* Becomes readable when it is over. */
int filling_descriptor(const struct filling *filling);
/* After that: 0, all of it is there; or why not. */
MUST_USE int filling_result(const struct filling *filling, struct error *e);
/* It is over, or nobody touches memory any more. Accepts NULL. */
void filling_end(struct filling *filling);

#endif
