/*
 * New refcount blocks and a larger refcount table.
 *
 * What describes clusters that nothing describes yet can lie in them: a new block begins its own range, a new
 * table and its first blocks begin the first range that the old table has no room for. All are on disk before
 * anything points to them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

static uint64_t entries_per_cluster(const struct qcow2 *q)
{
	return q->cluster_size / 8;
}

static void put_count(uint8_t *block, uint32_t order, uint64_t index, uint64_t count)
{
	uint8_t wide[8];

	if (order < 3) {
		block[(index << order) >> 3] |= (uint8_t)(count << ((index << order) & 7));
		return;
	}
	be64_set(wide, count);
	memcpy(block + (index << (order - 3)), wide + 8 - (1u << (order - 3)), 1u << (order - 3));
}

/* A block at `at` in the file, where its first `ones` clusters are counted once. */
static int write_block(struct qcow2 *q, uint64_t at, uint64_t ones)
{
	uint8_t *bytes = calloc(1, q->cluster_size);
	int r;

	if (!bytes)
		return -ENOMEM;
	for (uint64_t i = 0; i < ones; i++)
		put_count(bytes, q->header.refcount_order, i, 1);
	r = store_write(q->image.store, at, bytes, q->cluster_size);
	free(bytes);
	qcow2_forget(q, &q->block_cache, at);
	return r;
}

static void took(struct qcow2 *q, uint64_t first, uint64_t count)
{
	if (first + count > q->end)
		q->end = first + count;
}

static int put_entry(struct qcow2 *q, uint64_t index, uint64_t offset)
{
	uint8_t bytes[8];
	int r;

	be64_set(bytes, offset);
	r = store_write(q->image.store, q->header.reftable_offset + index * 8, bytes, sizeof bytes);
	if (r == 0)
		q->reftable[index] = offset;
	return r;
}

static int add_block(struct qcow2 *q, uint64_t index)
{
	uint64_t cluster = index << q->block_bits, offset = cluster << q->cluster_bits;
	int r;

	if (qcow2_is_metadata(q, offset, q->cluster_size))
		return qcow2_break(q, "a table is counted as free");
	r = write_block(q, offset, 1);
	if (r == 0)
		r = store_sync(q->image.store);
	if (r == 0)
		r = put_entry(q, index, offset);
	if (r == 0)
		took(q, cluster, 1);
	return r;
}

/* Writes a table of these entries and makes it the image's; `first`: its place, synced with all it points to. */
static int switch_table(struct qcow2 *q, uint64_t *entries, uint64_t count, uint64_t first)
{
	uint64_t clusters = count / entries_per_cluster(q);
	size_t bytes = count * 8;
	uint8_t fields[12], *table = malloc(bytes);
	int r;

	if (!table)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++)
		be64_set(table + i * 8, entries[i]);
	r = store_write(q->image.store, first << q->cluster_bits, table, bytes);
	free(table);
	be64_set(fields, first << q->cluster_bits);
	be32_set(fields + 8, (uint32_t)clusters);
	if (r == 0)
		r = qcow2_header_put(q, QCOW2_AT_REFTABLE, fields, sizeof fields);
	if (r < 0)
		return r;
	free(q->reftable);
	q->reftable = entries;
	q->reftable_entries = count;
	pthread_mutex_lock(&q->lock);
	q->header.reftable_offset = first << q->cluster_bits;
	q->header.reftable_clusters = (uint32_t)clusters;
	pthread_mutex_unlock(&q->lock);
	return 0;
}

/* Layout of a larger table in the first clusters that it alone has room for: the table, then the blocks that count
 * it and themselves. */
struct growth {
	uint64_t first, table_clusters, blocks, entries;
};

static int plan_growth(const struct qcow2 *q, struct growth *growth)
{
	uint64_t per_block = (uint64_t)1 << q->block_bits, own = 1;

	growth->first = q->reftable_entries << q->block_bits;
	growth->entries = q->reftable_entries + q->reftable_entries / 2;
	growth->blocks = 1;
	do {
		own = growth->blocks;
		if (growth->entries < q->reftable_entries + own)
			growth->entries = q->reftable_entries + own;
		growth->table_clusters = (growth->entries + entries_per_cluster(q) - 1) / entries_per_cluster(q);
		growth->entries = growth->table_clusters * entries_per_cluster(q);
		growth->blocks = (growth->table_clusters + own + per_block - 1) / per_block;
	} while (growth->blocks > own);
	growth->blocks = own;
	return growth->entries * 8 > QCOW2_REFTABLE_BYTES_MAX ? -EFBIG : 0;
}

