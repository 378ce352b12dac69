#include "block/qcow2_count.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "block/qcow2_open.h"

#define SNAPSHOT_BYTES       40
#define SNAPSHOT_TABLE_MAX   (16 * MIB)
#define BITMAP_BYTES         24
#define BITMAP_DIRECTORY_MAX MIB
#define BITMAPS_MAX          65535

int count_init(struct reference_count *count, struct qcow2 *q, struct error *e)
{
	uint64_t size;
	int r = store_size(q->image.store, &size);

	*count = (struct reference_count){.q = q};
	count->clusters = (size >> q->cluster_bits) + ((size & (q->cluster_size - 1)) != 0);
	if (r == 0 && count->clusters > COUNT_CLUSTERS_MAX)
		r = -EFBIG;
	if (r < 0)
		return error_errno(e, r, "cannot check '%s'", q->image.store->path);
	count->counts = calloc(count->clusters + 1, sizeof *count->counts);
	count->l2 = calloc(count->clusters + 1, sizeof *count->l2);
	if (count->counts && count->l2)
		return 0;
	count_finish(count);
	return error_errno(e, -ENOMEM, "cannot check '%s'", q->image.store->path);
}

void count_finish(struct reference_count *count)
{
	free(count->counts);
	free(count->l2);
	count->counts = count->l2 = NULL;
}

static void add(uint32_t *to, uint32_t times)
{
	if (__builtin_add_overflow(*to, times, to))
		*to = UINT32_MAX;
}

static void refer(struct reference_count *count, uint64_t offset, uint64_t length, uint32_t times)
{
	unsigned bits = count->q->cluster_bits;
	uint64_t end;

	if (length == 0)
		return;
	if (!checked_add(offset, length - 1, &end) || end >> bits >= count->clusters) {
		count->impossible++;
		return;
	}
	for (uint64_t cluster = offset >> bits; cluster <= end >> bits; cluster++)
		add(&count->counts[cluster], times);
}

bool count_is_place(const struct reference_count *count, uint64_t offset)
{
	return offset && (offset & (count->q->cluster_size - 1)) == 0 &&
	       offset >> count->q->cluster_bits < count->clusters;
}

static void refer_l2(struct reference_count *count, uint64_t entry)
{
	uint64_t offset = entry & OFFSET_MASK;

	if (!offset)
		return;
	if (!count_is_place(count, offset)) {
		count->impossible++;
		return;
	}
	add(&count->counts[offset >> count->q->cluster_bits], 1);
	add(&count->l2[offset >> count->q->cluster_bits], 1);
}

/* Tables that do not overlap are no longer in all than the file. */
static bool too_many_tables(struct reference_count *count, uint64_t bytes)
{
	count->l1_bytes += bytes;
	return count->l1_bytes > (count->clusters << count->q->cluster_bits) + QCOW2_L1_BYTES_MAX;
}

/* A table of numbers in the file, and what each of them refers to. */
static int refer_table(struct reference_count *count, uint64_t offset, uint64_t entries,
		       void (*each)(struct reference_count *count, uint64_t number))
{
	uint64_t *numbers;
	int r;

	if (offset & (count->q->cluster_size - 1) || too_many_tables(count, entries * 8)) {
		count->impossible++;
		return 0;
	}
	refer(count, offset, entries * 8, 1);
	r = qcow2_read_numbers(count->q->image.store, offset, entries, &numbers);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < entries; i++)
		each(count, numbers[i]);
	free(numbers);
	return 0;
}

static int refer_l1(struct reference_count *count, uint64_t offset, uint64_t entries)
{
	if (entries * 8 > QCOW2_L1_BYTES_MAX) {
		count->impossible++;
		return 0;
	}
	return refer_table(count, offset, entries, refer_l2);
}

static int refer_snapshot(struct reference_count *count, const uint8_t *bytes, size_t size, size_t *at)
{
	const uint8_t *entry = bytes + *at;
	uint64_t length;

	if (size - *at < SNAPSHOT_BYTES)
		return -EINVAL;
	length = SNAPSHOT_BYTES + (uint64_t)be32_at(entry + 36) + be16_at(entry + 12) + be16_at(entry + 14);
	length = (length + 7) & ~(uint64_t)7;
	if (length > size - *at)
		return -EINVAL;
	*at += length;
	return refer_l1(count, be64_at(entry), be32_at(entry + 8));
}

