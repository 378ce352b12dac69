#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2.h"

/* A larger L1 table in new clusters; the header names it once it is on disk. */
static int grow_l1(struct qcow2 *q, uint32_t entries)
{
	uint64_t bytes = (uint64_t)entries * 8, clusters = (bytes + q->cluster_size - 1) >> q->cluster_bits,
		 first = 0;
	uint64_t old = q->header.l1_offset, old_bytes = (uint64_t)q->header.l1_size * 8;
	uint64_t *l1 = calloc(clusters << q->cluster_bits, 1);
	uint8_t fields[12];
	int r = l1 ? qcow2_allocate_all(q, clusters, &first) : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < q->header.l1_size; i++)
		l1[i] = htobe64(q->l1[i]);
	if (r == 0)
		r = store_write(q->image.store, first << q->cluster_bits, l1, clusters << q->cluster_bits);
	if (r == 0)
		r = qcow2_write_back(q);
	if (r == 0) {
		be32_set(fields, entries);
		be64_set(fields + 4, first << q->cluster_bits);
		r = qcow2_header_put(q, QCOW2_AT_L1_SIZE, fields, sizeof fields);
	}
	if (r < 0) {
		free(l1);
		return r;
	}
	memset(l1, 0, clusters << q->cluster_bits);
	memcpy(l1, q->l1, q->header.l1_size * sizeof *l1);
	free(q->l1);
	q->l1 = l1;
	q->header.l1_offset = first << q->cluster_bits;
	q->header.l1_size = entries;
	if (old_bytes)
		qcow2_release(q, old >> q->cluster_bits, (old_bytes + q->cluster_size - 1) >> q->cluster_bits);
	return 0;
}

static int put_size(struct qcow2 *q, uint64_t size)
{
	uint8_t bytes[8];
	int r;

	be64_set(bytes, size);
	r = qcow2_write_back(q);
	if (r == 0)
		r = qcow2_header_put(q, QCOW2_AT_SIZE, bytes, sizeof bytes);
	if (r < 0)
		return r;
	q->header.size = q->image.size = size;
	return 0;
}

/* Before it grows: what lies behind the old end in its last cluster is nobody's, and what the backing has there
 * is not to come up. */
static int clear_beyond(struct image *image, uint64_t old, uint64_t size)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t end = (old + q->cluster_size - 1) & ~(uint64_t)(q->cluster_size - 1);

	if (end > size)
		end = size;
	if (end > old) {
		int r = qcow2_zero(image, old, end - old, false);

		if (r < 0)
			return r;
	}
	if (image->backing && image->backing->size > end)
		return qcow2_zero(image, end, (image->backing->size < size ? image->backing->size : size) - end,
				  true);
	return 0;
}

static int enlarge(struct image *image, uint64_t size)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t needed = qcow2_l1_needed(size, q->cluster_bits), old = image->size;
	int r = needed == UINT64_MAX ? -EFBIG : 0;

	pthread_mutex_lock(&q->work);
	if (r == 0 && needed > q->header.l1_size)
		r = grow_l1(q, (uint32_t)needed);
	pthread_mutex_unlock(&q->work);
	if (r < 0)
		return r;
	/* Zeroes first, then the size that shows them. */
	image->size = size;
	r = clear_beyond(image, old, size);
	if (r < 0) {
		image->size = old;
		return r;
	}
	pthread_mutex_lock(&q->work);
	r = put_size(q, size);
	pthread_mutex_unlock(&q->work);
	if (r < 0)
		image->size = old;
	return r;
}

static int cut(struct image *image, uint64_t size)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t end = (size + q->cluster_size - 1) & ~(uint64_t)(q->cluster_size - 1);
	int r = end < image->size ? qcow2_discard(image, end, image->size - end) : 0;

	pthread_mutex_lock(&q->work);
	if (r == 0)
		r = put_size(q, size);
	pthread_mutex_unlock(&q->work);
	return r;
}

int qcow2_resize(struct image *image, uint64_t size, bool shrink, struct error *e)
{
	struct qcow2 *q = qcow2_of(image);
	int r;

	(void)shrink;
	if (q->header.snapshot_count && (q->header.version < 3 || size < image->size))
		return error_set(e, ERROR_STATE, -EBUSY,
				 "'%s' has internal snapshots of another size; qemu-img snapshot -d deletes them",
				 image->store->path);
	r = size < image->size ? cut(image, size) : enlarge(image, size);
	return r < 0 ? error_errno(e, r, "cannot resize '%s'", image->store->path) : 0;
}