static int write_growth(struct qcow2 *q, const struct growth *growth, uint64_t *entries)
{
	uint64_t per_block = (uint64_t)1 << q->block_bits, used = growth->table_clusters + growth->blocks;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < growth->blocks; i++) {
		uint64_t at = (growth->first + growth->table_clusters + i) << q->cluster_bits;
		uint64_t before = i * per_block, ones = used > before ? used - before : 0;

		r = write_block(q, at, ones < per_block ? ones : per_block);
		entries[q->reftable_entries + i] = at;
	}
	return r;
}

static int grow(struct qcow2 *q)
{
	uint64_t old = q->header.reftable_offset >> q->cluster_bits, old_clusters = q->header.reftable_clusters;
	struct growth growth;
	uint64_t *entries;
	int r = plan_growth(q, &growth);

	if (r < 0)
		return r;
	entries = calloc(growth.entries, sizeof *entries);
	if (!entries)
		return -ENOMEM;
	memcpy(entries, q->reftable, q->reftable_entries * sizeof *entries);
	r = write_growth(q, &growth, entries);
	if (r == 0)
		r = switch_table(q, entries, growth.entries, growth.first);
	if (r < 0) {
		free(entries);
		return r;
	}
	took(q, growth.first, growth.table_clusters + growth.blocks);
	qcow2_release(q, old, old_clusters);
	return 0;
}

int qcow2_make_block(struct qcow2 *q, uint64_t index)
{
	while (index >= q->reftable_entries) {
		int r = grow(q);

		if (r < 0)
			return r;
	}
	return q->reftable[index] & REFTABLE_MASK ? 0 : add_block(q, index);
}

/* Clusters that a table and blocks for `clusters` clusters, and for themselves, take. */
static void plan_rebuild(const struct qcow2 *q, uint64_t clusters, struct growth *growth)
{
	uint64_t before;

	growth->first = clusters;
	growth->blocks = growth->table_clusters = 1;
	do {
		uint64_t all = clusters + growth->table_clusters + growth->blocks;

		before = growth->table_clusters + growth->blocks;
		growth->blocks = (all >> q->block_bits) + 1;
		growth->table_clusters = (growth->blocks + entries_per_cluster(q) - 1) / entries_per_cluster(q);
	} while (growth->table_clusters + growth->blocks > before);
	growth->entries = growth->table_clusters * entries_per_cluster(q);
}

static int write_counted(struct qcow2 *q, const struct growth *growth, uint64_t index, const uint32_t *counts,
			 uint8_t *block)
{
	uint64_t per_block = (uint64_t)1 << q->block_bits,
		 used = growth->first + growth->table_clusters + growth->blocks;
	uint64_t at = (growth->first + growth->table_clusters + index) << q->cluster_bits;

	memset(block, 0, q->cluster_size);
	for (uint64_t i = 0; i < per_block && index * per_block + i < used; i++) {
		uint64_t cluster = index * per_block + i;

		put_count(block, q->header.refcount_order, i, cluster < growth->first ? counts[cluster] : 1);
	}
	qcow2_forget(q, &q->block_cache, at);
	return store_write(q->image.store, at, block, q->cluster_size);
}

int qcow2_rebuild_refcounts(struct qcow2 *q, const uint32_t *counts, uint64_t clusters, struct error *e)
{
	struct growth growth;
	uint8_t *block = malloc(q->cluster_size);
	uint64_t *entries;
	int r = block ? 0 : -ENOMEM;

	plan_rebuild(q, clusters, &growth);
	entries = calloc(growth.entries, sizeof *entries);
	if (!entries)
		r = -ENOMEM;
	if (growth.entries * 8 > QCOW2_REFTABLE_BYTES_MAX)
		r = -EFBIG;
	for (uint64_t i = 0; r == 0 && i < growth.blocks; i++) {
		r = write_counted(q, &growth, i, counts, block);
		entries[i] = (growth.first + growth.table_clusters + i) << q->cluster_bits;
	}
	if (r == 0)
		r = switch_table(q, entries, growth.entries, growth.first);
	free(block);
	if (r < 0) {
		free(entries);
		return error_errno(e, r, "cannot write new refcounts to '%s'", q->image.store->path);
	}
	took(q, growth.first, growth.table_clusters + growth.blocks);
	return 0;
}
