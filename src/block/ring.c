#include "block/ring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES 128 /* handed over at once; many more may be in flight */

struct ring {
	struct io_uring uring;
	struct io *io;
	struct loop *loop;
	struct loop_watch *watch;
	ring_complete_fn *complete;
	int event;
	unsigned added; /* not handed over yet */
	bool reaping;
};

/* A completion may submit, which comes back here: the outermost call does the work. */
static void reap(struct ring *ring)
{
	struct io_uring_cqe *cqe;

	if (ring->reaping)
		return;
	ring->reaping = true;
	while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
		struct io_op *op = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&ring->uring, cqe);
		ring->complete(ring->io, op, result);
	}
	ring->reaping = false;
}

static void on_event(void *arg, uint32_t events)
{
	struct ring *ring = arg;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(ring->event, &count);
	reap(ring);
	ring_enter(ring);
}

/* The library's functions for these operations are not in its shared form. */
static int control(const struct io_uring *uring, unsigned operation, const void *arg, unsigned count)
{
	return syscall(SYS_io_uring_register, uring->ring_fd, operation, arg, count) < 0 ? -errno : 0;
}

/* A ring does what a seccomp filter would forbid its thread to do: this one does no more than ring_add asks
 * for. */
static int restrict_operations(struct io_uring *uring)
{
	struct io_uring_restriction allowed[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
	};
	int r = control(uring, IORING_REGISTER_RESTRICTIONS, allowed, ARRAY_SIZE(allowed));

	return r < 0 ? r : control(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int set_up(struct ring *ring)
{
	struct io_uring_params parameters = {.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
					     .cq_entries = RING_ENTRIES * 16};
	int r = io_uring_queue_init_params(RING_ENTRIES, &ring->uring, &parameters);

	if (r < 0)
		return r;
	/* Without it completions could be lost when many are in flight; kernels that restrict rings (5.10) have
	 * it. */
	if (!(parameters.features & IORING_FEAT_NODROP))
		r = -ENOSYS;
	if (r == 0)
		r = io_uring_register_eventfd(&ring->uring, ring->event);
	if (r == 0)
		r = restrict_operations(&ring->uring);
	if (r == 0)
		r = loop_watch(ring->loop, ring->event, EPOLLIN, on_event, ring, &ring->watch, NULL);
	if (r < 0)
		io_uring_queue_exit(&ring->uring);
	return r;
}

int ring_new(struct ring **out, struct io *io, struct loop *loop, ring_complete_fn *complete)
{
	struct ring *ring = calloc(1, sizeof *ring);
	int r = 0;

	if (!ring)
		return -ENOMEM;
	ring->io = io;
	ring->loop = loop;
	ring->complete = complete;
	ring->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->event < 0)
		r = -errno;
	if (r == 0)
		r = set_up(ring);
	if (r < 0) {
		if (ring->event >= 0)
			close(ring->event);
		free(ring);
		return r;
	}
	*out = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	loop_unwatch(ring->loop, ring->watch);
	io_uring_queue_exit(&ring->uring);
	close(ring->event);
	free(ring);
}

/* The kernel takes what was added; an entry is free again at once. It can be busy (-EAGAIN, -EBUSY: out of
 * memory for requests, or completions wait to be taken): what has completed is taken and it is tried again. */
static void hand_over(struct ring *ring)
{
	while (ring->added) {
		int r = io_uring_submit(&ring->uring);

		if (r > 0)
			ring->added -= (unsigned)r < ring->added ? (unsigned)r : ring->added;
		else if (!ring->reaping)
			reap(ring);
		else if (r != -EINTR)
			return;
		/* Anything else is no state of the host but a mistake here. */
		assert(r >= 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR);
	}
}

void ring_add(struct ring *ring, struct io_op *op, int fd, const struct iovec *pieces, unsigned count)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (!sqe) {
		hand_over(ring);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	if (!sqe) {
		ring->complete(ring->io, op, -EAGAIN);
		return;
	}
	switch (op->kind) {
	case IO_READ:
		io_uring_prep_readv(sqe, fd, pieces, count, op->offset);
		break;
	case IO_WRITE:
		io_uring_prep_writev(sqe, fd, pieces, count, op->offset);
		break;
	case IO_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
	ring->added++;
}

void ring_enter(struct ring *ring)
{
	hand_over(ring);
	reap(ring);
	/* What completions have added while others were taken. */
	if (!ring->reaping && ring->added)
		hand_over(ring);
}
