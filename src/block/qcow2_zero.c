#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

/* An entry that reads as zeroes, or -ENOTSUP: version 2 has none above a backing file. */
static int zero_entry(const struct qcow2 *q, uint64_t *entry)
{
	*entry = 0;
	if (!q->image.backing && !*q->header.backing)
		return 0;
	*entry = L2_ZERO;
	return q->header.version < 3 ? -ENOTSUP : 0;
}

/* Clusters that one table maps. */
static int drop_in_table(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t entry)
{
	uint64_t index = qcow2_l2_index(q, offset);
	struct table *table;
	int r = qcow2_l2(q, offset, &table);

	/* Nothing is there and nothing is below. */
	if (r < 0 || (!table && entry == 0))
		return r;
	r = qcow2_l2_own(q, offset, &table);
	for (uint64_t i = 0; r == 0 && i < count; i++)
		if (qcow2_l2_get(table, index + i) != entry)
			qcow2_l2_set(q, table, index + i, entry);
	return r;
}

static int drop(struct qcow2 *q, uint64_t first, uint64_t count, uint64_t entry)
{
	uint64_t entries = (uint64_t)1 << q->l2_bits;
	int r = 0;

	pthread_mutex_lock(&q->work);
	while (r == 0 && count) {
		uint64_t part = entries - (first & (entries - 1));

		if (part > count)
			part = count;
		qcow2_wait_calm(q, first, part);
		r = drop_in_table(q, first << q->cluster_bits, part, entry);
		if (r == 0 && qcow2_release_is_due(q))
			r = qcow2_write_back(q);
		first += part;
		count -= part;
	}
	pthread_mutex_unlock(&q->work);
	return r;
}

/* The whole clusters in a range; the image's last may be cut short by its end. */
static void whole_clusters(const struct qcow2 *q, uint64_t offset, uint64_t length, uint64_t *first,
			   uint64_t *count)
{
	uint64_t end = offset + length, last;

	*first = (offset + q->cluster_size - 1) >> q->cluster_bits;
	last = end == q->image.size ? (end + q->cluster_size - 1) >> q->cluster_bits : end >> q->cluster_bits;
	*count = last > *first ? last - *first : 0;
}

int qcow2_discard(struct image *image, uint64_t offset, uint64_t length)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t first, count, entry;

	whole_clusters(q, offset, length, &first, &count);
	/* A hint: what can not be dropped stays. */
	if (count == 0 || zero_entry(q, &entry) < 0)
		return 0;
	return drop(q, first, count, entry);
}

static int write_zeroes(struct image *image, uint64_t offset, uint64_t length)
{
	size_t room = length < 64 * KIB ? length : 64 * KIB;
	struct iovec span = {calloc(1, room), room};
	int r = span.iov_base ? 0 : -ENOMEM;

	while (r == 0 && length) {
		uint64_t part = length < room ? length : room;
		struct extent extent;

		/* What reads as zeroes already needs no room. */
		r = image_map(image, offset, part, &extent);
		part = extent.length;
		if (r == 0 && extent.kind != EXTENT_ZERO)
			r = qcow2_write(image, offset, (struct spans){&span, 1, 0}, part);
		offset += part;
		length -= part;
	}
	free(span.iov_base);
	return r;
}

int qcow2_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t first, count, entry, head, end = offset + length;
	int r;

	(void)unmap;
	whole_clusters(q, offset, length, &first, &count);
	if (count == 0 || zero_entry(q, &entry) < 0)
		return write_zeroes(image, offset, length);
	head = (first << q->cluster_bits) - offset;
	r = head ? write_zeroes(image, offset, head) : 0;
	if (r == 0)
		r = drop(q, first, count, entry);
	offset = (first + count) << q->cluster_bits;
	if (r == 0 && offset < end)
		r = write_zeroes(image, offset, end - offset);
	return r;
}
