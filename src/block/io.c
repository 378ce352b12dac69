#include "block/io.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "block/ring.h"

#define JOB_THREADS 8  /* beside a ring */
#define IO_THREADS  16 /* instead of one */

struct io {
	struct ring *ring; /* NULL: threads */
	struct pool *pool;
	unsigned batches;
};

static int run_blocking(void *arg)
{
	struct io_op *op = arg;

	switch (op->kind) {
	case IO_READ:
		return store_read_spans(op->store, op->offset, op->spans, op->length);
	case IO_WRITE:
		return store_write_spans(op->store, op->offset, op->spans, op->length);
	case IO_SYNC:
		return store_sync(op->store);
	}
	return -EINVAL;
}

static void blocking_done(void *arg, int result)
{
	struct io_op *op = arg;

	op->done(op, result);
}

static void submit_blocking(struct io *io, struct io_op *op)
{
	op->job = (struct pool_job){.run = run_blocking, .done = blocking_done, .arg = op};
	pool_submit(io->pool, &op->job);
}

/* Part was done, or the kernel could not go on at once: the rest is for a thread. */
static void finish_blocking(struct io *io, struct io_op *op, uint64_t done)
{
	op->offset += done;
	op->length -= done;
	op->spans = spans_after(op->spans, done);
	submit_blocking(io, op);
}

static void complete(struct io *io, struct io_op *op, int result)
{
	free(op->pieces);
	op->pieces = NULL;
	if (op->kind == IO_SYNC) {
		if (result == -EAGAIN || result == -EINTR)
			submit_blocking(io, op);
		else
			op->done(op, store_count_sync(op->store, op->covered, result < 0 ? result : 0));
		return;
	}
	if (result == -EAGAIN || result == -EINTR || (result >= 0 && (uint64_t)result < op->length)) {
		finish_blocking(io, op, result < 0 ? 0 : (uint64_t)result);
		return;
	}
	if (op->kind == IO_WRITE)
		store_count_write(op->store);
	op->done(op, result < 0 ? result : 0);
}

int io_new(struct io **out, enum block_engine engine, struct loop *loop, struct error *e)
{
	struct io *io = calloc(1, sizeof *io);
	int r = io ? 0 : -ENOMEM;

	if (io && engine != BLOCK_ENGINE_THREADS && !store_has_hook())
		r = ring_new(&io->ring, io, loop, complete);
	if (r < 0 && engine == BLOCK_ENGINE_AUTO && io)
		r = 0;
	if (r < 0) {
		free(io);
		return error_errno(e, r, "io_uring is not to be had on this host");
	}
	r = pool_new(&io->pool, loop, io->ring ? JOB_THREADS : IO_THREADS, e);
	if (r < 0) {
		ring_free(io->ring);
		free(io);
		return r;
	}
	*out = io;
	return 0;
}

void io_free(struct io *io)
{
	if (!io)
		return;
	pool_free(io->pool);
	ring_free(io->ring);
	free(io);
}

/* The pieces for the kernel: the caller's list where that is just right, else one made for this operation. */
static int make_pieces(struct io_op *op, const struct iovec **pieces, unsigned *count)
{
	uint64_t covered;

	*pieces = op->spans.list;
	*count = op->spans.count;
	if (op->spans.skip == 0 && spans_length(*pieces, *count) == op->length)
		return 0;
	op->pieces = malloc(op->spans.count * sizeof *op->pieces);
	if (!op->pieces)
		return -ENOMEM;
	*count = spans_take(op->spans, op->length, op->pieces, op->spans.count, &covered);
	*pieces = op->pieces;
	return 0;
}

static int store_fd_for(const struct io_op *op)
{
	const struct store *store = op->store;

	if (store->direct_fd >= 0 && op->kind != IO_SYNC &&
	    ((op->offset | op->length) & (STORE_DIRECT_ALIGNMENT - 1)) == 0 &&
	    spans_aligned(op->spans, op->length, STORE_DIRECT_ALIGNMENT))
		return store->direct_fd;
	return store->fd;
}

void io_submit(struct io *io, struct io_op *op)
{
	const struct iovec *pieces = NULL;
	unsigned count = 0;

	op->io = io;
	op->pieces = NULL;
	if (op->kind != IO_SYNC && !store_is_whole(op->store, op->offset + op->length)) {
		op->done(op, -ESTALE);
		return;
	}
	if (!io->ring || op->spans.count > IOV_MAX || op->length > INT_MAX) {
		submit_blocking(io, op);
		return;
	}
	if (op->kind == IO_SYNC) {
		op->covered = atomic_load(&op->store->writes);
		if (op->covered == atomic_load(&op->store->synced) || atomic_load(&op->store->failure)) {
			op->done(op, atomic_load(&op->store->failure));
			return;
		}
	} else if (make_pieces(op, &pieces, &count) < 0) {
		op->done(op, -ENOMEM);
		return;
	}
	ring_add(io->ring, op, store_fd_for(op), pieces, count);
	if (io->batches == 0)
		ring_enter(io->ring);
}

void io_job(struct io *io, struct pool_job *job)
{
	pool_submit(io->pool, job);
}

void io_begin(struct io *io)
{
	io->batches++;
}

void io_commit(struct io *io)
{
	if (--io->batches == 0 && io->ring)
		ring_enter(io->ring);
}

bool io_has_ring(const struct io *io)
{
	return io->ring != NULL;
}
