/*
 * What a bare snapshot file tells of its memory while that is being written: which groups of pages are there.
 *
 * The writer maps the section MARKS, sets a group's mark when its pages are in the file, and ends; whoever uses the file before
 * that maps the section too, for reading only, and waits for the marks that it needs. What it asks for by a pipe (numbers of
 * groups) the writer writes next. The pipe has no reader any more when the writer has ended, which is told by POLLERR: then the
 * file is whole, or never becomes so.
 *
 * Thread: any; what the writer does here needs no lock and no allocator.
 */
#ifndef DOPPEL_SNAPSHOT_MARKS_H
#define DOPPEL_SNAPSHOT_MARKS_H

#include <stdatomic.h>

#include "snapshot/format.h"

#define MARKS_GROUP 16 /* pages */

enum marks_kind {
	MARKS_NONE, /* not there yet */
	MARKS_ZERO, /* nothing but zeros, and a hole in the file */
	MARKS_HERE,
};

struct marks {
	_Atomic uint32_t turn; /* a futex: it changes when somebody who asked shall look again */
	_Atomic uint32_t whole; /* not 0: so is the file */
	uint8_t unused[56];
	_Atomic uint8_t groups[]; /* region by region; each begins with a group of its own */
};

/* Where a group's pages are. */
struct marks_place {
	unsigned region;
	uint64_t page, pages; /* of the region */
	uint64_t row;         /* of the first */
};

/* Of the section, in bytes; whole pages. */
uint64_t marks_size(const struct snapshot_header *header);
uint64_t marks_count(const struct memory *memory);
/* The group of a region's page. */
uint64_t marks_group(const struct memory *memory, unsigned region, uint64_t page);
/* False: there is no such group. */
bool marks_find(const struct memory *memory, uint64_t group, struct marks_place *place);

static inline enum marks_kind marks_get(const struct marks *marks, uint64_t group)
{
	return (enum marks_kind)atomic_load_explicit(&marks->groups[group], memory_order_acquire);
}

static inline void marks_set(struct marks *marks, uint64_t group, enum marks_kind kind)
{
	atomic_store_explicit(&marks->groups[group], (uint8_t)kind, memory_order_release);
}

/* Groups that somebody asked for have their marks. */
void marks_wake(struct marks *marks);
/* Until marks_wake was called since `turn` was read, or some milliseconds have passed. */
void marks_wait(const struct marks *marks, uint32_t turn);

#endif
