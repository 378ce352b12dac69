/*
 * Opening qcow2 images and reading their tables; for the rest of src/block.
 */
#ifndef DOPPEL_BLOCK_QCOW2_OPEN_H
#define DOPPEL_BLOCK_QCOW2_OPEN_H

#include "block/image.h"
#include "block/qcow2_header.h"

struct qcow2;

/* The store belongs to the image on success, as does options->backing. */
MUST_USE int qcow2_open(struct image **out, struct store *store, const struct image_options *options,
			struct error *e);
/* The image without its backing, whatever state it is in: for a check. The store stays the caller's on failure. */
MUST_USE int qcow2_new(struct qcow2 **out, struct store *store, bool read_only, struct error *e);
MUST_USE int qcow2_read_header(struct store *store, struct qcow2_header *out, struct error *e);
/* A table of 64-bit numbers, the caller's to free(). */
MUST_USE int qcow2_read_numbers(struct store *store, uint64_t offset, uint64_t count, uint64_t **out);
/* Writes the incompatible feature bits, when they differ. */
MUST_USE int qcow2_put_incompatible(struct qcow2 *q, uint64_t bits);

#endif
