/*
 * The driver's side of a virtqueue, split or packed, for tests: written from the standard alone, it shares no code with
 * the device's side. Everything in guest memory is at addresses that the test chooses, and may be overwritten to play
 * a hostile driver.
 */
#ifndef DOPPEL_TESTS_RING_DRIVER_H
#define DOPPEL_TESTS_RING_DRIVER_H

#include <stdlib.h>
#include <string.h>

#include "memory/memory.h"

#define RING_MAX       1024
#define RING_CHAIN_MAX 64 /* ring entries of one buffer */

enum { RING_NEXT = 1, RING_WRITE = 2, RING_INDIRECT = 4, RING_AVAILABLE = 1 << 7, RING_USED = 1 << 15 };

/* One buffer of a chain. */
struct piece {
	uint64_t address;
	uint32_t length;
	uint16_t flags; /* RING_WRITE or 0; hostile drivers add others */
};

struct ring {
	struct memory *memory;
	bool packed, event_index;
	uint16_t size;
	uint64_t table, driver, device; /* guest-physical */
	/* Split: free running. Packed: positions with their wrap counters. */
	uint16_t next, used;
	bool wrap, used_wrap;
	uint16_t free[RING_MAX]; /* split: descriptors that are not in use */
	uint16_t free_count;
	uint16_t taken[RING_MAX]; /* by id: ring descriptors of the chain */
	uint16_t first[RING_MAX][RING_CHAIN_MAX]; /* split: which ones */
};

static inline uint8_t *ring_at(const struct ring *r, uint64_t address, uint64_t length)
{
	uint8_t *host = memory_host(r->memory, gpa(address), length);

	if (!host)
		abort();
	return host;
}

static inline void ring_put16(const struct ring *r, uint64_t address, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)ring_at(r, address, 2), htole16(value), __ATOMIC_SEQ_CST);
}

static inline void ring_put32(const struct ring *r, uint64_t address, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)ring_at(r, address, 4), htole32(value), __ATOMIC_SEQ_CST);
}

static inline void ring_put64(const struct ring *r, uint64_t address, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)ring_at(r, address, 8), htole64(value), __ATOMIC_SEQ_CST);
}

static inline uint16_t ring_get16(const struct ring *r, uint64_t address)
{
	return le16toh(__atomic_load_n((uint16_t *)(void *)ring_at(r, address, 2), __ATOMIC_SEQ_CST));
}

static inline uint32_t ring_get32(const struct ring *r, uint64_t address)
{
	return le32toh(__atomic_load_n((uint32_t *)(void *)ring_at(r, address, 4), __ATOMIC_SEQ_CST));
}

static inline uint64_t ring_get64(const struct ring *r, uint64_t address)
{
	return le64toh(__atomic_load_n((uint64_t *)(void *)ring_at(r, address, 8), __ATOMIC_SEQ_CST));
}

/* The last 16 bits of a descriptor are `next` in a split ring, and flags in a packed one, where the id is before. */
static inline void ring_put_descriptor(const struct ring *r, uint64_t at, const struct piece *p, uint16_t flags,
				       uint16_t link)
{
	uint64_t rest = p->length;

	rest |= r->packed ? (uint64_t)link << 32 | (uint64_t)flags << 48
			  : (uint64_t)flags << 32 | (uint64_t)link << 48;
	ring_put64(r, at, p->address);
	ring_put64(r, at + 8, rest);
}

/* The three areas follow each other from `base` on, each at a multiple of 4096; the memory is cleared. */
static inline void ring_init(struct ring *r, struct memory *memory, bool packed, bool event_index, uint16_t size,
			     uint64_t base)
{
	uint64_t step = (16 * (uint64_t)size + 4095) & ~UINT64_C(4095);

	memset(r, 0, sizeof *r);
	r->memory = memory;
	r->packed = packed;
	r->event_index = event_index;
	r->size = size;
	r->table = base;
	r->driver = base + step;
	r->device = base + 2 * step;
	r->wrap = r->used_wrap = true;
	for (uint64_t at = base; at < base + 3 * step; at += 8)
		ring_put64(r, at, 0);
	for (uint16_t i = 0; i < size; i++)
		r->free[r->free_count++] = (uint16_t)(size - 1 - i);
}

/* Bytes of guest memory that ring_init uses. */
static inline uint64_t ring_bytes(uint16_t size)
{
	return 3 * ((16 * (uint64_t)size + 4095) & ~UINT64_C(4095));
}

/* Writes an indirect table and returns the piece that points to it. */
static inline struct piece ring_table(const struct ring *r, uint64_t address, const struct piece *pieces,
				      unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t more = !r->packed && i + 1 < count ? RING_NEXT : 0;

		ring_put_descriptor(r, address + 16 * i, &pieces[i], (uint16_t)(pieces[i].flags | more),
				    r->packed ? 0 : (uint16_t)(i + 1));
	}
	return (struct piece){.address = address, .length = 16 * count, .flags = RING_INDIRECT};
}

