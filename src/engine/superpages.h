/*
 * Which virtual addresses were reached through superpages: one interval for each half of the address space.
 *
 * Engines cache translations by 4 KiB page. A fence that names one address of a superpage means all of its pages
 * (Privileged 4.2.1), so a fence into one of these intervals flushes everything. Kernels map themselves by superpages
 * and fence single pages elsewhere, which is why two intervals are enough.
 *
 * Thread: the hart's.
 */
#ifndef DOPPEL_ENGINE_SUPERPAGES_H
#define DOPPEL_ENGINE_SUPERPAGES_H

#include "memory/memory.h"

struct superpages {
	struct {
		uint64_t low, high; /* low > high: none */
	} half[2];
};

static inline void superpages_forget(struct superpages *s)
{
	for (unsigned i = 0; i < 2; i++) {
		s->half[i].low = UINT64_MAX;
		s->half[i].high = 0;
	}
}

static inline bool superpages_hold(const struct superpages *s, uint64_t address)
{
	return address >= s->half[address >> 63].low && address <= s->half[address >> 63].high;
}

/* A page at `address` was translated by a leaf that maps `bytes`, a power of two. */
static inline void superpages_note(struct superpages *s, uint64_t address, uint64_t bytes)
{
	uint64_t low = address & ~(bytes - 1), high = low + bytes - 1;

	if (bytes <= GUEST_PAGE_SIZE)
		return;
	if (low < s->half[address >> 63].low)
		s->half[address >> 63].low = low;
	if (high > s->half[address >> 63].high)
		s->half[address >> 63].high = high;
}

#endif
