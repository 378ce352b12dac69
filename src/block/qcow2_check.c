#include "block/qcow2_check.h"

#include <errno.h>
#include <stdlib.h>

#include "block/qcow2.h"
#include "block/qcow2_count.h"
#include "block/qcow2_open.h"

struct check {
	struct qcow2 *q;
	struct reference_count count;
	uint64_t leaked, too_low, bad_blocks, wrong_flags;
};

static uint32_t counted(const struct check *check, uint64_t cluster)
{
	return cluster < check->count.clusters ? check->count.counts[cluster] : 0;
}

typedef int compare_fn(struct check *check, uint64_t cluster, uint64_t stored, uint32_t counted);

static int tell_difference(struct check *check, uint64_t cluster, uint64_t stored, uint32_t wanted)
{
	(void)cluster;
	if (stored > wanted)
		check->leaked++;
	else
		check->too_low++;
	return 0;
}

static int lower(struct check *check, uint64_t cluster, uint64_t stored, uint32_t wanted)
{
	return stored > wanted ? qcow2_refcount_set(check->q, cluster, wanted) : 0;
}

/* Calls `differs` where the block says something else than was counted. */
static int compare_block(struct check *check, uint64_t index, compare_fn *differs)
{
	struct qcow2 *q = check->q;
	uint64_t per_block = (uint64_t)1 << q->block_bits, first = index << q->block_bits;
	uint64_t offset = index < q->reftable_entries ? q->reftable[index] & REFTABLE_MASK : 0;
	struct table *block = NULL;
	int r = 0;

	if (offset &&
	    (!count_is_place(&check->count, offset) || check->count.counts[offset >> q->cluster_bits] != 1)) {
		check->bad_blocks++;
		return 0;
	}
	for (uint64_t i = 0; r == 0 && i < per_block; i++) {
		uint32_t wanted = counted(check, first + i);
		uint64_t stored = 0;

		/* Nothing is counted from here on, here or there. */
		if (!offset && first + i >= check->count.clusters)
			break;
		if (offset)
			r = qcow2_load(q, &q->block_cache, offset, &block);
		if (r == 0 && block)
			stored = refcount_in(block->bytes, q->header.refcount_order, i);
		if (r == 0 && stored != wanted)
			r = differs(check, first + i, stored, wanted);
	}
	return r;
}

static int compare(struct check *check, compare_fn *differs)
{
	struct qcow2 *q = check->q;
	uint64_t blocks = (check->count.clusters >> q->block_bits) + 1;
	int r = 0;

	if (blocks < q->reftable_entries)
		blocks = q->reftable_entries;
	for (uint64_t i = 0; r == 0 && i < blocks; i++)
		r = compare_block(check, i, differs);
	return r;
}

static bool flag_is_wrong(const struct check *check, uint64_t entry, uint64_t offset)
{
	bool copied = (entry & L2_COPIED) != 0;

	return offset >> check->q->cluster_bits < check->count.clusters && offset &&
	       copied != (counted(check, offset >> check->q->cluster_bits) == 1);
}

static int check_l2_flags(struct check *check, uint64_t offset, bool repair)
{
	struct qcow2 *q = check->q;
	struct table *table;
	int r = qcow2_load(q, &q->l2_cache, offset, &table);

	for (uint64_t i = 0; r == 0 && i < (uint64_t)1 << q->l2_bits; i++) {
		uint64_t entry = qcow2_l2_get(table, i);
		struct mapping mapping = qcow2_decode(q, entry);

		if (mapping.kind == MAPPING_COMPRESSED || mapping.kind == MAPPING_INVALID ||
		    !flag_is_wrong(check, entry, mapping.host))
			continue;
		check->wrong_flags++;
		if (!repair)
			continue;
		be64_set(table->bytes + i * 8, entry ^ L2_COPIED);
		table_dirty(table, (uint32_t)i * 8, (uint32_t)i * 8 + 8);
		atomic_store(&q->dirty, true);
	}
	return r;
}

