/*
 * Making an empty qcow2 image.
 */
#ifndef DOPPEL_BLOCK_QCOW2_CREATE_H
#define DOPPEL_BLOCK_QCOW2_CREATE_H

#include "block/block.h"
#include "block/store.h"

/* In an empty file; `size` in bytes counts, not that of the options. Not synced. */
MUST_USE int qcow2_create(struct store *store, const struct block_create_options *options, uint64_t size,
			  struct error *e);

#endif
