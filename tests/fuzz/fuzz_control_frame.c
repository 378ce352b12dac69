/*
 * The reader of control frames against any stream of bytes, cut into any pieces, with and without descriptors.
 *
 * The first byte says how long pieces are (low 6 bits, plus 1) and how many descriptors come with the first one (high 2
 * bits); the rest is the stream. What is read as a frame is one again when it is made into bytes.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int passed_along = -1;

static void send_piece(int fd, const uint8_t *bytes, size_t length, unsigned descriptors)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(descriptors * sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS}};
	struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

	for (unsigned i = 0; i < descriptors; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof fd, &passed_along, sizeof fd);
	if (descriptors) {
		message.msg_control = &control;
		message.msg_controllen = control.header.cmsg_len;
	}
	(void)!sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void check_frame(const json_t *object, int passed)
{
	uint8_t *bytes;
	size_t length;
	json_t *again;
	int r;

	assert(json_is_object(object));
	if (passed >= 0)
		close(passed);
	/* Escapes may make it longer than what came. */
	r = frame_make(object, &bytes, &length);
	assert(r == 0 || r == -EMSGSIZE);
	if (r < 0)
		return;
	assert(length > FRAME_HEADER && length <= FRAME_HEADER + FRAME_MAX);
	again = json_loadb((const char *)bytes + FRAME_HEADER, length - FRAME_HEADER, 0, NULL);
	assert(json_equal(again, object));
	json_decref(again);
	free(bytes);
}

static void read_frames(struct frame_reader *reader, int socket, int *failed)
{
	json_t *object;
	int passed, r;

	while ((r = frame_read(reader, socket, &object, &passed, NULL)) == 1) {
		check_frame(object, passed);
		json_decref(object);
	}
	*failed = r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_reader reader = {0};
	int pair[2], failed = 0, lowest;
	unsigned descriptors;
	size_t piece;

	if (size < 2)
		return 0;
	if (passed_along < 0)
		passed_along = open("/dev/null", O_RDONLY | O_CLOEXEC);
	lowest = dup(0);
	close(lowest);
	piece = (data[0] & 63u) + 1u;
	descriptors = data[0] >> 6;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	for (size_t at = 1; at < size && failed == 0; at += piece) {
		send_piece(pair[0], data + at, size - at < piece ? size - at : piece, at == 1 ? descriptors : 0);
		read_frames(&reader, pair[1], &failed);
	}
	close(pair[0]);
	if (failed == 0)
		read_frames(&reader, pair[1], &failed);
	assert(failed == -EPIPE || failed == -EPROTO);
	frame_reader_finish(&reader);
	close(pair[1]);
	failed = dup(0);
	assert(failed == lowest); /* every descriptor is closed */
	close(failed);
	return 0;
}
