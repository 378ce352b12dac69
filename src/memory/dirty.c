#include <errno.h>
#include <stdlib.h>

#include "memory/memory.h"

int memory_dirty_start(struct memory *memory, struct error *e)
{
	if (memory_tracking(memory))
		return error_set(e, ERROR_STATE, -EBUSY, "changes of guest memory are being tracked already");
	for (unsigned i = 0; i < memory->count; i++) {
		struct memory_region *region = &memory->regions[i];
		uint64_t words = memory_dirty_words(region);

		if (!region->dirty)
			region->dirty = calloc(words, sizeof *region->dirty);
		if (!region->dirty)
			return error_set(e, ERROR_FAILED, -ENOMEM, "no memory for the dirty bitmap of RAM '%s'",
					 region->name);
		for (uint64_t w = 0; w < words; w++)
			atomic_store_explicit(&region->dirty[w], 0, memory_order_relaxed);
	}
	/* Pairs with the acquire in memory_mark_dirty: who sees the flag sees the bitmaps. */
	atomic_store_explicit(&memory->tracking, true, memory_order_release);
	if (memory->tracker) {
		int r = memory->tracker->start(memory->tracker->engine, e);

		if (r < 0)
			atomic_store_explicit(&memory->tracking, false, memory_order_release);
		return r;
	}
	return 0;
}

/* The bitmaps stay until memory_finish: a marker that saw the flag a moment ago may still use them. */
void memory_dirty_stop(struct memory *memory)
{
	if (memory->tracker && memory_tracking(memory))
		memory->tracker->stop(memory->tracker->engine);
	atomic_store_explicit(&memory->tracking, false, memory_order_release);
}

uint64_t memory_dirty_collect(struct memory *memory, unsigned index, uint64_t *bitmap)
{
	struct memory_region *region = &memory->regions[index];
	uint64_t words = memory_dirty_words(region), set = 0;

	if (memory->tracker && memory_tracking(memory))
		memory->tracker->collect(memory->tracker->engine, index);
	for (uint64_t w = 0; w < words; w++) {
		bitmap[w] = region->dirty ? atomic_exchange_explicit(&region->dirty[w], 0, memory_order_acq_rel)
					  : 0;
		set += (uint64_t)__builtin_popcountll(bitmap[w]);
	}
	return set;
}

/* Bits [first, last] of one word of the bitmap that lie in word `word`. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t last)
{
	uint64_t mask = UINT64_MAX;

	if (word == first / 64)
		mask &= UINT64_MAX << (first % 64);
	if (word == last / 64)
		mask &= UINT64_MAX >> (63 - last % 64);
	return mask;
}

/*
 * The bit is set by an atomic operation even when it is set already: a plain look first would let a write slip
 * between a collector that clears the bit and its reading of the page.
 */
void memory_mark_dirty(struct memory *memory, gpa_t address, uint64_t length)
{
	const struct memory_region *region;
	uint64_t first, last;

	if (!atomic_load_explicit(&memory->tracking, memory_order_acquire) || length == 0)
		return;
	region = memory_find(memory, address, length);
	if (!region)
		return;
	first = (address.value - region->base.value) >> GUEST_PAGE_SHIFT;
	last = (address.value - region->base.value + length - 1) >> GUEST_PAGE_SHIFT;
	for (uint64_t w = first / 64; w <= last / 64; w++)
		atomic_fetch_or_explicit(&region->dirty[w], word_mask(w, first, last), memory_order_acq_rel);
}
