/*
 * Disks that move along: parts of them as a frame carries them, and what is due still.
 *
 *   le32 disk, le32 kind (0 bytes, 1 zeros), le64 offset, le64 length; then the bytes
 *
 * Only raw disks: their bytes are their file's, so that they can be read and written beside the machine.
 *
 * Thread: the mover's, but for disks_check, disks_track and disks_collect, which are the owner's.
 */
#ifndef DOPPEL_MIGRATE_DISKS_H
#define DOPPEL_MIGRATE_DISKS_H

#include "machine/machine.h"
#include "migrate/stream.h"

struct disks {
	unsigned count; /* those that are written; 0: none moves along */
	struct {
		struct block *block;
		int fd;
		uint64_t size, words;
		uint64_t *due, *fresh; /* a bit each BLOCK_TRACK_PART bytes; of a source */
	} disk[MACHINE_DISKS_MAX];
};

/* All disks of the machine that it writes: -EOPNOTSUPP (ERROR_STATE) for one that is not raw. `source`: with bitmaps. */
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
