/*
 * Asynchronous reads, writes and syncs of stores, and jobs that block, for one loop.
 *
 * Reads, writes and syncs go to the kernel through io_uring where that is allowed (some hosts forbid it by a
 * seccomp filter or by sysctl kernel.io_uring_disabled), else to a pool of threads. Jobs always run on the pool.
 *
 * Thread: the loop's, but for new and free: by the owner, before the first submit and after the last `done`.
 */
#ifndef DOPPEL_BLOCK_IO_H
#define DOPPEL_BLOCK_IO_H

#include "base/loop.h"
#include "block/block.h"
#include "block/pool.h"
#include "block/store.h"

enum io_kind { IO_READ, IO_WRITE, IO_SYNC };

/* Memory of the caller until `done`, which may come before submit returns. Reads beyond the file's end give
 * zeroes. */
struct io_op {
	enum io_kind kind;
	struct store *store;
	uint64_t offset, length;
	struct spans spans;
	void (*done)(struct io_op *op, int result);
	unsigned index; /* the caller's */
	/* The engine's. */
	struct io *io;
	uint64_t covered;
	struct iovec *pieces;
	struct pool_job job;
	struct io_op *next;
};

struct io;

/* -ENOSYS or -EPERM when BLOCK_ENGINE_URING is asked for and forbidden. */
MUST_USE int io_new(struct io **out, enum block_engine engine, struct loop *loop, struct error *e);
/* Accepts NULL. */
void io_free(struct io *io);
void io_submit(struct io *io, struct io_op *op);
void io_job(struct io *io, struct pool_job *job);
/* What is submitted between the two goes to the kernel in one call. They nest. */
void io_begin(struct io *io);
void io_commit(struct io *io);
/* Whether the ring is used. */
bool io_has_ring(const struct io *io);

#endif
