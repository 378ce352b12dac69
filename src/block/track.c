/* Which parts of a disk were changed since they were asked for last. Marked when a request is done: who reads the
 * part between the marks' collection and then may see either, and is told again. */
#include <errno.h>
#include <stdlib.h>

#include "block/track.h"

uint64_t track_words(uint64_t size)
{
	uint64_t parts = (size + BLOCK_TRACK_PART - 1) / BLOCK_TRACK_PART;

	return (parts + 63) / 64;
}

/* Whoever marks may still use the bitmap of an earlier beginning: it is never replaced. */
int track_begin(struct track *track, uint64_t size)
{
	if (track->bits && track->words != track_words(size))
		return -EBUSY;
	if (!track->bits)
		track->bits = calloc(track_words(size), sizeof *track->bits);
	if (!track->bits)
		return -ENOMEM;
	track->words = track_words(size);
	atomic_store_explicit(&track->on, true, memory_order_release);
	return 0;
}

void track_end(struct track *track)
{
	atomic_store_explicit(&track->on, false, memory_order_release);
}

void track_finish(struct track *track)
{
	free(track->bits);
}

void track_mark(struct track *track, uint64_t offset, uint64_t length)
{
	uint64_t last = length ? (offset + length - 1) / BLOCK_TRACK_PART : 0;

	if (length == 0 || !atomic_load_explicit(&track->on, memory_order_acquire))
		return;
	for (uint64_t part = offset / BLOCK_TRACK_PART; part <= last && part / 64 < track->words; part++)
		atomic_fetch_or_explicit(&track->bits[part / 64], UINT64_C(1) << part % 64, memory_order_acq_rel);
}

void track_collect(struct track *track, uint64_t *bitmap)
{
	for (uint64_t w = 0; w < track->words; w++)
		bitmap[w] = atomic_exchange_explicit(&track->bits[w], 0, memory_order_acq_rel);
}
