#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/backing.h"
#include "block/qcow2.h"
#include "block/qcow2_check.h"
#include "block/qcow2_open.h"

#define L2_CACHE_BYTES    (16 * MIB)
#define BLOCK_CACHE_BYTES (4 * MIB)

int qcow2_header_put(struct qcow2 *q, uint32_t at, const uint8_t *bytes, size_t size)
{
	int r = store_sync(q->image.store);

	if (r == 0)
		r = store_write(q->image.store, at, bytes, size);
	return r == 0 ? store_sync(q->image.store) : r;
}

int qcow2_put_incompatible(struct qcow2 *q, uint64_t bits)
{
	uint8_t bytes[8];
	int r;

	if (bits == q->header.incompatible)
		return 0;
	be64_set(bytes, bits);
	r = qcow2_header_put(q, QCOW2_AT_INCOMPATIBLE, bytes, sizeof bytes);
	if (r == 0)
		q->header.incompatible = bits;
	return r;
}

int qcow2_read_header(struct store *store, struct qcow2_header *out, struct error *e)
{
	uint8_t fixed[QCOW2_FIXED_BYTES], *bytes;
	uint32_t size;
	int r = store_read(store, 0, fixed, sizeof fixed);

	if (r < 0)
		return error_errno(e, r, "cannot read '%s'", store->path);
	size = qcow2_header_cluster_size(fixed);
	if (size == 0)
		return error_set(e, ERROR_FAILED, -EINVAL, "'%s' is no qcow2 image", store->path);
	bytes = malloc(size);
	if (!bytes)
		return error_errno(e, -ENOMEM, "cannot read '%s'", store->path);
	r = store_read(store, 0, bytes, size);
	if (r < 0)
		r = error_errno(e, r, "cannot read '%s'", store->path);
	else
		r = qcow2_header_parse(out, bytes, size, store->path, e);
	free(bytes);
	return r;
}

/* A table of 64-bit big-endian numbers. */
int qcow2_read_numbers(struct store *store, uint64_t offset, uint64_t count, uint64_t **out)
{
	uint64_t *numbers = calloc(count ? count : 1, sizeof *numbers);
	int r = numbers ? store_read(store, offset, numbers, count * sizeof *numbers) : -ENOMEM;

	if (r < 0) {
		free(numbers);
		return r;
	}
	for (uint64_t i = 0; i < count; i++)
		numbers[i] = be64toh(numbers[i]);
	*out = numbers;
	return 0;
}

static int read_tables(struct qcow2 *q)
{
	uint64_t entries = ((uint64_t)q->header.reftable_clusters << q->cluster_bits) / 8;
	int r = qcow2_read_numbers(q->image.store, q->header.l1_offset, q->header.l1_size, &q->l1);

	if (r == 0)
		r = qcow2_read_numbers(q->image.store, q->header.reftable_offset, entries, &q->reftable);
	q->reftable_entries = entries;
	return r;
}

/* A table behind the end could only be written by making the file that long. */
static bool tables_are_inside(const struct qcow2 *q)
{
	return qcow2_is_inside(q, q->header.l1_offset, (uint64_t)q->header.l1_size * 8) &&
	       qcow2_is_inside(q, q->header.reftable_offset,
			       (uint64_t)q->header.reftable_clusters << q->cluster_bits);
}

static void qcow2_free(struct qcow2 *q)
{
	if (!q)
		return;
	tables_finish(&q->l2_cache);
	tables_finish(&q->block_cache);
	release_list_finish(&q->unlinked);
	release_list_finish(&q->synced);
	for (unsigned i = 0; i < INFLATED_SLOTS; i++)
		free(q->inflated[i].bytes);
	free(q->l1);
	free(q->reftable);
	pthread_mutex_destroy(&q->work);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->inflated_lock);
	pthread_cond_destroy(&q->calm);
	free(q);
}

/* Two write-backs: the second writes the refcounts that the first let go down. */
static int settle(struct qcow2 *q)
{
	uint64_t size;
	int r = qcow2_write_back(q);

	if (r < 0)
		return r;
	qcow2_release_apply(q, true);
	qcow2_release_synced(q);
	qcow2_release_apply(q, true);
	r = qcow2_write_back(q);
	/* The last cluster may have been written in part; whole clusters are what other programs like to find. */
	if (r == 0 && !q->image.store->device && store_size(q->image.store, &size) == 0 &&
	    size & (q->cluster_size - 1) && size < q->end << q->cluster_bits)
		r = store_resize(q->image.store, (size + q->cluster_size - 1) & ~(uint64_t)(q->cluster_size - 1));
	return r;
}

