/* What a disk's ring does for whoever has it in hand: no more than a disk needs. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "block/ring.h"

struct fixture {
	struct loop *loop;
	struct ring *ring;
};

static void never_complete(struct io *io, struct io_op *op, int result)
{
	(void)io;
	(void)op;
	fail_msg("the ring told of a completion (%d) that was taken from it", result);
}

static int set_up(void **state)
{
	static struct fixture f;

	if (loop_new(&f.loop, NULL) < 0)
		return -1;
	/* Hosts may forbid rings; disks are served by threads then. */
	if (ring_new(&f.ring, NULL, f.loop, never_complete) < 0)
		f.ring = NULL;
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ring_free(f->ring);
	loop_free(f->loop);
	return 0;
}

/* Past ring_add, as somebody would who has the process in hand: a ring begins with the library's. */
static struct io_uring *uring_of(const struct fixture *f)
{
	return (struct io_uring *)(void *)f->ring;
}

static int finish(struct io_uring *uring)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(io_uring_submit(uring), 1);
	assert_int_equal(io_uring_wait_cqe(uring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(uring, cqe);
	return result;
}

static void all_else_is_refused(void **state)
{
	static const unsigned operations[] = {
		IORING_OP_OPENAT,  IORING_OP_OPENAT2,	 IORING_OP_CONNECT,  IORING_OP_SOCKET,	IORING_OP_ACCEPT,
		IORING_OP_SEND,	   IORING_OP_SENDMSG,	 IORING_OP_RECVMSG,  IORING_OP_UNLINKAT, IORING_OP_RENAMEAT,
		IORING_OP_MKDIRAT, IORING_OP_LINKAT,	 IORING_OP_STATX,    IORING_OP_SPLICE,	IORING_OP_FALLOCATE,
		IORING_OP_CLOSE,   IORING_OP_URING_CMD,	 IORING_OP_MSG_RING, IORING_OP_READ,	IORING_OP_EPOLL_CTL,
	};
	const struct fixture *f = *state;

	if (!f->ring)
		skip();
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(uring_of(f));

		io_uring_prep_rw((int)operations[i], sqe, AT_FDCWD, "/etc/hostname", 0, 0);
		if (finish(uring_of(f)) != -EACCES)
			fail_msg("operation %u: it should be refused with EACCES", operations[i]);
	}
	assert_true(io_uring_register_files(uring_of(f), &(int){0}, 1) < 0);
}

static void disks_are_served(void **state)
{
	const struct fixture *f = *state;
	char bytes[4] = "";
	struct iovec piece = {(void *)"disk", 4}, back = {bytes, 4};
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (!f->ring)
		skip();
	io_uring_prep_writev(io_uring_get_sqe(uring_of(f)), fd, &piece, 1, 0);
	assert_int_equal(finish(uring_of(f)), 4);
	io_uring_prep_readv(io_uring_get_sqe(uring_of(f)), fd, &back, 1, 0);
	assert_int_equal(finish(uring_of(f)), 4);
	assert_memory_equal(bytes, "disk", 4);
	io_uring_prep_fsync(io_uring_get_sqe(uring_of(f)), fd, IORING_FSYNC_DATASYNC);
	assert_int_equal(finish(uring_of(f)), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_else_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(disks_are_served, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
