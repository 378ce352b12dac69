#include <errno.h>
#include <string.h>

#include "block/qcow2.h"

/* How far beyond the file's end a free cluster is looked for; counts out there are leaks of a crash at most. */
#define BEYOND_BYTES    (4 * GIB)
#define BEYOND_CLUSTERS (UINT64_C(1) << 16)

uint64_t refcount_in(const uint8_t *block, uint32_t order, uint64_t index)
{
	switch (order) {
	case 3:
		return block[index];
	case 4:
		return be16_at(block + index * 2);
	case 5:
		return be32_at(block + index * 4);
	case 6:
		return be64_at(block + index * 8);
	default: {
		unsigned bits = 1u << order, shift = (unsigned)((index << order) & 7);

		return ((unsigned)block[(index << order) >> 3] >> shift) & ((1u << bits) - 1);
	}
	}
}

static void put_bits(uint8_t *byte, unsigned shift, unsigned bits, uint64_t count)
{
	unsigned mask = ((1u << bits) - 1) << shift;

	*byte = (uint8_t)((*byte & ~mask) | ((unsigned)count << shift));
}

static void refcount_put(struct table *block, uint32_t order, uint64_t index, uint64_t count)
{
	uint32_t at = (uint32_t)((index << order) >> 3), bytes = order < 3 ? 1 : 1u << (order - 3);
	uint8_t wide[8];

	if (order < 3) {
		put_bits(block->bytes + at, (unsigned)((index << order) & 7), 1u << order, count);
	} else {
		be64_set(wide, count);
		memcpy(block->bytes + at, wide + 8 - bytes, bytes);
	}
	table_dirty(block, at, at + bytes);
}

/* NULL: there is no block, all its clusters are free. */
static int load_block(struct qcow2 *q, uint64_t index, struct table **out)
{
	uint64_t offset = index < q->reftable_entries ? q->reftable[index] & REFTABLE_MASK : 0;

	*out = NULL;
	if (offset == 0)
		return 0;
	if (offset & (q->cluster_size - 1) || !qcow2_is_inside(q, offset, q->cluster_size))
		return qcow2_break(q, "a refcount block lies where none can be");
	return qcow2_load(q, &q->block_cache, offset, out);
}

static uint64_t block_mask(const struct qcow2 *q)
{
	return ((uint64_t)1 << q->block_bits) - 1;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	struct table *block;
	int r = load_block(q, cluster >> q->block_bits, &block);

	if (r == 0)
		*count = block ? refcount_in(block->bytes, q->header.refcount_order, cluster & block_mask(q)) : 0;
	return r;
}

static uint64_t refcount_max(const struct qcow2 *q)
{
	unsigned bits = 1u << q->header.refcount_order;

	return bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	struct table *block;
	int r;

	if (count > refcount_max(q))
		return -ERANGE;
	r = load_block(q, cluster >> q->block_bits, &block);
	if (r == 0 && !block) {
		r = qcow2_make_block(q, cluster >> q->block_bits);
		if (r == 0)
			r = load_block(q, cluster >> q->block_bits, &block);
	}
	if (r < 0)
		return r;
	refcount_put(block, q->header.refcount_order, cluster & block_mask(q), count);
	atomic_store(&q->dirty, true);
	return 0;
}

/* The first free cluster from `from` on, and how many follow it, at most `want`, within one refcount block.
 * That block exists, or is made (which takes some of its clusters). */
static int find_in_block(struct qcow2 *q, uint64_t from, uint64_t want, uint64_t *first, uint64_t *count)
{
	uint64_t index = from & block_mask(q), end = block_mask(q) + 1;
	uint32_t order = q->header.refcount_order;
	struct table *block;
	int r = load_block(q, from >> q->block_bits, &block);

	if (r == 0 && !block) {
		r = qcow2_make_block(q, from >> q->block_bits);
		if (r == 0)
			r = load_block(q, from >> q->block_bits, &block);
	}
	if (r < 0)
		return r;
	*count = 0;
	while (index < end && refcount_in(block->bytes, order, index))
		index++;
	*first = (from & ~block_mask(q)) + index;
	while (*count < want && index < end && !refcount_in(block->bytes, order, index)) {
		index++;
		++*count;
	}
	return 0;
}

static uint64_t search_limit(struct qcow2 *q)
{
	return q->end + BEYOND_CLUSTERS + (BEYOND_BYTES >> q->cluster_bits);
}

static int find_free(struct qcow2 *q, uint64_t from, uint64_t want, uint64_t *first, uint64_t *count)
{
	do {
		int r = find_in_block(q, from, want, first, count);

		if (r < 0)
			return r;
		from = (from & ~block_mask(q)) + block_mask(q) + 1;
	} while (*count == 0 && from < search_limit(q));
	if (*count == 0)
		return qcow2_break(q, "all clusters are counted, and many more than there are");
	if (qcow2_is_metadata(q, *first << q->cluster_bits, *count << q->cluster_bits))
		return qcow2_break(q, "a table is counted as free");
	return 0;
}

static int count_once(struct qcow2 *q, uint64_t first, uint64_t count)
{
	uint64_t done = 0;
	int r = 0;

	while (r == 0 && done < count) {
		r = qcow2_refcount_set(q, first + done, 1);
		if (r == 0)
			done++;
	}
	if (r < 0)
		qcow2_unallocate(q, first, done);
	return r;
}

static void took(struct qcow2 *q, uint64_t first, uint64_t count)
{
	if (first + count > q->end)
		q->end = first + count;
}

int qcow2_allocate(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *count, bool *blank)
{
	int r = find_free(q, q->free_hint, want, first, count);

	if (r == 0)
		r = count_once(q, *first, *count);
	if (r < 0)
		return r;
	*blank = *first >= q->end;
	took(q, *first, *count);
	q->free_hint = *first + *count;
	return 0;
}

int qcow2_allocate_all(struct qcow2 *q, uint64_t want, uint64_t *first)
{
	uint64_t from = q->free_hint, start = 0, have = 0;
	int r = 0;

	while (r == 0 && have < want) {
		uint64_t found, count;

		r = find_free(q, from, want - have, &found, &count);
		if (r < 0)
			return r;
		if (found != start + have) {
			start = found;
			have = 0;
		}
		have += count;
		from = found + count;
	}
	r = count_once(q, start, want);
	if (r < 0)
		return r;
	if (start == q->free_hint)
		q->free_hint = start + want;
	took(q, start, want);
	*first = start;
	return 0;
}

void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count)
{
	/* Failing to load a block that was just there leaves a cluster counted for nothing. */
	for (uint64_t i = 0; i < count; i++)
		if (qcow2_refcount_set(q, first + i, 0) < 0)
			return;
	if (first < q->free_hint)
		q->free_hint = first;
}
