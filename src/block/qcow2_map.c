#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "block/qcow2.h"

int qcow2_break(struct qcow2 *q, const char *what)
{
	uint8_t bits[8];

	if (atomic_exchange(&q->broken, true))
		return -EIO;
	log_line(LOG_ERROR, "block",
		 "'%s' is damaged: %s; it is not written any more; doppel disk check --repair may help",
		 q->image.store->path, what);
	if (q->image.read_only || q->header.version < 3)
		return -EIO;
	q->header.incompatible |= QCOW2_CORRUPT;
	be64_set(bits, q->header.incompatible);
	/* It is a mark for the next to open it; this one knows. */
	if (store_write(q->image.store, QCOW2_AT_INCOMPATIBLE, bits, sizeof bits) < 0)
		return -EIO;
	return -EIO;
}

bool qcow2_is_inside(const struct qcow2 *q, uint64_t offset, uint64_t length)
{
	return checked_span(offset, length, atomic_load(&q->end) << q->cluster_bits);
}

static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	return offset < q->cluster_size ||
	       overlap(offset, length, q->header.l1_offset, (uint64_t)q->header.l1_size * 8) ||
	       overlap(offset, length, q->header.reftable_offset,
		       (uint64_t)q->header.reftable_clusters << q->cluster_bits) ||
	       (q->header.snapshot_count && overlap(offset, length, q->header.snapshot_offset, 1));
}

static struct mapping decode_compressed(const struct qcow2 *q, uint64_t entry)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t host = entry & (((uint64_t)1 << bits) - 1);
	uint64_t sectors = ((entry & ~(L2_COPIED | L2_COMPRESSED)) >> bits) + 1;
	struct mapping mapping = {.kind = MAPPING_COMPRESSED, .entry = entry, .host = host};

	mapping.compressed_bytes = (uint32_t)(sectors * 512 - (host & 511));
	if (!checked_span(host, mapping.compressed_bytes, (uint64_t)1 << 56) || host < q->cluster_size)
		mapping.kind = MAPPING_INVALID;
	return mapping;
}

struct mapping qcow2_decode(const struct qcow2 *q, uint64_t entry)
{
	struct mapping mapping = {.kind = MAPPING_ABSENT, .entry = entry, .copied = (entry & L2_COPIED) != 0};

	if (entry & L2_COMPRESSED)
		return decode_compressed(q, entry);
	mapping.host = entry & OFFSET_MASK;
	if (mapping.host & (q->cluster_size - 1) || (entry & L2_ZERO && q->header.version < 3))
		mapping.kind = MAPPING_INVALID;
	else if (entry & L2_ZERO)
		mapping.kind = MAPPING_ZERO;
	else if (mapping.host)
		mapping.kind = MAPPING_DATA;
	return mapping;
}

uint64_t qcow2_l2_get(const struct table *table, uint64_t index)
{
	return be64_at(table->bytes + index * 8);
}

static uint64_t l1_entry(const struct qcow2 *q, uint64_t offset)
{
	uint64_t index = offset >> qcow2_l2_span_bits(q);

	return index < q->header.l1_size ? q->l1[index] : 0;
}

/* The next cluster goes on where this one ends, in the way that matters. */
static bool goes_on(const struct qcow2 *q, const struct mapping *first, const struct mapping *next,
		    uint64_t clusters)
{
	if (next->kind != first->kind)
		return false;
	if (first->kind == MAPPING_DATA)
		return next->host == first->host + (clusters << q->cluster_bits) && next->copied == first->copied;
	return first->kind == MAPPING_ABSENT || first->kind == MAPPING_ZERO;
}

static struct mapping run_of(const struct qcow2 *q, const struct table *table, uint64_t offset, uint64_t *length)
{
	uint64_t index = qcow2_l2_index(q, offset), clusters = 1;
	uint64_t wanted = ((offset & (q->cluster_size - 1)) + *length + q->cluster_size - 1) >> q->cluster_bits;
	struct mapping first = qcow2_decode(q, qcow2_l2_get(table, index));
	uint64_t covered;

	if (wanted > ((uint64_t)1 << q->l2_bits) - index)
		wanted = ((uint64_t)1 << q->l2_bits) - index;
	while (clusters < wanted) {
		struct mapping next = qcow2_decode(q, qcow2_l2_get(table, index + clusters));

		if (!goes_on(q, &first, &next, clusters))
			break;
		clusters++;
	}
	covered = (clusters << q->cluster_bits) - (offset & (q->cluster_size - 1));
	if (covered < *length)
		*length = covered;
	return first;
}

static void to_extent(struct qcow2 *q, const struct mapping *mapping, uint64_t offset, struct extent *out)
{
	switch (mapping->kind) {
	case MAPPING_ABSENT:
		out->kind = EXTENT_ABSENT;
		break;
	case MAPPING_ZERO:
		out->kind = EXTENT_ZERO;
		break;
	case MAPPING_DATA:
		out->kind = EXTENT_DATA;
		out->store = q->image.store;
		out->offset = mapping->host + (offset & (q->cluster_size - 1));
		break;
	case MAPPING_COMPRESSED:
	case MAPPING_INVALID:
		out->kind = EXTENT_SLOW;
		break;
	}
}

/* The part of a request that one L2 table maps. */
static uint64_t within_table(const struct qcow2 *q, uint64_t offset, uint64_t length)
{
	uint64_t span = (uint64_t)1 << qcow2_l2_span_bits(q), left = span - (offset & (span - 1));

	return length < left ? length : left;
}

