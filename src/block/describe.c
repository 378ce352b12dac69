#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/lock.h"
#include "block/open.h"
#include "block/qcow2.h"
#include "block/qcow2_check.h"
#include "block/qcow2_open.h"

static void count_entries(const struct qcow2 *q, const struct table *table, struct block_description *out)
{
	for (uint64_t i = 0; i < (uint64_t)1 << q->l2_bits; i++) {
		struct mapping mapping = qcow2_decode(q, qcow2_l2_get(table, i));

		if (mapping.kind == MAPPING_COMPRESSED)
			out->clusters_compressed++;
		if (mapping.kind == MAPPING_COMPRESSED || (mapping.kind != MAPPING_INVALID && mapping.host))
			out->clusters_allocated++;
	}
}

/* No more tables than the file has room for: an image that names more is damaged, and not worth the reading. */
static int count_clusters(struct qcow2 *q, struct block_description *out)
{
	uint64_t tables = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < q->header.l1_size; i++) {
		uint64_t offset = q->l1[i] & OFFSET_MASK;
		struct table *table;

		if (!offset)
			continue;
		if (offset & (q->cluster_size - 1) || ++tables > q->end) {
			out->corrupt = true;
			return 0;
		}
		r = qcow2_load(q, &q->l2_cache, offset, &table);
		if (r == 0)
			count_entries(q, table, out);
	}
	return r;
}

static int describe_qcow2(struct store *store, struct block_description *out, struct error *e)
{
	struct image *image;
	struct qcow2 *q;
	int r = qcow2_new(&q, store, true, e);

	if (r < 0)
		return r;
	image = &q->image;
	out->size = image->size;
	out->cluster_size = q->cluster_size;
	out->version = q->header.version;
	memcpy(out->backing, q->header.backing, sizeof out->backing);
	out->backing_format = q->header.backing_format;
	out->compression = q->header.compression;
	out->snapshots = q->header.snapshot_count;
	out->dirty = (q->header.incompatible & QCOW2_DIRTY) != 0;
	out->corrupt = (q->header.incompatible & QCOW2_CORRUPT) != 0;
	r = count_clusters(q, out);
	if (r < 0)
		error_errno(e, r, "cannot read '%s'", store->path);
	if (image->ops->close(image, NULL) < 0 && r == 0)
		r = -EIO;
	return r;
}

static int describe_raw(struct store *store, struct block_description *out, struct error *e)
{
	int r = store_size(store, &out->size);

	return r < 0 ? error_errno(e, r, "cannot read '%s'", store->path) : 0;
}

int block_describe(const char *path, enum block_format format, struct block_description *out, struct error *e)
{
	struct block_description description = {.format = format};
	struct store *store = NULL;
	int r = open_find_format(path, true, &description.format, e);

	if (r == 0)
		r = store_open(&store, path, STORE_READ_ONLY, false, e);
	if (r < 0)
		return r;
	description.file_bytes = store_room(store);
	if (description.format == BLOCK_QCOW2)
		r = describe_qcow2(store, &description, e);
	else
		r = describe_raw(store, &description, e);
	store_close(store);
	if (r == 0)
		*out = description;
	return r;
}

static int check_store(struct store *store, bool repair, struct block_check_result *out, struct error *e)
{
	struct block_check_result result;
	struct qcow2 *q;
	int r = qcow2_new(&q, store, !repair, e), closed;

	if (r < 0)
		return r;
	r = qcow2_check(q, repair, &result, e);
	closed = q->image.ops->close(&q->image, r < 0 ? NULL : e);
	if (r == 0)
		r = closed;
	if (r == 0)
		*out = result;
	return r;
}

int block_check(const char *path, enum block_format format, bool repair, struct block_check_result *out,
		struct error *e)
{
	struct store *store = NULL;
	int r = open_find_format(path, true, &format, e);

	if (r == 0)
		r = store_open(&store, path, repair ? STORE_WRITABLE : STORE_READ_ONLY, false, e);
	if (r < 0)
		return r;
	r = lock_take(store, repair ? LOCK_WRITER : LOCK_READER, e);
	/* A raw image has nothing that could be wrong. */
	if (r == 0 && format == BLOCK_RAW)
		*out = (struct block_check_result){0};
	else if (r == 0)
		r = check_store(store, repair, out, e);
	store_close(store);
	return r;
}
