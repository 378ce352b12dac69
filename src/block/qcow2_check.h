/*
 * Checking and mending the metadata of a qcow2 image.
 *
 * Every reference to a cluster is counted and compared with the refcounts in the file: counted too high there is a
 * leak, too low a corruption, as the cluster could be given away while in use. Work and memory are bounded by the
 * size of the file.
 */
#ifndef DOPPEL_BLOCK_QCOW2_CHECK_H
#define DOPPEL_BLOCK_QCOW2_CHECK_H

#include "block/block.h"

struct qcow2;

/* `repair`: the image is writable and nobody uses it meanwhile. */
MUST_USE int qcow2_check(struct qcow2 *q, bool repair, struct block_check_result *out, struct error *e);

#endif
