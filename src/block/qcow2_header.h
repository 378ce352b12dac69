/*
 * The header of a qcow2 image (QEMU docs/interop/qcow2.txt, "Header" and "Header extensions"): bytes to values and
 * back.
 *
 * Reading validates every field on which later code relies: tables are cluster-aligned, of bounded size, with no
 * sum that overflows; the virtual size is covered by the L1 table. Thread: any; pure functions.
 */
#ifndef DOPPEL_BLOCK_QCOW2_HEADER_H
#define DOPPEL_BLOCK_QCOW2_HEADER_H

#include "base/error.h"
#include "base/types.h"
#include "block/block.h"

#define QCOW2_FIXED_BYTES        112 /* of the header, with all that version 3 has so far */
#define QCOW2_BITS_MIN           9
#define QCOW2_BITS_MAX           21
#define QCOW2_BACKING_MAX        1023
#define QCOW2_L1_BYTES_MAX       (32 * MIB)
#define QCOW2_REFTABLE_BYTES_MAX (8 * MIB)
#define QCOW2_SNAPSHOTS_MAX      65536

/* Where fields are that are rewritten alone. */
#define QCOW2_AT_SIZE         24
#define QCOW2_AT_L1_SIZE      36
#define QCOW2_AT_L1_OFFSET    40
#define QCOW2_AT_REFTABLE     48
#define QCOW2_AT_INCOMPATIBLE 72
#define QCOW2_AT_AUTOCLEAR    88

#define QCOW2_DIRTY             ((uint64_t)1 << 0)
#define QCOW2_CORRUPT           ((uint64_t)1 << 1)
#define QCOW2_DATA_FILE         ((uint64_t)1 << 2)
#define QCOW2_COMPRESSION       ((uint64_t)1 << 3)
#define QCOW2_EXTENDED_L2       ((uint64_t)1 << 4)
#define QCOW2_AUTOCLEAR_BITMAPS ((uint64_t)1 << 0)

struct qcow2_header {
	uint32_t version; /* 2 or 3 */
	uint32_t cluster_bits;
	uint64_t size;
	uint64_t l1_offset;
	uint32_t l1_size; /* entries */
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint32_t snapshot_count;
	uint64_t snapshot_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order; /* a refcount has 1 << this bits */
	uint32_t length;
	enum block_compression compression;
	char backing[QCOW2_BACKING_MAX + 1]; /* "": none */
	enum block_format backing_format;    /* AUTO: not told */
	uint32_t bitmap_count;               /* of the bitmaps extension */
	uint64_t bitmap_directory, bitmap_directory_bytes;
};

/* The size of a cluster by the first bytes of an image, 0 when they are no qcow2 header: how much _parse wants. */
uint32_t qcow2_header_cluster_size(const uint8_t bytes[QCOW2_FIXED_BYTES]);
/* `bytes`: the image's first cluster, with zeroes beyond the end of the file. `path` is for messages. */
MUST_USE int qcow2_header_parse(struct qcow2_header *out, const uint8_t *bytes, size_t size, const char *path,
				struct error *e);
/* Fills the first cluster of a new image: version 3, with the backing's name and format. -EINVAL: it does not
 * fit. */
MUST_USE int qcow2_header_make(const struct qcow2_header *header, uint8_t *bytes, size_t size);
/* L1 entries that a disk of `size` bytes needs; UINT64_MAX when that is more than can be. */
uint64_t qcow2_l1_needed(uint64_t size, uint32_t cluster_bits);

uint16_t be16_at(const uint8_t *bytes);
uint32_t be32_at(const uint8_t *bytes);
uint64_t be64_at(const uint8_t *bytes);
void be32_set(uint8_t *bytes, uint32_t value);
void be64_set(uint8_t *bytes, uint64_t value);

#endif