/* "May be written in place" of the active tables. Each L2 table is looked at once: l2 is spent on that. */
static int check_flags(struct check *check, bool repair)
{
	struct qcow2 *q = check->q;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < q->header.l1_size; i++) {
		uint64_t offset = q->l1[i] & OFFSET_MASK;

		if (!offset || !count_is_place(&check->count, offset))
			continue;
		if (flag_is_wrong(check, q->l1[i], offset)) {
			check->wrong_flags++;
			if (repair) {
				q->l1[i] ^= L2_COPIED;
				qcow2_l1_dirty(q, i);
			}
		}
		if (check->count.l2[offset >> q->cluster_bits]) {
			check->count.l2[offset >> q->cluster_bits] = 0;
			r = check_l2_flags(check, offset, repair);
		}
	}
	return r;
}

/* Counts and compares; `check` is to be finished in any case. */
static int look(struct check *check, bool repair_flags, struct error *e)
{
	int r = count_init(&check->count, check->q, e);

	if (r < 0)
		return r;
	check->leaked = check->too_low = check->bad_blocks = check->wrong_flags = 0;
	r = count_references(&check->count);
	if (r == 0) {
		count_refcount_blocks(&check->count);
		r = compare(check, tell_difference);
	}
	if (r == 0)
		r = check_flags(check, repair_flags);
	return r < 0 ? error_errno(e, r, "cannot check '%s'", check->q->image.store->path) : 0;
}

static uint64_t corruptions(const struct check *check)
{
	return check->too_low + check->bad_blocks + check->wrong_flags + check->count.impossible;
}

/* Refcounts that are too low can not be mended in place: raising one may take a new block, and where would be
 * room for that? So all are written anew behind everything that is in use. */
static int rebuild(struct check *check, struct error *e)
{
	int r;

	count_finish(&check->count);
	r = count_init(&check->count, check->q, e);
	if (r < 0)
		return r;
	r = count_references(&check->count);
	if (r < 0)
		return error_errno(e, r, "cannot check '%s'", check->q->image.store->path);
	return qcow2_rebuild_refcounts(check->q, check->count.counts, check->count.clusters, e);
}

static int mend(struct check *check, struct error *e)
{
	struct qcow2 *q = check->q;
	int r;

	if (check->too_low || check->bad_blocks)
		r = rebuild(check, e);
	else
		r = compare(check, lower);
	if (r < 0)
		return r;
	q->free_hint = 0;
	count_finish(&check->count);
	/* The flags follow from the counts as they are now. */
	r = look(check, true, e);
	if (r < 0)
		return r;
	r = qcow2_write_back(q);
	if (r == 0 && q->header.version >= 3 && check->too_low + check->bad_blocks + check->count.impossible == 0)
		r = qcow2_put_incompatible(q, q->header.incompatible & ~(QCOW2_DIRTY | QCOW2_CORRUPT));
	return r < 0 ? error_errno(e, r, "cannot repair '%s'", q->image.store->path) : 0;
}

static int check_and_mend(struct check *check, bool repair, struct block_check_result *out, struct error *e)
{
	uint64_t found;
	int r = look(check, false, e);

	if (r < 0)
		return r;
	*out = (struct block_check_result){.leaked_clusters = check->leaked, .corruptions = corruptions(check)};
	if (!repair)
		return 0;
	found = out->leaked_clusters + out->corruptions;
	atomic_store(&check->q->broken, false);
	r = mend(check, e);
	if (r < 0)
		return r;
	/* Wrong flags were put right as they were found. */
	out->leaked_clusters = check->leaked;
	out->corruptions = corruptions(check) - check->wrong_flags;
	out->repaired = found - out->leaked_clusters - out->corruptions;
	return 0;
}

int qcow2_check(struct qcow2 *q, bool repair, struct block_check_result *out, struct error *e)
{
	struct check check = {.q = q};
	int r = check_and_mend(&check, repair, out, e);

	count_finish(&check.count);
	return r;
}