static int refer_snapshots(struct reference_count *count)
{
	const struct qcow2_header *header = &count->q->header;
	uint64_t end = count->clusters << count->q->cluster_bits;
	size_t size = header->snapshot_offset < end ? end - header->snapshot_offset : 0, at = 0;
	uint8_t *bytes;
	int r;

	if (header->snapshot_count == 0)
		return 0;
	size = size < SNAPSHOT_TABLE_MAX ? size : SNAPSHOT_TABLE_MAX;
	bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	r = store_read(count->q->image.store, header->snapshot_offset, bytes, size);
	for (uint32_t i = 0; r == 0 && i < header->snapshot_count; i++)
		r = refer_snapshot(count, bytes, size, &at);
	free(bytes);
	if (r == -EINVAL) {
		count->impossible++;
		r = 0;
	}
	if (r == 0)
		refer(count, header->snapshot_offset, at, 1);
	return r;
}

static void refer_bits(struct reference_count *count, uint64_t number)
{
	if (number & OFFSET_MASK)
		refer(count, number & OFFSET_MASK, count->q->cluster_size, 1);
}

static int refer_bitmap_directory(struct reference_count *count, const uint8_t *bytes, uint64_t size)
{
	uint64_t at = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < count->q->header.bitmap_count; i++) {
		if (size - at < BITMAP_BYTES) {
			count->impossible++;
			return 0;
		}
		r = refer_table(count, be64_at(bytes + at), be32_at(bytes + at + 8), refer_bits);
		at += BITMAP_BYTES + (uint64_t)be32_at(bytes + at + 20) + be16_at(bytes + at + 18);
		at = (at + 7) & ~(uint64_t)7;
		if (at > size)
			at = size;
	}
	return r;
}

/* Bitmaps without the bit are out of date, and nobody's. */
static int refer_bitmaps(struct reference_count *count)
{
	const struct qcow2_header *header = &count->q->header;
	uint64_t size = header->bitmap_directory_bytes;
	uint8_t *bytes;
	int r;

	if (!(header->autoclear & QCOW2_AUTOCLEAR_BITMAPS) || header->bitmap_count == 0)
		return 0;
	if (size > BITMAP_DIRECTORY_MAX || header->bitmap_count > BITMAPS_MAX ||
	    !checked_span(header->bitmap_directory, size, INT64_MAX)) {
		count->impossible++;
		return 0;
	}
	refer(count, header->bitmap_directory, size, 1);
	bytes = malloc(size + 1);
	r = bytes ? store_read(count->q->image.store, header->bitmap_directory, bytes, size) : -ENOMEM;
	if (r == 0)
		r = refer_bitmap_directory(count, bytes, size);
	free(bytes);
	return r;
}

static void refer_entry(struct reference_count *count, uint64_t entry, uint32_t times)
{
	struct mapping mapping = qcow2_decode(count->q, entry);

	if (mapping.kind == MAPPING_INVALID)
		count->impossible++;
	else if (mapping.kind == MAPPING_COMPRESSED)
		/* The last sector may be cut short by the file's end, as its cluster is. */
		refer(count, mapping.host, mapping.compressed_bytes, times);
	else if (mapping.host)
		refer(count, mapping.host, count->q->cluster_size, times);
}

/* Each L2 table once, for all that name it. */
static int refer_l2_tables(struct reference_count *count)
{
	struct qcow2 *q = count->q;

	for (uint64_t cluster = 0; cluster < count->clusters; cluster++) {
		struct table *table;
		int r;

		if (!count->l2[cluster])
			continue;
		r = qcow2_load(q, &q->l2_cache, cluster << q->cluster_bits, &table);
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < (uint64_t)1 << q->l2_bits; i++)
			refer_entry(count, qcow2_l2_get(table, i), count->l2[cluster]);
	}
	return 0;
}

int count_references(struct reference_count *count)
{
	const struct qcow2_header *header = &count->q->header;
	int r;

	refer(count, 0, count->q->cluster_size, 1);
	r = refer_l1(count, header->l1_offset, header->l1_size);
	if (r == 0)
		r = refer_snapshots(count);
	if (r == 0)
		r = refer_bitmaps(count);
	return r == 0 ? refer_l2_tables(count) : r;
}

void count_refcount_blocks(struct reference_count *count)
{
	struct qcow2 *q = count->q;

	refer(count, q->header.reftable_offset, (uint64_t)q->header.reftable_clusters << q->cluster_bits, 1);
	for (uint64_t i = 0; i < q->reftable_entries; i++) {
		uint64_t offset = q->reftable[i] & REFTABLE_MASK;

		/* Impossible ones are told when they are compared. */
		if (offset && count_is_place(count, offset))
			refer(count, offset, q->cluster_size, 1);
	}
}
