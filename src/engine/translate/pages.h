/*
 * Pages of guest code: what their units were made from, in lines of 64 bytes, and when that was last compared with the
 * guest's memory.
 *
 * Only lines with units on them are kept and compared. All live units of a page are made of the bytes kept here.
 *
 * Thread: under the depot's lock; `verified` is read by any hart that found a unit of the page. Pages are used again
 * for others, and freed only while no hart can look at one.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_PAGES_H
#define DOPPEL_ENGINE_TRANSLATE_PAGES_H

#include <string.h>

#include "base/types.h"
#include "memory/memory.h"

struct unit;

#define PAGE_LINES      64
#define PAGE_LINE_BYTES (GUEST_PAGE_SIZE / PAGE_LINES)
#define PAGE_PIECES     8 /* the kept lines lie in pieces, made as they are needed */
#define PIECE_BYTES     (GUEST_PAGE_SIZE / PAGE_PIECES)
#define PAGES_BUCKETS   4096

struct code_page {
	struct code_page *chain;   /* in its bucket, or among the unused ones */
	const uint8_t *source;     /* the guest's bytes */
	struct unit *units;
	uint64_t lines;            /* a bit for each that is kept */
	_Atomic uint64_t verified; /* the depot's clock before they were last compared */
	uint8_t *pieces[PAGE_PIECES];
};

struct code_pages {
	struct code_page *buckets[PAGES_BUCKETS];
	struct code_page *unused;
	struct page_slab *slabs;
	struct page_piece *unused_pieces;
	struct piece_slab *piece_slabs;
	unsigned count; /* in use */
};

/* A page of guest code, as it was when each of its lines was first looked at: the guest may change it meanwhile. Most units
 * are made of two lines or three. */
struct page_copy {
	const uint8_t *source;
	uint64_t lines; /* a bit for each that is here */
	uint8_t bytes[GUEST_PAGE_SIZE];
};

static inline void page_copy_begin(struct page_copy *copy, const uint8_t *source)
{
	copy->source = source;
	copy->lines = 0;
}

static inline void page_look(struct page_copy *copy, unsigned at)
{
	unsigned line = at / PAGE_LINE_BYTES;

	if (copy->lines >> line & 1)
		return;
	copy->lines |= UINT64_C(1) << line;
	memcpy(copy->bytes + line * PAGE_LINE_BYTES, copy->source + line * PAGE_LINE_BYTES, PAGE_LINE_BYTES);
}

/* Two bytes at `at`, a multiple of two. */
static inline uint16_t page_half(struct page_copy *copy, unsigned at)
{
	uint16_t half;

	page_look(copy, at);
	memcpy(&half, copy->bytes + at, sizeof half);
	return half;
}

/* Four bytes at `at`, which may lie on two lines. The latter's are looked at without need if they are not the code's. */
static inline uint32_t page_word(struct page_copy *copy, unsigned at)
{
	uint32_t word;

	page_look(copy, at);
	page_look(copy, at + 2);
	memcpy(&word, copy->bytes + at, sizeof word);
	return word;
}

void pages_finish(struct code_pages *pages);
/* As new. No page is in use, and no hart looks at one. */
void pages_reset(struct code_pages *pages);
/* The page at `source`, made when it is not there yet; NULL without memory. */
struct code_page *page_get(struct code_pages *pages, const uint8_t *source);
/* No unit is left in it. */
void page_put(struct code_pages *pages, struct code_page *page);

/* The lines that `length` bytes from `at` on lie in. */
static inline uint64_t page_lines(unsigned at, unsigned length)
{
	unsigned first = at / PAGE_LINE_BYTES, last = (at + length - 1) / PAGE_LINE_BYTES;

	return UINT64_MAX >> (PAGE_LINES - 1 - last) & UINT64_MAX << first;
}
/* Of the kept lines among `lines`, those that differ from `bytes`, which is a whole page. */
uint64_t page_changed(const struct code_page *page, const uint8_t *bytes, uint64_t lines);
/* Whether `length` bytes at `at`, on kept lines, are those of `bytes` as far as they lie on `lines`. */
bool page_holds(const struct code_page *page, const uint8_t *bytes, unsigned at, unsigned length, uint64_t lines);
/* Keeps these lines as they are in `bytes`, and of the others kept so far those in `others`. False: no memory. */
MUST_USE bool page_keep(struct code_pages *pages, struct code_page *page, const uint8_t *bytes, uint64_t lines,
			uint64_t others);

#endif
