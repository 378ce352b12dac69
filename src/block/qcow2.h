/*
 * qcow2 images (QEMU docs/interop/qcow2.txt), the parts of one module; nobody outside of qcow2_*.c includes this.
 *
 * Locks. `work` is held by whoever changes metadata or loads it, also across the I/O that this takes. `lock` is
 * held for the moments in which what a lookup reads changes (L1, the cache of L2 tables, who is in flight), and by
 * lookups: so the loop's thread, which takes only `lock`, never waits for I/O. Who holds `work` may read all of it
 * without `lock`.
 *
 * Order on disk. Metadata is changed in memory and written by qcow2_write_back, on a flush, at close, or when a
 * cache is full:
 *   1. refcounts, and L2 tables that no L1 entry on disk points to yet; sync, which covers the data of guests too
 *   2. other L2 tables and the L1 table; sync
 *   3. only then refcounts of clusters that lost a reference may go down (qcow2_release.c). Whatever of this is
 *   missing after a crash, each reference on disk is to a cluster that is counted and holds what it should; at
 *   worst clusters are counted that nobody refers to.
 */
#ifndef DOPPEL_BLOCK_QCOW2_H
#define DOPPEL_BLOCK_QCOW2_H

#include <pthread.h>
#include <stdatomic.h>

#include "block/image.h"
#include "block/qcow2_header.h"

#define L2_COPIED     ((uint64_t)1 << 63) /* in L1 and L2: refcount is one, may be written in place */
#define L2_COMPRESSED ((uint64_t)1 << 62)
#define L2_ZERO       ((uint64_t)1 << 0)
#define OFFSET_MASK   UINT64_C(0x00fffffffffffe00)
#define REFTABLE_MASK UINT64_C(0xfffffffffffffe00)

/* A table of one cluster: an L2 table or a refcount block. */
struct table {
	uint64_t offset;               /* in the file */
	struct table *next;            /* of the same hash */
	atomic_bool used;              /* since the clock's hand came by */
	bool fresh;                    /* L2: no L1 entry on disk points here */
	uint32_t dirty_from, dirty_to; /* bytes to be written; empty: none */
	uint8_t *bytes;
};

struct cache {
	struct table **slots, **buckets;
	unsigned count, max, hand, bucket_mask;
	size_t table_bytes;
};

/* Clusters that lost a reference: one each. */
struct released {
	uint64_t first, count;
};

struct release_list {
	struct released *runs;
	size_t count, room;
	uint64_t epoch; /* when they were synced */
};

/* Guest clusters whose mapping somebody is about to change. */
struct busy {
	uint64_t first, count;
	struct busy *next;
};

#define INFLATED_SLOTS 4

struct inflated {
	uint64_t entry; /* L2 entry it came from; 0: none */
	uint8_t *bytes;
};

struct qcow2 {
	struct image image;
	struct qcow2_header header;
	uint32_t cluster_bits, cluster_size;
	uint32_t l2_bits; /* entries of an L2 table, as a power of two; likewise for a refcount block: */
	uint32_t block_bits;
	uint64_t *l1; /* host byte order, as on disk otherwise */
	uint64_t *reftable;
	uint64_t reftable_entries;

	pthread_mutex_t work, lock;
	pthread_cond_t calm; /* with `work`: a busy range ended */
	struct busy *busy;
	struct cache l2_cache, block_cache;
	uint32_t l1_dirty_from, l1_dirty_to; /* entries */
	atomic_bool dirty;                   /* there is something for write_back to do */
	atomic_bool broken;                  /* metadata contradicts itself: no more writes */
	uint64_t free_hint;                  /* no cluster below is free */
	_Atomic uint64_t end;   /* clusters from here on were never part of the file: they read as zeroes */
	uint64_t compressed_at; /* where the next compressed cluster may begin, or 0 */

	struct release_list unlinked, synced; /* see qcow2_release.c */
	uint64_t epoch;
	unsigned in_flight[2]; /* by epoch's lowest bit */

	pthread_mutex_t inflated_lock;
	struct inflated inflated[INFLATED_SLOTS];
	unsigned inflated_turn;
};

enum mapping_kind { MAPPING_ABSENT, MAPPING_ZERO, MAPPING_DATA, MAPPING_COMPRESSED, MAPPING_INVALID };

/* What an L2 entry says. */
struct mapping {
	enum mapping_kind kind;
	bool copied;
	uint64_t entry;
	uint64_t host; /* DATA, and a ZERO that keeps its cluster; of COMPRESSED the first byte; or 0 */
	uint32_t compressed_bytes; /* at most: up to the end of its last sector */
};

static inline struct qcow2 *qcow2_of(struct image *image)
{
	return (struct qcow2 *)image;
}

static inline uint64_t qcow2_l2_span_bits(const struct qcow2 *q)
{
	return q->cluster_bits + q->l2_bits;
}

/* qcow2_cache.c. With `work`; tables stay where they are until the next call for the same cache. */
MUST_USE int tables_init(struct cache *cache, size_t table_bytes, size_t bytes_max);
void tables_finish(struct cache *cache);
/* NULL: not there. With `lock` or `work`. */
struct table *tables_find(struct cache *cache, uint64_t offset);
MUST_USE int qcow2_load(struct qcow2 *q, struct cache *cache, uint64_t offset, struct table **out);
/* A table that is not in the file yet: with these contents, or zeroes. All of it is to be written. */
MUST_USE int qcow2_load_fresh(struct qcow2 *q, struct cache *cache, uint64_t offset, const uint8_t *contents,
			      struct table **out);
