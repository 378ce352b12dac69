#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

void qcow2_l1_dirty(struct qcow2 *q, uint64_t index)
{
	uint32_t from = (uint32_t)index;

	if (q->l1_dirty_from >= q->l1_dirty_to) {
		q->l1_dirty_from = from;
		q->l1_dirty_to = from + 1;
	}
	if (from < q->l1_dirty_from)
		q->l1_dirty_from = from;
	if (from >= q->l1_dirty_to)
		q->l1_dirty_to = from + 1;
	atomic_store(&q->dirty, true);
}

static int write_tables(struct qcow2 *q, struct cache *cache, bool all)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < cache->count; i++)
		if (all || cache->slots[i]->fresh)
			r = qcow2_write_table(q, cache->slots[i]);
	return r;
}

static int write_l1(struct qcow2 *q)
{
	uint32_t from = q->l1_dirty_from, count = q->l1_dirty_to - from;
	uint8_t *bytes;
	int r;

	if (q->l1_dirty_from >= q->l1_dirty_to)
		return 0;
	bytes = malloc((size_t)count * 8);
	if (!bytes)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		be64_set(bytes + (size_t)i * 8, q->l1[from + i]);
	r = store_write(q->image.store, q->header.l1_offset + (uint64_t)from * 8, bytes, (size_t)count * 8);
	free(bytes);
	if (r == 0)
		q->l1_dirty_from = q->l1_dirty_to = 0;
	return r;
}

static int write_all(struct qcow2 *q)
{
	int r = write_tables(q, &q->block_cache, true);

	if (r == 0)
		r = write_tables(q, &q->l2_cache, false);
	if (r == 0)
		r = store_sync(q->image.store);
	if (r == 0)
		r = write_tables(q, &q->l2_cache, true);
	if (r == 0)
		r = write_l1(q);
	return r == 0 ? store_sync(q->image.store) : r;
}

int qcow2_write_back(struct qcow2 *q)
{
	int r;

	if (atomic_load(&q->broken))
		return -EIO;
	if (!atomic_load(&q->dirty))
		return store_sync(q->image.store);
	r = write_all(q);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < q->l2_cache.count; i++)
		q->l2_cache.slots[i]->fresh = false;
	qcow2_release_synced(q);
	atomic_store(&q->dirty, q->synced.count || q->unlinked.count);
	/* Lower refcounts are written with the next flush. */
	qcow2_release_apply(q, false);
	return 0;
}

int qcow2_flush(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);
	int r;

	pthread_mutex_lock(&q->work);
	r = qcow2_write_back(q);
	pthread_mutex_unlock(&q->work);
	return r;
}

bool qcow2_needs_flush(struct image *image)
{
	return atomic_load(&qcow2_of(image)->dirty);
}
