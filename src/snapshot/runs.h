/*
 * The section RUNS: how many pages of which kind follow each other. Whoever maps a snapshot needs no more of its memory than
 * that, and has it in a few rows instead of one for each page.
 *
 * A writer is filled page by page while the table is written. It uses no lock and no allocator. Thread: its owner.
 */
#ifndef DOPPEL_SNAPSHOT_RUNS_H
#define DOPPEL_SNAPSHOT_RUNS_H

#include <xxhash.h>

#include "snapshot/format.h"

#define RUNS_HELD 256

struct runs_writer {
	int fd;
	struct snapshot_section section;
	XXH64_state_t *sum;
	unsigned count; /* of runs that are held; the last one may grow */
	struct snapshot_run runs[RUNS_HELD];
};

/* The section will lie at `offset`, in bytes, of the file. `sum` is the caller's, to be kept until runs_end. */
void runs_begin(struct runs_writer *writer, int fd, uint64_t offset, XXH64_state_t *sum);
/* The next page, of this kind. 0 or a negative errno of writing. */
MUST_USE int runs_add(struct runs_writer *writer, enum snapshot_page_kind kind);
/* After the last page; *section tells where the runs are. Likewise. */
MUST_USE int runs_end(struct runs_writer *writer, struct snapshot_section *section);

/* All three for the `count` rows of a table. -ENOMEM too. */
MUST_USE int runs_put(int fd, uint64_t offset, const struct snapshot_page *rows, uint64_t count,
		      struct snapshot_section *section);

#endif
