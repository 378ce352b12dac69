/*
 * A chain of snapshots, and files that belong to its machine, as one packed file that needs no other.
 *
 * Pages that are equal are stored once: found by their hashes, then compared byte by byte, since a guest may know how to make two
 * hashes alike. Zeros take no room. What is stored is compressed in chunks, the files as a whole.
 *
 * Thread: any.
 */
#ifndef DOPPEL_SNAPSHOT_PACK_H
#define DOPPEL_SNAPSHOT_PACK_H

#include "snapshot/open.h"

#define SNAPSHOT_FILES_MAX (SNAPSHOT_SECTIONS - 6) /* there is one of each other kind */
#define SNAPSHOT_LEVEL     3 /* of zstd: measured, docs/internals/snapshot.md */

struct snapshot_file {
	char name[64];
	uint64_t size;
	int fd; /* to read it from; the caller's */
};

struct snapshot_packing {
	const struct snapshot_file *files; /* facts tell their names and sizes */
	unsigned file_count;               /* at most SNAPSHOT_FILES_MAX */
	const char *layer; /* the disk's, as it is called among the files; NULL: facts tell of disks as they did */
	int level;         /* of zstd */
};

struct snapshot_packed {
	uint64_t stored, duplicates, zeros; /* pages */
	uint64_t bytes;                     /* of the file */
};

/* Writes into a new file, open for reading and writing and empty. Each page is compared with its hash on the way. Not flushed to
 * disk. `packed` may be NULL. */
MUST_USE int snapshot_pack(const struct snapshot_chain *chain, const struct snapshot_packing *packing, int fd,
			   struct snapshot_packed *packed, snapshot_progress_fn *progress, void *context, struct error *e);

/* The files of a packed snapshot: how many, and what they are called (a name without a slash) and how long; -EBADMSG when that does
 * not fit the file. */
MUST_USE int snapshot_files(const struct snapshot *snapshot, struct snapshot_file files[SNAPSHOT_FILES_MAX],
			    unsigned *count, struct error *e);
/* Writes one into a new, empty file; zeros become holes. -EBADMSG: it is damaged, and what was written is worthless. */
MUST_USE int snapshot_unpack_file(const struct snapshot *snapshot, unsigned index, const struct snapshot_file *file, int fd,
				  snapshot_progress_fn *progress, void *context, struct error *e);

#endif
