#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

static int read_part(struct image *image, uint64_t offset, struct spans spans, uint64_t length, uint64_t *done)
{
	struct qcow2 *q = qcow2_of(image);
	uint32_t within = (uint32_t)(offset & (q->cluster_size - 1));
	struct extent extent;
	uint64_t entry;
	int r = qcow2_map(image, offset, length, &extent);

	if (r < 0)
		return r;
	*done = extent.length;
	switch (extent.kind) {
	case EXTENT_DATA:
		return store_read_spans(extent.store, extent.offset, spans, extent.length);
	case EXTENT_ZERO:
		spans_fill(spans, 0, extent.length);
		return 0;
	case EXTENT_ABSENT:
		if (image->backing)
			return image_read(image->backing, offset, spans, extent.length);
		if (*q->header.backing)
			return -EIO;
		spans_fill(spans, 0, extent.length);
		return 0;
	case EXTENT_SLOW:
		r = qcow2_entry(q, offset, &entry);
		return r < 0 ? r : qcow2_inflate(q, entry, within, spans, (uint32_t)extent.length);
	}
	return -EIO;
}

int qcow2_read(struct image *image, uint64_t offset, struct spans spans, uint64_t length)
{
	int r = 0;

	while (r == 0 && length) {
		uint64_t done = 0;

		r = read_part(image, offset, spans, length, &done);
		offset += done;
		length -= done;
		spans = spans_after(spans, done);
	}
	return r;
}

void qcow2_wait_calm(struct qcow2 *q, uint64_t first, uint64_t count)
{
	for (struct busy *busy = q->busy; busy;) {
		if (first < busy->first + busy->count && busy->first < first + count) {
			pthread_cond_wait(&q->calm, &q->work);
			busy = q->busy;
		} else {
			busy = busy->next;
		}
	}
}

static void busy_begin(struct qcow2 *q, struct busy *busy)
{
	busy->next = q->busy;
	q->busy = busy;
}

static void busy_end(struct qcow2 *q, const struct busy *busy)
{
	struct busy **at = &q->busy;

	while (*at != busy)
		at = &(*at)->next;
	*at = busy->next;
	pthread_cond_broadcast(&q->calm);
}

/* A write into clusters that are new to the image. */
struct allocation {
	struct busy guest;
	uint64_t host;           /* first cluster */
	bool blank;              /* it reads as zeroes */
	uint64_t offset, length; /* what the guest writes of them */
};

/* Clusters from `index` on that can not be written in place, at most `most`. */
static uint64_t count_unowned(const struct qcow2 *q, const struct table *table, uint64_t index, uint64_t most)
{
	uint64_t count = 0, entries = (uint64_t)1 << q->l2_bits;

	while (count < most && index + count < entries) {
		struct mapping mapping = qcow2_decode(q, qcow2_l2_get(table, index + count));

		if (mapping.kind == MAPPING_INVALID || (mapping.kind == MAPPING_DATA && mapping.copied))
			break;
		count++;
	}
	return count;
}

/* Up to the next range that somebody else works on. */
static uint64_t until_busy(const struct qcow2 *q, uint64_t first, uint64_t count)
{
	for (const struct busy *busy = q->busy; busy; busy = busy->next)
		if (busy->first > first && busy->first - first < count)
			count = busy->first - first;
	return count;
}

/* With `work`. */
static int begin_allocation(struct qcow2 *q, struct table *table, struct allocation *allocation)
{
	uint64_t first = allocation->offset >> q->cluster_bits;
	uint64_t most = ((allocation->offset + allocation->length - 1) >> q->cluster_bits) - first + 1, end, got;
	int r;

	most = count_unowned(q, table, qcow2_l2_index(q, allocation->offset), until_busy(q, first, most));
	if (most == 0)
		return qcow2_break(q, "an L2 entry is impossible");
	r = qcow2_allocate(q, most, &allocation->host, &got, &allocation->blank);
	if (r < 0)
		return r;
	allocation->guest = (struct busy){.first = first, .count = got};
	end = (first + got) << q->cluster_bits;
	if (allocation->offset + allocation->length > end)
		allocation->length = end - allocation->offset;
	busy_begin(q, &allocation->guest);
	return 0;
}

/* With `work`. The clusters hold what they should: the table may say so. */
static int end_allocation(struct qcow2 *q, const struct allocation *allocation, int result)
{
	uint64_t offset = allocation->guest.first << q->cluster_bits, count = allocation->guest.count;
	struct table *table = NULL;

	if (result == 0)
		result = qcow2_l2_own(q, offset, &table);
	if (result == 0)
		for (uint64_t i = 0; i < count; i++)
			qcow2_l2_set(q, table, qcow2_l2_index(q, offset) + i,
				     ((allocation->host + i) << q->cluster_bits) | L2_COPIED);
	else
		qcow2_unallocate(q, allocation->host, count);
	busy_end(q, &allocation->guest);
	return result;
}

static int is_zero(struct image *image, uint64_t offset, uint64_t length, bool *zero)
{
	*zero = true;
	while (*zero && length && offset < image->size) {
		struct extent extent;
		int r = image_map(image, offset, length < image->size - offset ? length : image->size - offset,
				  &extent);

		if (r < 0)
			return r;
		*zero = extent.kind == EXTENT_ZERO;
		offset += extent.length;
		length -= extent.length;
	}
	return 0;
}

