/*
 * Pages of guest memory as a frame carries them: runs of pages that lie together, each as its bytes, or as a mark that all
 * of it is zeros.
 *
 *   le32 runs (1 to PAGES_RUNS), le32 0; a run: le64 guest-physical address, le32 pages, le32 kind; then the bytes of the
 *   runs that have bytes, in order
 *
 * Thread: one at a time; the guest may run meanwhile: a page that changes while it is read is torn, and is sent again, as the
 * change is counted.
 */
#ifndef DOPPEL_MIGRATE_PAGES_H
#define DOPPEL_MIGRATE_PAGES_H

#include "memory/memory.h"
#include "migrate/pack.h"
#include "migrate/stream.h"

#define PAGES_RUNS      512
#define PAGES_WITH_DATA 256 /* in one frame */

enum pages_kind { PAGES_DATA, PAGES_ZERO };

struct pages_run {
	le64_t address;
	le32_t pages, kind;
};

/* Some pages of each region: one bit each, as memory_dirty_collect gives them. Single bits are changed in one piece each. */
struct pages_set {
	const struct memory *memory;
	uint64_t *bits[MEMORY_REGIONS_MAX];
};

MUST_USE int pages_set_init(struct pages_set *set, const struct memory *memory, struct error *e);
void pages_set_finish(struct pages_set *set); /* accepts a zeroed one */
/* Of the bits of a region. Others may be at other pages of the same word. */
static inline bool pages_has(const uint64_t *bits, uint64_t page)
{
	return __atomic_load_n(&bits[page / 64], __ATOMIC_SEQ_CST) >> (page % 64) & 1;
}
void pages_set_fill(struct pages_set *set);
void pages_set_clear(struct pages_set *set);
/* Those of `more` too, a set of the same memory. */
void pages_set_add(struct pages_set *set, const struct pages_set *more);
uint64_t pages_set_count(const struct pages_set *set);

struct pages_counts {
	uint64_t data, zero; /* pages */
};

/* Fills one frame after the other from a set. */
struct pages_sender {
	struct stream *stream;
	struct {
		le32_t runs, reserved;
		struct pages_run run[PAGES_RUNS];
	} head;
	uint32_t runs, data_pages;
	uint8_t *data; /* PAGES_WITH_DATA pages */
	struct packer *packer; /* the caller's; NULL: frames are sent as they are */
	uint64_t end;  /* of the last run */
	struct pages_counts counts;
	/* Called before each frame, with its bytes: may wait, may fail. NULL: never. */
	int (*pace)(void *opaque, size_t bytes, struct error *e);
	/* Asked from time to time: pages_send shall return though the set is not empty. NULL: never. */
	bool (*enough)(void *opaque);
	void *opaque;
};

MUST_USE int pages_sender_init(struct pages_sender *sender, struct stream *stream, struct error *e);
void pages_sender_finish(struct pages_sender *sender);
/* Sends all pages of the set, the last frame included, and takes them out of it; others may do the same at the same time, each
 * with a sender of his own, and each page is sent once. */
MUST_USE int pages_send(struct pages_sender *sender, struct pages_set *set, struct error *e);
/* The page at that address in a frame of its own, and in another those around it that are still in the set, which it takes out.
 * -EFAULT: there is no such page. */
MUST_USE int pages_send_wanted(struct pages_sender *sender, struct pages_set *set, uint64_t address, struct error *e);

/* Where pages are put. Several threads may use one, each with counts of its own. */
struct pages_target {
	struct memory *memory;
	struct pages_set filled; /* have had bytes so far; others are zeros */
	struct pages_set named;  /* were told of */
	/* Since the machine runs here while some of its memory is elsewhere: what is, and who waits for what (memory/absent.h). */
	int absent; /* -1: all of it may be written here */
	struct pages_set lacking, wanted;
};

MUST_USE int pages_target_init(struct pages_target *target, struct memory *memory, struct error *e);
void pages_target_finish(struct pages_target *target); /* accepts a zeroed one */
/* Puts a frame's pages in place. -EPROTO, and nothing or some of it done, when any byte of the frame is not as it has to be. */
MUST_USE int pages_receive(const struct stream_frame *frame, struct pages_target *target, struct pages_counts *counts,
			   struct error *e);
/* Somebody waits for the page: 1 when it has to come from elsewhere and was not asked for yet, *address being its. */
MUST_USE int pages_want(struct pages_target *target, uintptr_t host, uint64_t *address);

/* Tells of all pages of the set: frames of
 *
 *   le64 guest-physical address, a multiple of 64 pages from its region's start; then le64 words, a bit each page
 */
MUST_USE int pages_send_missing(struct stream *stream, const struct pages_set *set, struct error *e);
/* Adds a frame's to the set. -EPROTO as above. */
MUST_USE int pages_receive_missing(const struct stream_frame *frame, struct pages_set *set, struct error *e);

#endif