static inline uint16_t ring_add_split(struct ring *r, const struct piece *pieces, unsigned count)
{
	uint16_t used[RING_CHAIN_MAX], id;

	if (count > r->free_count || count > RING_CHAIN_MAX)
		abort();
	for (unsigned i = 0; i < count; i++)
		used[i] = r->free[--r->free_count];
	for (unsigned i = 0; i < count; i++) {
		uint16_t more = i + 1 < count ? RING_NEXT : 0;

		ring_put_descriptor(r, r->table + 16 * used[i], &pieces[i], (uint16_t)(pieces[i].flags | more),
				    more ? used[i + 1] : 0);
	}
	id = used[0];
	r->taken[id] = (uint16_t)count;
	memcpy(r->first[id], used, count * sizeof used[0]);
	ring_put16(r, r->driver + 4 + 2 * (uint64_t)(r->next % r->size), id);
	ring_put16(r, r->driver + 2, ++r->next);
	return id;
}

/* The first descriptor becomes available last. */
static inline uint16_t ring_add_packed(struct ring *r, const struct piece *pieces, unsigned count)
{
	uint16_t first = r->next, first_flags = 0, id = r->free[--r->free_count];
	const struct piece *head = pieces;

	r->taken[id] = (uint16_t)count;
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)(pieces[i].flags | (i + 1 < count ? RING_NEXT : 0));

		flags |= r->wrap ? RING_AVAILABLE : RING_USED;
		if (i == 0)
			first_flags = flags;
		else
			ring_put_descriptor(r, r->table + 16 * r->next, &pieces[i], flags, id);
		if (++r->next == r->size) {
			r->next = 0;
			r->wrap = !r->wrap;
		}
	}
	ring_put_descriptor(r, r->table + 16 * first, head, first_flags, id);
	return id;
}

/* Makes a buffer available; its id. The caller keeps to the ring's size. */
static inline uint16_t ring_add(struct ring *r, const struct piece *pieces, unsigned count)
{
	return r->packed ? ring_add_packed(r, pieces, count) : ring_add_split(r, pieces, count);
}

static inline bool ring_used_split(struct ring *r, uint16_t *id, uint32_t *length)
{
	uint64_t entry = r->device + 4 + 8 * (uint64_t)(r->used % r->size);

	if (ring_get16(r, r->device + 2) == r->used)
		return false;
	*id = (uint16_t)ring_get32(r, entry);
	*length = ring_get32(r, entry + 4);
	r->used++;
	for (unsigned i = 0; i < r->taken[*id]; i++)
		r->free[r->free_count++] = r->first[*id][i];
	return true;
}

static inline bool ring_used_packed(struct ring *r, uint16_t *id, uint32_t *length)
{
	uint64_t rest = ring_get64(r, r->table + 16 * r->used + 8);
	bool available = rest >> 48 & RING_AVAILABLE, used = rest >> 48 & RING_USED;

	if (available != used || used != r->used_wrap)
		return false;
	*id = (uint16_t)(rest >> 32);
	*length = (uint32_t)rest;
	r->used = (uint16_t)(r->used + r->taken[*id]);
	if (r->used >= r->size) {
		r->used = (uint16_t)(r->used - r->size);
		r->used_wrap = !r->used_wrap;
	}
	r->free[r->free_count++] = *id;
	return true;
}

/* Takes back the next buffer that the device is done with. */
static inline bool ring_used(struct ring *r, uint16_t *id, uint32_t *length)
{
	return r->packed ? ring_used_packed(r, id, length) : ring_used_split(r, id, length);
}

/* Asks for interrupts, or for none, without EVENT_IDX. */
static inline void ring_interrupts(const struct ring *r, bool wanted)
{
	if (r->packed)
		ring_put32(r, r->driver, wanted ? 0 : 1u << 16);
	else
		ring_put16(r, r->driver, wanted ? 0 : 1);
}

/* With EVENT_IDX: an interrupt when `more` ring entries (packed) or buffers (split) from the next on were used. */
static inline void ring_interrupt_after(const struct ring *r, unsigned more)
{
	unsigned at = r->used + more;
	bool wrap = r->used_wrap;

	if (!r->packed) {
		ring_put16(r, r->driver + 4 + 2 * r->size, (uint16_t)at);
		return;
	}
	if (at >= r->size) {
		at -= r->size;
		wrap = !wrap;
	}
	ring_put32(r, r->driver, at | (wrap ? 0x8000u : 0) | 2u << 16);
}

#endif
