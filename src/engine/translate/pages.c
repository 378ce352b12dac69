#include "engine/translate/pages.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_PAGES 64
#define SLAB_PIECES 128
#define PIECE_LINES (PAGE_LINES / PAGE_PIECES)

struct page_slab {
	struct page_slab *next;
	struct code_page pages[SLAB_PAGES];
};

static struct code_page **bucket_of(struct code_pages *pages, const uint8_t *source)
{
	return &pages->buckets[((uintptr_t)source >> GUEST_PAGE_SHIFT) % PAGES_BUCKETS];
}

/* Many at once: an allocation for each would have the kernel extend a hart's heap for each. */
struct piece_slab {
	uint8_t pieces[SLAB_PIECES][PIECE_BYTES];
	struct piece_slab *next;
};

/* What an unused piece begins with. */
struct page_piece {
	struct page_piece *next;
};

static void piece_put(struct code_pages *pages, uint8_t *bytes)
{
	struct page_piece *piece = (struct page_piece *)(void *)bytes;

	piece->next = pages->unused_pieces;
	pages->unused_pieces = piece;
}

static uint8_t *piece_get(struct code_pages *pages)
{
	struct page_piece *piece = pages->unused_pieces;
	struct piece_slab *slab;

	if (piece) {
		pages->unused_pieces = piece->next;
		return memset(piece, 0, PIECE_BYTES);
	}
	slab = calloc(1, sizeof *slab);
	if (!slab)
		return NULL;
	slab->next = pages->piece_slabs;
	pages->piece_slabs = slab;
	for (unsigned i = 1; i < SLAB_PIECES; i++)
		piece_put(pages, slab->pieces[i]);
	return slab->pieces[0];
}

static void put_pieces(struct code_pages *pages, struct code_page *page)
{
	for (unsigned i = 0; i < PAGE_PIECES; i++) {
		if (page->pieces[i])
			piece_put(pages, page->pieces[i]);
		page->pieces[i] = NULL;
	}
}

void pages_finish(struct code_pages *pages)
{
	while (pages->slabs) {
		struct page_slab *slab = pages->slabs;

		pages->slabs = slab->next;
		free(slab);
	}
	while (pages->piece_slabs) {
		struct piece_slab *slab = pages->piece_slabs;

		pages->piece_slabs = slab->next;
		free(slab);
	}
}

void pages_reset(struct code_pages *pages)
{
	pages_finish(pages);
	*pages = (struct code_pages){0};
}

static bool more(struct code_pages *pages)
{
	struct page_slab *slab = calloc(1, sizeof *slab);

	if (!slab)
		return false;
	slab->next = pages->slabs;
	pages->slabs = slab;
	for (unsigned i = 0; i < SLAB_PAGES; i++) {
		slab->pages[i].chain = pages->unused;
		pages->unused = &slab->pages[i];
	}
	return true;
}

struct code_page *page_get(struct code_pages *pages, const uint8_t *source)
{
	struct code_page **bucket = bucket_of(pages, source), *page;

	for (page = *bucket; page; page = page->chain)
		if (page->source == source)
			return page;
	if (!pages->unused && !more(pages))
		return NULL;
	page = pages->unused;
	pages->unused = page->chain;
	page->source = source;
	page->units = NULL;
	page->lines = 0;
	page->chain = *bucket;
	*bucket = page;
	pages->count++;
	return page;
}

void page_put(struct code_pages *pages, struct code_page *page)
{
	struct code_page **place = bucket_of(pages, page->source);

	while (*place != page)
		place = &(*place)->chain;
	*place = page->chain;
	put_pieces(pages, page);
	page->lines = 0;
	page->chain = pages->unused;
	pages->unused = page;
	pages->count--;
}

static uint8_t *line_at(const struct code_page *page, unsigned line)
{
	return page->pieces[line / PIECE_LINES] + line % PIECE_LINES * PAGE_LINE_BYTES;
}

/* Most lines are as they were, which a branch tells at the least cost. The engine runs on hosts with AVX2 alone. */
__attribute__((target("avx2"))) uint64_t page_changed(const struct code_page *page, const uint8_t *bytes, uint64_t lines)
{
	uint64_t changed = 0;

	for (uint64_t left = page->lines & lines; left; left &= left - 1) {
		unsigned line = (unsigned)__builtin_ctzll(left);
		const __m256i *x = (const __m256i *)(const void *)line_at(page, line);
		const __m256i *y = (const __m256i *)(const void *)(bytes + line * PAGE_LINE_BYTES);
		__m256i low = _mm256_xor_si256(_mm256_loadu_si256(x), _mm256_loadu_si256(y));
		__m256i high = _mm256_xor_si256(_mm256_loadu_si256(x + 1), _mm256_loadu_si256(y + 1));
		__m256i both = _mm256_or_si256(low, high);

		if (unlikely(!_mm256_testz_si256(both, both)))
			changed |= UINT64_C(1) << line;
	}
	return changed;
}

bool page_holds(const struct code_page *page, const uint8_t *bytes, unsigned at, unsigned length, uint64_t lines)
{
	while (length) {
		unsigned line = at / PAGE_LINE_BYTES, in_line = at % PAGE_LINE_BYTES, part = PAGE_LINE_BYTES - in_line;

		if (part > length)
			part = length;
		if ((lines >> line & 1) && memcmp(line_at(page, line) + in_line, bytes + at, part) != 0)
			return false;
		at += part;
		length -= part;
	}
	return true;
}

bool page_keep(struct code_pages *pages, struct code_page *page, const uint8_t *bytes, uint64_t lines, uint64_t others)
{
	for (uint64_t left = lines; left; left &= left - 1) {
		unsigned line = (unsigned)__builtin_ctzll(left), piece = line / PIECE_LINES;

		if (!page->pieces[piece])
			page->pieces[piece] = piece_get(pages);
		if (!page->pieces[piece])
			return false;
		memcpy(line_at(page, line), bytes + line * PAGE_LINE_BYTES, PAGE_LINE_BYTES);
	}
	page->lines = (page->lines & others) | lines;
	return true;
}
