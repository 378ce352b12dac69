#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

#define TABLES_MIN 4
#define TABLES_MAX 1024

int tables_init(struct cache *cache, size_t table_bytes, size_t bytes_max)
{
	size_t max = bytes_max / table_bytes, buckets = 1;

	max = max < TABLES_MIN ? TABLES_MIN : max > TABLES_MAX ? TABLES_MAX : max;
	while (buckets < max)
		buckets *= 2;
	*cache = (struct cache){
		.table_bytes = table_bytes, .max = (unsigned)max, .bucket_mask = (unsigned)buckets - 1};
	cache->slots = calloc(max, sizeof(struct table *));
	cache->buckets = calloc(buckets, sizeof(struct table *));
	return cache->slots && cache->buckets ? 0 : -ENOMEM;
}

static void table_free(struct table *table)
{
	free(table->bytes);
	free(table);
}

void tables_finish(struct cache *cache)
{
	for (unsigned i = 0; i < cache->count; i++)
		table_free(cache->slots[i]);
	free(cache->slots);
	free(cache->buckets);
}

static struct table **bucket_of(struct cache *cache, uint64_t offset)
{
	uint64_t number = offset / cache->table_bytes;

	return &cache->buckets[(number ^ number >> 12) & cache->bucket_mask];
}

struct table *tables_find(struct cache *cache, uint64_t offset)
{
	struct table *table = *bucket_of(cache, offset);

	while (table && table->offset != offset)
		table = table->next;
	if (table)
		atomic_store_explicit(&table->used, true, memory_order_relaxed);
	return table;
}

static bool is_dirty(const struct table *table)
{
	return table->dirty_from < table->dirty_to;
}

void table_dirty(struct table *table, uint32_t from, uint32_t to)
{
	if (!is_dirty(table)) {
		table->dirty_from = from;
		table->dirty_to = to;
		return;
	}
	if (from < table->dirty_from)
		table->dirty_from = from;
	if (to > table->dirty_to)
		table->dirty_to = to;
}

int qcow2_write_table(struct qcow2 *q, struct table *table)
{
	uint32_t from = table->dirty_from & ~(uint32_t)(BLOCK_SECTOR - 1);
	uint32_t to = (table->dirty_to + BLOCK_SECTOR - 1) & ~(uint32_t)(BLOCK_SECTOR - 1);
	int r;

	if (!is_dirty(table))
		return 0;
	r = store_write(q->image.store, table->offset + from, table->bytes + from, to - from);
	if (r == 0)
		table->dirty_from = table->dirty_to = 0;
	return r;
}

static void unhash(struct cache *cache, struct table *table)
{
	struct table **at = bucket_of(cache, table->offset);

	while (*at != table)
		at = &(*at)->next;
	*at = table->next;
}

static unsigned choose_victim(struct cache *cache)
{
	for (;;) {
		unsigned slot = cache->hand;

		cache->hand = (cache->hand + 1) % cache->count;
		if (!atomic_exchange_explicit(&cache->slots[slot]->used, false, memory_order_relaxed))
			return slot;
	}
}

/* A clean table to replace. Refcounts may be written at any time, as they are never lower than they should be;
 * L2 tables only in their order, so then all are. */
static int evict(struct qcow2 *q, struct cache *cache, unsigned *slot)
{
	struct table *victim;
	int r = 0;

	*slot = choose_victim(cache);
	victim = cache->slots[*slot];
	if (is_dirty(victim))
		r = cache == &q->l2_cache ? qcow2_write_back(q) : qcow2_write_table(q, victim);
	return r;
}

static int insert(struct qcow2 *q, struct cache *cache, struct table *table)
{
	unsigned slot = cache->count;
	struct table *victim = NULL, **bucket = bucket_of(cache, table->offset);
	int r = cache->count < cache->max ? 0 : evict(q, cache, &slot);

	if (r < 0)
		return r;
	pthread_mutex_lock(&q->lock);
	if (slot < cache->count) {
		victim = cache->slots[slot];
		unhash(cache, victim);
	} else {
		cache->count++;
	}
	cache->slots[slot] = table;
	table->next = *bucket;
	*bucket = table;
	pthread_mutex_unlock(&q->lock);
	if (victim)
		table_free(victim);
	return 0;
}

static struct table *table_new(const struct cache *cache, uint64_t offset)
{
	struct table *table = calloc(1, sizeof *table);

	if (!table)
		return NULL;
	table->offset = offset;
	atomic_init(&table->used, true);
	table->bytes = malloc(cache->table_bytes);
	if (table->bytes)
		return table;
	free(table);
	return NULL;
}

int qcow2_load(struct qcow2 *q, struct cache *cache, uint64_t offset, struct table **out)
{
	struct table *table = tables_find(cache, offset);
	int r = 0;

	if (table) {
		*out = table;
		return 0;
	}
	table = table_new(cache, offset);
	if (!table)
		return -ENOMEM;
	r = store_read(q->image.store, offset, table->bytes, cache->table_bytes);
	if (r == 0)
		r = insert(q, cache, table);
	if (r < 0) {
		table_free(table);
		return r;
	}
	*out = table;
	return 0;
}

int qcow2_load_fresh(struct qcow2 *q, struct cache *cache, uint64_t offset, const uint8_t *contents,
		     struct table **out)
{
	struct table *table = table_new(cache, offset);
	int r;

	if (!table)
		return -ENOMEM;
	if (contents)
		memcpy(table->bytes, contents, cache->table_bytes);
	else
		memset(table->bytes, 0, cache->table_bytes);
	table->fresh = true;
	qcow2_forget(q, cache, offset);
	r = insert(q, cache, table);
	if (r < 0) {
		table_free(table);
		return r;
	}
	table_dirty(table, 0, (uint32_t)cache->table_bytes);
	*out = table;
	return 0;
}

void qcow2_forget(struct qcow2 *q, struct cache *cache, uint64_t offset)
{
	struct table *table = tables_find(cache, offset);

	if (!table)
		return;
	pthread_mutex_lock(&q->lock);
	unhash(cache, table);
	for (unsigned i = 0; i < cache->count; i++)
		if (cache->slots[i] == table)
			cache->slots[i] = cache->slots[--cache->count];
	if (cache->hand >= cache->count)
		cache->hand = 0;
	pthread_mutex_unlock(&q->lock);
	table_free(table);
}
