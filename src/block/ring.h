/*
 * The io_uring of an io.h engine: operations in, results out on the loop.
 *
 * Thread: the loop's, but for new and free.
 */
#ifndef DOPPEL_BLOCK_RING_H
#define DOPPEL_BLOCK_RING_H

#include "block/io.h"

struct ring;

/* `complete` is called once for each operation with the kernel's result: bytes, or a negative errno. */
typedef void ring_complete_fn(struct io *io, struct io_op *op, int result);

/* -ENOSYS, -EPERM, ...: not on this host. */
MUST_USE int ring_new(struct ring **out, struct io *io, struct loop *loop, ring_complete_fn *complete);
void ring_free(struct ring *ring);
/* Prepares; the next ring_enter hands it over. `pieces` stay until completion. */
void ring_add(struct ring *ring, struct io_op *op, int fd, const struct iovec *pieces, unsigned count);
/* Hands over what was added and completes what is done at once. */
void ring_enter(struct ring *ring);

#endif
