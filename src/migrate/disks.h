/*
 * Disks of a machine that moves.
 *
 * Those on storage that both sides reach change hands: the source marks its files, in a place that the move's token tells, and
 * the destination finds the marks on its own: so they are the same files, whatever their paths and hosts, and locks are seen
 * from both sides. The destination has them open all the time, reads them anew when the source has written all, and joins the
 * source's locks; at the commitment the one stops writing and the other may begin. Nobody else gets between.
 *
 * Others are copied along: parts of them as a frame carries them, and what is due still.
 *
 *   le32 disk, le32 kind (0 bytes, 1 zeros), le64 offset, le64 length; then the bytes
 *
 * What a part has is what the guest sees, in whatever format either side keeps it.
 *
 * Thread: disks_send, disks_receive and disks_sync the mover's, the others the owner's.
 */
#ifndef DOPPEL_MIGRATE_DISKS_H
#define DOPPEL_MIGRATE_DISKS_H

#include "machine/machine.h"
#include "migrate/stream.h"

struct disks {
	unsigned count; /* those that are written; 0: none moves along */
	uint64_t sent;  /* bytes that are not due any more since they were */
	struct {
		struct block *block;
		uint64_t size, words;
		uint64_t *due, *fresh; /* a bit each BLOCK_TRACK_PART bytes; of a source */
	} disk[MACHINE_DISKS_MAX];
};

/* ---- Changing hands ---- */

/* The source's, before it tells of them: marks all that it writes. */
void disks_mark(struct machine *machine, const char *token, bool on);
/* The destination's: whether the machine's index-th disk is the source's file. */
bool disks_is_same(struct machine *machine, unsigned index, const char *token);
/* The source stands still and has them written; the destination sees what was written. */
MUST_USE int disks_settle(struct machine *machine, struct error *e);
/* `alone`: copies, that nobody else may use. */
MUST_USE int disks_refresh(struct machine *machine, bool alone, struct error *e);
/* Whose they are. */
void disks_own(struct machine *machine, bool own);

/* ---- Copying ---- */

/* All disks of the machine that it writes. `source`: with bitmaps. */
MUST_USE int disks_init(struct disks *disks, struct machine *machine, bool source, struct error *e);
void disks_finish(struct disks *disks); /* accepts a zeroed one */

/* From now on what changes is known; all of it is due. */
MUST_USE int disks_track(struct disks *disks, struct error *e);
void disks_untrack(struct disks *disks);
/* What has changed is due too. */
void disks_collect(struct disks *disks);
void disks_fill(struct disks *disks);
uint64_t disks_left(const struct disks *disks); /* bytes */
/* Sends what is due, after which nothing is. `pace` as in struct pages_sender. */
MUST_USE int disks_send(struct disks *disks, struct stream *stream, int (*pace)(void *opaque, size_t bytes, struct error *e),
			void *opaque, struct error *e);

/* Writes what a frame has. -EPROTO when any of it is not as it has to be. */
MUST_USE int disks_receive(struct disks *disks, const struct stream_frame *frame, struct error *e);
/* What was written is on the host's disk. */
MUST_USE int disks_sync(const struct disks *disks, struct error *e);

#endif
