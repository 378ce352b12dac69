/*
 * Counting the references to each cluster of a qcow2 image.
 */
#ifndef DOPPEL_BLOCK_QCOW2_COUNT_H
#define DOPPEL_BLOCK_QCOW2_COUNT_H

#include "block/qcow2.h"

#define COUNT_CLUSTERS_MAX (UINT64_C(1) << 28)

struct reference_count {
	struct qcow2 *q;
	uint64_t clusters;   /* of the file */
	uint32_t *counts;    /* of each cluster */
	uint32_t *l2;        /* how many L1 entries name it as an L2 table */
	uint64_t impossible; /* references that lead nowhere */
	uint64_t l1_bytes;   /* of all tables so far */
};

MUST_USE int count_init(struct reference_count *count, struct qcow2 *q, struct error *e);
void count_finish(struct reference_count *count);
/* All but the refcount table and its blocks. */
MUST_USE int count_references(struct reference_count *count);
/* Those. */
void count_refcount_blocks(struct reference_count *count);
/* Whether this is a place for a table of one cluster. */
bool count_is_place(const struct reference_count *count, uint64_t offset);

#endif