void table_dirty(struct table *table, uint32_t from, uint32_t to);
/* What was cached of these clusters is forgotten: they are no tables any more. */
void qcow2_forget(struct qcow2 *q, struct cache *cache, uint64_t offset);
/* Writes what is to be written of one table. */
MUST_USE int qcow2_write_table(struct qcow2 *q, struct table *table);

/* qcow2_refcount.c. With `work`. */
MUST_USE int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count);
/* Makes the refcount block when there is none. -ERANGE: more than the width holds. */
MUST_USE int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);
uint64_t refcount_in(const uint8_t *block, uint32_t order, uint64_t index);
/* Free clusters in a row, counted once from now on: up to `want` of them, at least one. *blank: they read as
 * zeroes. */
MUST_USE int qcow2_allocate(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *count, bool *blank);
/* As many as wanted, in a row. */
MUST_USE int qcow2_allocate_all(struct qcow2 *q, uint64_t want, uint64_t *first);
/* Takes back an allocation that nothing refers to, on disk or in memory. */
void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count);

/* qcow2_reftable.c. With `work`. Makes refcount block number `index`, and room for it in the table. */
MUST_USE int qcow2_make_block(struct qcow2 *q, uint64_t index);
/* Replaces all refcounts by `counts` (of clusters 0 to `clusters`), in blocks and a table written at `first`
 * and after. */
MUST_USE int qcow2_rebuild_refcounts(struct qcow2 *q, const uint32_t *counts, uint64_t clusters, struct error *e);

/* qcow2_release.c */
unsigned qcow2_enter(struct image *image);
void qcow2_leave(struct image *image, unsigned ticket);
/* With `work`. These clusters lost a reference, in memory. */
void qcow2_release(struct qcow2 *q, uint64_t first, uint64_t count);
/* With `work`. There are so many that they should be written back. */
bool qcow2_release_is_due(const struct qcow2 *q);
/* With `work`. The reference is gone on disk too. */
void qcow2_release_synced(struct qcow2 *q);
/* With `work`. Refcounts go down of what nobody can use any more; `all`: nothing is in flight. */
void qcow2_release_apply(struct qcow2 *q, bool all);
void release_list_finish(struct release_list *list);

/* qcow2_map.c */
struct mapping qcow2_decode(const struct qcow2 *q, uint64_t entry);
void qcow2_lookup(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out);
int qcow2_map(struct image *image, uint64_t offset, uint64_t length, struct extent *out);
/* The L2 entry of `offset`, loading its table. Takes `work`. */
MUST_USE int qcow2_entry(struct qcow2 *q, uint64_t offset, uint64_t *entry);
/* With `work`. The table for `offset`: NULL when L1 has none. */
MUST_USE int qcow2_l2(struct qcow2 *q, uint64_t offset, struct table **out);
/* With `work`. The same, made when absent, and owned by this L1 alone. */
MUST_USE int qcow2_l2_own(struct qcow2 *q, uint64_t offset, struct table **out);
uint64_t qcow2_l2_get(const struct table *table, uint64_t index);
/* With `work`. Writes an entry and releases what the old one referred to. */
void qcow2_l2_set(struct qcow2 *q, struct table *table, uint64_t index, uint64_t entry);
static inline uint64_t qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
	return (offset >> q->cluster_bits) & (((uint64_t)1 << q->l2_bits) - 1);
}
/* Metadata was found to contradict itself: tells it once, marks the image and stops writes. Returns -EIO. */
int qcow2_break(struct qcow2 *q, const char *what);
/* Whether these bytes of the file lie in its end: what an entry names behind it was never allocated. */
bool qcow2_is_inside(const struct qcow2 *q, uint64_t offset, uint64_t length);
/* Whether host bytes hold the header or a table that is known without looking. */
bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset, uint64_t length);

/* qcow2_io.c */
int qcow2_read(struct image *image, uint64_t offset, struct spans spans, uint64_t length);
int qcow2_write(struct image *image, uint64_t offset, struct spans spans, uint64_t length);
/* With `work`: waits until nobody is about to change these guest clusters. */
void qcow2_wait_calm(struct qcow2 *q, uint64_t first, uint64_t count);
/* Links all clusters to room in the file, without writing it. */
MUST_USE int qcow2_preallocate(struct qcow2 *q);

/* qcow2_zero.c */
int qcow2_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap);
int qcow2_discard(struct image *image, uint64_t offset, uint64_t length);

/* qcow2_compress.c */
MUST_USE int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint32_t from, struct spans spans, uint32_t length);
/* A whole cluster, absent before, at `offset`. Nobody else writes meanwhile. */
MUST_USE int qcow2_write_compressed(struct image *image, uint64_t offset, const uint8_t *bytes);

/* qcow2_flush.c */
/* With `work`. */
MUST_USE int qcow2_write_back(struct qcow2 *q);
int qcow2_flush(struct image *image);
bool qcow2_needs_flush(struct image *image);
void qcow2_l1_dirty(struct qcow2 *q, uint64_t index);

/* qcow2_resize.c */
int qcow2_resize(struct image *image, uint64_t size, bool shrink, struct error *e);

/* qcow2_open.c */
/* Changes bytes of the header in place; synced before and after. */
MUST_USE int qcow2_header_put(struct qcow2 *q, uint32_t at, const uint8_t *bytes, size_t size);

#endif
