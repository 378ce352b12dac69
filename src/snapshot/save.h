/*
 * Writing a plain snapshot file while the machine runs on.
 *
 * While the machine stands still, facts and state are written and a child is forked, whose copy of the guest's memory stays
 * as it was: the kernel copies a page when one of the two writes to it. The machine goes on at once; the child writes the
 * memory, then the header, and ends. A file without its header is no snapshot, so none is seen half done.
 *
 * A bare file, which lives as long as its clones start, has no table of pages: no page is hashed. It can be used before it is
 * whole (snapshot/filling.h): a header of its own tells of what is there when the machine runs on, and marks of the memory.
 *
 * With a parent the rows of its table stand in the file already (snapshot_prepare); pages whose bytes hash as there are not
 * stored again. That costs a look at each page, in the child, and nothing while the guest runs between two snapshots.
 *
 * The child uses no lock and no allocator, and closes all else that is open: locks of disks and folder are not its. When it is
 * given up, or the monitor dies, it ends after what it has in hand, 1 MiB at most, and the file stays none.
 *
 * Thread: the machine's owner.
 */
#ifndef DOPPEL_SNAPSHOT_SAVE_H
#define DOPPEL_SNAPSHOT_SAVE_H

#include <sys/types.h>

#include "snapshot/format.h"

struct snapshot_contents {
	const struct memory *memory;
	const void *state;
	size_t state_length;
	const char *facts; /* JSON text */
	uint8_t id[SNAPSHOT_ID_BYTES], parent[SNAPSHOT_ID_BYTES];
	uint64_t created_ns;
	bool bare; /* SNAPSHOT_BARE; without a parent */
	/* With `bare`: the reading end of a pipe by which those who use the file early ask for memory (snapshot/marks.h), which does not
	 * block; the caller's, who closes it afterwards. NULL: nobody does. */
	const int *wants;
};

struct snapshot_counts {
	uint64_t stored, zero, unchanged; /* pages */
};

/* One that is being written. */
struct snapshot_save {
	pid_t child; /* 0: none, or reaped */
	int socket;  /* becomes readable when the child has ended or died; -1 */
};

/* In a new file, before it is handed to snapshot_save_begin: rows of the parent's table. */
MUST_USE int snapshot_prepare(int fd, const struct snapshot_page *rows, uint64_t count, struct error *e);
/* `fd`: a new, empty or prepared file, open for reading and writing; the caller's, who may close it afterwards. The machine
 * may run on when this returns. */
MUST_USE int snapshot_save_begin(struct snapshot_save *save, int fd, const struct snapshot_contents *contents,
				 struct error *e);
/* Nobody wants it any more: the child ends soon, which snapshot_save_end tells as -ECANCELED; 0 if it was done already. Of a machine
 * in huge pages it always is. */
void snapshot_save_give_up(const struct snapshot_save *save);
/* The child is waited for until it is done. 0, or why the file is none; the disk's being full among it. Written, but not flushed to
 * disk. */
MUST_USE int snapshot_save_end(struct snapshot_save *save, struct snapshot_counts *counts, struct error *e);
/* After that: the child's process is gone, too, which takes a moment more. */
void snapshot_save_reap(struct snapshot_save *save);

#endif