/* What surrounds the guest's bytes in the first and the last cluster. NULL: nothing to be written. */
static int read_edge(struct qcow2 *q, uint64_t offset, uint64_t length, bool blank, uint8_t **out)
{
	struct iovec span = {NULL, length};
	bool zero;
	int r;

	*out = NULL;
	if (length == 0)
		return 0;
	r = is_zero(&q->image, offset, length, &zero);
	if (r < 0 || (zero && blank))
		return r;
	span.iov_base = calloc(1, length);
	if (!span.iov_base)
		return -ENOMEM;
	if (!zero)
		r = image_read(&q->image, offset, (struct spans){&span, 1, 0}, length);
	if (r < 0)
		free(span.iov_base);
	else
		*out = span.iov_base;
	return r;
}

/* The guest's bytes and the edges, in one write. */
static int write_joined(struct qcow2 *q, const struct allocation *allocation, struct spans spans, uint8_t *head,
			uint8_t *tail)
{
	uint64_t start = allocation->guest.first << q->cluster_bits;
	uint64_t before = allocation->offset - start, end = (allocation->guest.count << q->cluster_bits);
	uint64_t after = end - before - allocation->length, at = allocation->host << q->cluster_bits, covered, all;
	struct iovec *list = calloc((size_t)spans.count + 2, sizeof *list);
	unsigned count = 0;
	int r;

	if (!list)
		return -ENOMEM;
	if (head)
		list[count++] = (struct iovec){head, before};
	count += spans_take(spans, allocation->length, list + count, spans.count, &covered);
	if (tail)
		list[count++] = (struct iovec){tail, after};
	all = (head ? before : 0) + allocation->length + (tail ? after : 0);
	r = store_write_spans(q->image.store, at + (head ? 0 : before), (struct spans){list, count, 0}, all);
	free(list);
	return r;
}

static int fill_allocation(struct qcow2 *q, const struct allocation *allocation, struct spans spans)
{
	uint64_t start = allocation->guest.first << q->cluster_bits;
	uint64_t end = start + (allocation->guest.count << q->cluster_bits);
	uint64_t after = allocation->offset + allocation->length;
	uint8_t *head, *tail = NULL;
	int r = read_edge(q, start, allocation->offset - start, allocation->blank, &head);

	if (r == 0)
		r = read_edge(q, after, end - after, allocation->blank, &tail);
	if (r == 0)
		r = write_joined(q, allocation, spans, head, tail);
	free(head);
	free(tail);
	return r;
}

/* With `work`, given up and taken again. *done: bytes written, from the beginning. */
static int write_part(struct qcow2 *q, uint64_t offset, struct spans spans, uint64_t length, uint64_t *done)
{
	struct allocation allocation = {.offset = offset, .length = length};
	struct extent extent;
	struct table *table;
	int r;

	qcow2_wait_calm(q, offset >> q->cluster_bits, 1);
	r = qcow2_l2_own(q, offset, &table);
	if (r < 0)
		return r;
	qcow2_lookup(&q->image, offset, length, true, &extent);
	if (extent.kind == EXTENT_DATA) {
		*done = extent.length;
		pthread_mutex_unlock(&q->work);
		r = store_write_spans(extent.store, extent.offset, spans, extent.length);
		pthread_mutex_lock(&q->work);
		return r;
	}
	r = begin_allocation(q, table, &allocation);
	if (r < 0)
		return r;
	*done = allocation.length;
	pthread_mutex_unlock(&q->work);
	r = fill_allocation(q, &allocation, spans);
	pthread_mutex_lock(&q->work);
	return end_allocation(q, &allocation, r);
}

int qcow2_write(struct image *image, uint64_t offset, struct spans spans, uint64_t length)
{
	struct qcow2 *q = qcow2_of(image);
	int r = 0;

	pthread_mutex_lock(&q->work);
	while (r == 0 && length) {
		uint64_t done = 0;

		r = write_part(q, offset, spans, length, &done);
		offset += done;
		length -= done;
		spans = spans_after(spans, done);
	}
	pthread_mutex_unlock(&q->work);
	return r;
}

static int preallocate_part(struct qcow2 *q, uint64_t offset, uint64_t *done)
{
	struct allocation allocation = {.offset = offset, .length = q->image.size - offset};
	struct table *table;
	int r = qcow2_l2_own(q, offset, &table);

	if (r == 0)
		r = begin_allocation(q, table, &allocation);
	if (r < 0)
		return r;
	*done = allocation.length;
	return end_allocation(q, &allocation, 0);
}

int qcow2_preallocate(struct qcow2 *q)
{
	uint64_t offset = 0, done = 0;
	int r = 0;

	pthread_mutex_lock(&q->work);
	for (; r == 0 && offset < q->image.size; offset += done)
		r = preallocate_part(q, offset, &done);
	if (r == 0)
		r = store_allocate(q->image.store, q->end << q->cluster_bits);
	pthread_mutex_unlock(&q->work);
	return r;
}
