#include "block/qcow2_create.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_header.h"

#define REFCOUNT_ORDER 4 /* 16 bits */

/* Clusters in the order of the file: header, refcount table, refcount blocks, L1 table. */
struct layout {
	uint64_t reftable_clusters, blocks, l1_clusters, l1_entries, all;
};

static uint64_t divide_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

/* A table that has room for all of the disk's clusters when they are all in use, within reason. */
static void plan(const struct qcow2_header *header, struct layout *layout)
{
	uint64_t cluster = (uint64_t)1 << header->cluster_bits, per_block = cluster / 2, data;

	layout->l1_entries = qcow2_l1_needed(header->size, header->cluster_bits);
	layout->l1_clusters = divide_up(layout->l1_entries * 8, cluster);
	if (layout->l1_clusters == 0)
		layout->l1_clusters = 1;
	data = divide_up(header->size, cluster) + layout->l1_entries;
	layout->reftable_clusters = divide_up(divide_up(data, per_block) + 2, cluster / 8);
	if (layout->reftable_clusters * cluster > MIB)
		layout->reftable_clusters = MIB > cluster ? MIB / cluster : 1;
	layout->blocks = 0;
	do {
		layout->blocks++;
		layout->all = 1 + layout->reftable_clusters + layout->blocks + layout->l1_clusters;
	} while (layout->blocks * per_block < layout->all);
}

static int put(struct store *store, uint64_t offset, const uint8_t *bytes, size_t size)
{
	return store_write(store, offset, bytes, size);
}

static int put_refcounts(struct store *store, const struct layout *layout, uint32_t cluster)
{
	uint8_t *bytes = calloc(layout->reftable_clusters + layout->blocks, cluster);
	uint8_t *blocks = bytes ? bytes + layout->reftable_clusters * cluster : NULL;
	int r;

	if (!bytes)
		return -ENOMEM;
	for (uint64_t i = 0; i < layout->blocks; i++)
		be64_set(bytes + i * 8, (1 + layout->reftable_clusters + i) * cluster);
	for (uint64_t i = 0; i < layout->all; i++)
		blocks[i * 2 + 1] = 1;
	r = put(store, cluster, bytes, (layout->reftable_clusters + layout->blocks) * cluster);
	free(bytes);
	return r;
}

static int put_header(struct store *store, struct qcow2_header *header, const struct layout *layout,
		      uint32_t cluster)
{
	uint8_t *bytes = calloc(1, cluster);
	int r;

	if (!bytes)
		return -ENOMEM;
	header->refcount_order = REFCOUNT_ORDER;
	header->reftable_offset = cluster;
	header->reftable_clusters = (uint32_t)layout->reftable_clusters;
	header->l1_size = (uint32_t)layout->l1_entries;
	header->l1_offset = (1 + layout->reftable_clusters + layout->blocks) * cluster;
	r = qcow2_header_make(header, bytes, cluster);
	if (r == 0)
		r = put(store, 0, bytes, cluster);
	free(bytes);
	return r;
}

static int check(const struct block_create_options *options, struct qcow2_header *header, struct error *e)
{
	uint64_t cluster = options->cluster_size ? options->cluster_size : 64 * KIB;

	if (cluster < 512 || cluster > 2 * MIB || cluster & (cluster - 1))
		return error_set(e, ERROR_USAGE, -EINVAL, "clusters have 512 bytes to 2 MiB, a power of two");
	header->cluster_bits = (uint32_t)__builtin_ctzll(cluster);
	if (qcow2_l1_needed(header->size, header->cluster_bits) == UINT64_MAX)
		return error_set(e, ERROR_USAGE, -EFBIG,
				 "the disk is too large for clusters of %u bytes; give larger ones",
				 (unsigned)cluster);
	if (options->backing && strlen(options->backing) > QCOW2_BACKING_MAX)
		return error_set(e, ERROR_USAGE, -ENAMETOOLONG,
				 "the name of the backing file has more than %d bytes", QCOW2_BACKING_MAX);
	return 0;
}

int qcow2_create(struct store *store, const struct block_create_options *options, uint64_t size, struct error *e)
{
	struct qcow2_header header = {.size = size, .compression = options->compression};
	struct layout layout;
	uint32_t cluster;
	int r = check(options, &header, e);

	if (r < 0)
		return r;
	if (options->backing) {
		strcpy(header.backing, options->backing);
		header.backing_format = options->backing_format;
	}
	plan(&header, &layout);
	cluster = (uint32_t)1 << header.cluster_bits;
	r = put_refcounts(store, &layout, cluster);
	if (r == 0)
		r = store_resize(store, layout.all * cluster);
	/* The header last: before it is there this is no image. */
	if (r == 0)
		r = put_header(store, &header, &layout, cluster);
	if (r == -EINVAL)
		return error_set(e, ERROR_USAGE, r,
				 "the name of the backing file is too long for clusters of %u bytes",
				 (unsigned)cluster);
	return r < 0 ? error_errno(e, r, "cannot write '%s'", store->path) : 0;
}
