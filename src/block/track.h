/*
 * Marks of what is changed on a disk: block_track_begin in block.h.
 *
 * Thread: begin by the owner while nothing is in flight or tracked; mark and collect by any; finish when nobody
 * else can.
 */
#ifndef DOPPEL_BLOCK_TRACK_H
#define DOPPEL_BLOCK_TRACK_H

#include <stdatomic.h>

#include "block/block.h"

struct track {
	_Atomic uint64_t *bits; /* stays until track_finish */
	uint64_t words;
	atomic_bool on;
};

uint64_t track_words(uint64_t size);
/* -ENOMEM; -EBUSY: it has another size than at an earlier beginning. */
MUST_USE int track_begin(struct track *track, uint64_t size);
void track_end(struct track *track);
void track_mark(struct track *track, uint64_t offset, uint64_t length);
void track_collect(struct track *track, uint64_t *bitmap);
void track_finish(struct track *track); /* accepts a zeroed one */

#endif