static bool may_overwrite(struct qcow2 *q, const struct mapping *mapping, const struct extent *extent)
{
	return mapping->kind == MAPPING_DATA && mapping->copied && !atomic_load(&q->broken) &&
	       qcow2_is_inside(q, extent->offset, extent->length) &&
	       !qcow2_is_metadata(q, extent->offset, extent->length);
}

void qcow2_lookup(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out)
{
	struct qcow2 *q = qcow2_of(image);
	struct mapping mapping;
	struct table *table;
	uint64_t l1;

	*out = (struct extent){.kind = EXTENT_SLOW, .length = within_table(q, offset, length)};
	pthread_mutex_lock(&q->lock);
	l1 = l1_entry(q, offset);
	table = l1 & OFFSET_MASK ? tables_find(&q->l2_cache, l1 & OFFSET_MASK) : NULL;
	if (!(l1 & OFFSET_MASK)) {
		out->kind = EXTENT_ABSENT;
	} else if (table && (!write || l1 & L2_COPIED)) {
		mapping = run_of(q, table, offset, &out->length);
		to_extent(q, &mapping, offset, out);
		if (write && !may_overwrite(q, &mapping, out))
			out->kind = EXTENT_SLOW;
	}
	pthread_mutex_unlock(&q->lock);
}

int qcow2_l2(struct qcow2 *q, uint64_t offset, struct table **out)
{
	uint64_t at = l1_entry(q, offset) & OFFSET_MASK;

	*out = NULL;
	if (!at)
		return 0;
	if (at & (q->cluster_size - 1))
		return qcow2_break(q, "an L2 table is not at a cluster");
	return qcow2_load(q, &q->l2_cache, at, out);
}

int qcow2_map(struct image *image, uint64_t offset, uint64_t length, struct extent *out)
{
	struct qcow2 *q = qcow2_of(image);
	struct table *table;
	int r;

	*out = (struct extent){.kind = EXTENT_ABSENT, .length = within_table(q, offset, length)};
	pthread_mutex_lock(&q->work);
	r = qcow2_l2(q, offset, &table);
	if (r == 0 && table) {
		struct mapping mapping = run_of(q, table, offset, &out->length);

		to_extent(q, &mapping, offset, out);
	}
	pthread_mutex_unlock(&q->work);
	return r;
}

int qcow2_entry(struct qcow2 *q, uint64_t offset, uint64_t *entry)
{
	struct table *table;
	int r;

	pthread_mutex_lock(&q->work);
	r = qcow2_l2(q, offset, &table);
	if (r == 0)
		*entry = table ? qcow2_l2_get(table, qcow2_l2_index(q, offset)) : 0;
	pthread_mutex_unlock(&q->work);
	return r;
}

static int copy_l2(struct qcow2 *q, const struct table *old, uint64_t index)
{
	uint64_t cluster, count, released = q->l1[index] & OFFSET_MASK;
	struct table *table;
	bool blank;
	int r = qcow2_allocate(q, 1, &cluster, &count, &blank);

	if (r < 0)
		return r;
	r = qcow2_load_fresh(q, &q->l2_cache, cluster << q->cluster_bits, old ? old->bytes : NULL, &table);
	if (r < 0) {
		qcow2_unallocate(q, cluster, 1);
		return r;
	}
	pthread_mutex_lock(&q->lock);
	q->l1[index] = (cluster << q->cluster_bits) | L2_COPIED;
	pthread_mutex_unlock(&q->lock);
	qcow2_l1_dirty(q, index);
	if (released)
		qcow2_release(q, released >> q->cluster_bits, 1);
	return 0;
}

int qcow2_l2_own(struct qcow2 *q, uint64_t offset, struct table **out)
{
	uint64_t index = offset >> qcow2_l2_span_bits(q);
	int r;

	if (atomic_load(&q->broken))
		return -EIO;
	r = qcow2_l2(q, offset, out);
	if (r == 0 && (!*out || !(q->l1[index] & L2_COPIED))) {
		r = copy_l2(q, *out, index);
		if (r == 0)
			r = qcow2_l2(q, offset, out);
	}
	if (r == 0 && (!qcow2_is_inside(q, (*out)->offset, q->cluster_size) ||
		       qcow2_is_metadata(q, (*out)->offset, q->cluster_size)))
		r = qcow2_break(q, "an L2 table lies where none can be");
	return r;
}

static void release_entry(struct qcow2 *q, uint64_t entry)
{
	struct mapping old = qcow2_decode(q, entry);
	uint64_t first = old.host >> q->cluster_bits, last;

	if (old.kind == MAPPING_COMPRESSED) {
		last = (old.host + old.compressed_bytes - 1) >> q->cluster_bits;
		qcow2_release(q, first, last - first + 1);
	} else if (old.kind != MAPPING_INVALID && old.host) {
		qcow2_release(q, first, 1);
	}
}

void qcow2_l2_set(struct qcow2 *q, struct table *table, uint64_t index, uint64_t entry)
{
	uint64_t old = qcow2_l2_get(table, index);

	pthread_mutex_lock(&q->lock);
	be64_set(table->bytes + index * 8, entry);
	pthread_mutex_unlock(&q->lock);
	table_dirty(table, (uint32_t)index * 8, (uint32_t)index * 8 + 8);
	atomic_store(&q->dirty, true);
	release_entry(q, old);
}