static int qcow2_settle(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);
	int r;

	pthread_mutex_lock(&q->work);
	r = settle(q);
	pthread_mutex_unlock(&q->work);
	return r;
}

static int qcow2_close(struct image *image, struct error *e)
{
	struct qcow2 *q = qcow2_of(image);
	int r = image->read_only ? 0 : qcow2_settle(image);

	if (r < 0)
		error_errno(e, r, "writing back '%s' failed", image->store->path);
	qcow2_free(q);
	return r;
}

static const struct image_ops qcow2_ops = {
	.name = "qcow2",
	.close = qcow2_close,
	.lookup = qcow2_lookup,
	.map = qcow2_map,
	.read = qcow2_read,
	.write = qcow2_write,
	.zero = qcow2_zero,
	.discard = qcow2_discard,
	.flush = qcow2_flush,
	.needs_flush = qcow2_needs_flush,
	.resize = qcow2_resize,
	.settle = qcow2_settle,
	.enter = qcow2_enter,
	.leave = qcow2_leave,
};

int qcow2_new(struct qcow2 **out, struct store *store, bool read_only, struct error *e)
{
	struct qcow2 *q = calloc(1, sizeof *q);
	uint64_t size = 0;
	int r = q ? qcow2_read_header(store, &q->header, e) : error_errno(e, -ENOMEM, "cannot open an image");

	if (r < 0) {
		free(q);
		return r;
	}
	pthread_mutex_init(&q->work, NULL);
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->inflated_lock, NULL);
	pthread_cond_init(&q->calm, NULL);
	q->cluster_bits = q->header.cluster_bits;
	q->cluster_size = (uint32_t)1 << q->cluster_bits;
	q->l2_bits = q->cluster_bits - 3;
	q->block_bits = q->cluster_bits + 3 - q->header.refcount_order;
	q->image = (struct image){.ops = &qcow2_ops,
				  .store = store,
				  .size = (q->header.size + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1),
				  .read_only = read_only,
				  .optimal = q->cluster_size < 4096 ? q->cluster_size : 4096};
	r = store_size(store, &size);
	q->end = (size >> q->cluster_bits) + ((size & (q->cluster_size - 1)) != 0);
	if (r == 0 && !tables_are_inside(q)) {
		qcow2_free(q);
		return error_set(e, ERROR_FAILED, -EINVAL,
				 "'%s' is cut short: its tables would lie behind its end", store->path);
	}
	if (r == 0)
		r = tables_init(&q->l2_cache, q->cluster_size, L2_CACHE_BYTES);
	if (r == 0)
		r = tables_init(&q->block_cache, q->cluster_size, BLOCK_CACHE_BYTES);
	if (r == 0)
		r = read_tables(q);
	if (r < 0) {
		qcow2_free(q);
		return error_errno(e, r, "cannot read '%s'", store->path);
	}
	*out = q;
	return 0;
}

/* What we do not keep up to date, we must say so of: bitmaps, and whatever others know of. */
static int clear_autoclear(struct qcow2 *q)
{
	uint8_t zero[8] = {0};
	int r;

	if (q->header.version < 3 || q->header.autoclear == 0)
		return 0;
	r = qcow2_header_put(q, QCOW2_AT_AUTOCLEAR, zero, sizeof zero);
	if (r == 0)
		q->header.autoclear = 0;
	return r;
}

static int prepare_to_write(struct qcow2 *q, struct error *e)
{
	struct block_check_result result;
	int r = 0;

	if (q->header.incompatible & QCOW2_CORRUPT)
		return error_set(
			e, ERROR_STATE, -EIO,
			"'%s' was found damaged and is not to be written; doppel disk check --repair %s may "
			"mend it, and it can be read (ro)",
			q->image.store->path, q->image.store->path);
	/* Refcounts were not written by who had it open last. */
	if (q->header.incompatible & QCOW2_DIRTY)
		r = qcow2_check(q, true, &result, e);
	if (r < 0)
		return r;
	r = clear_autoclear(q);
	return r < 0 ? error_errno(e, r, "cannot write to '%s'", q->image.store->path) : 0;
}

int qcow2_open(struct image **out, struct store *store, const struct image_options *options, struct error *e)
{
	struct qcow2 *q;
	int r = qcow2_new(&q, store, options->read_only, e);

	if (r < 0)
		return r;
	if (!options->read_only)
		r = prepare_to_write(q, e);
	if (r == 0 && options->backing)
		q->image.backing = options->backing;
	else if (r == 0 && *q->header.backing && !options->no_backing)
		r = backing_open(&q->image.backing, store->path, q->header.backing, q->header.backing_format,
				 options, e);
	if (r < 0) {
		qcow2_free(q);
		return r;
	}
	*out = &q->image;
	return 0;
}
