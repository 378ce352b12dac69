#include "base/pass.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union room {
	struct cmsghdr header; /* for its alignment */
	char bytes[CMSG_SPACE(PASS_MOST * sizeof(int))];
};

int pass_send(int socket, const void *bytes, size_t size, const int *fds, size_t count)
{
	union {
		const void *given;
		void *taken;
	} data = {.given = bytes};
	union room control = {.bytes = {0}};
	struct iovec part = {data.taken, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t sent;

	assert(size > 0 && count <= PASS_MOST);
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(count * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
	}
	sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	return sent == (ssize_t)size ? 0 : -EPIPE;
}

/* All that came with the message, at most PASS_MOST: the kernel drops what finds no room. */
static size_t unpack(struct msghdr *message, int fds[PASS_MOST])
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t bytes;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return 0;
	bytes = header->cmsg_len - CMSG_LEN(0);
	memcpy(fds, CMSG_DATA(header), bytes);
	return bytes / sizeof *fds;
}

int pass_receive(int socket, void *bytes, size_t size, int *fds, size_t most, int flags)
{
	union room control;
	struct iovec part = {bytes, size};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	int came[PASS_MOST];
	ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
	size_t count;

	assert(most <= PASS_MOST);
	if (received < 0)
		return -errno;
	count = unpack(&message, came);
	if (received == (ssize_t)size && count <= most && !(message.msg_flags & MSG_CTRUNC)) {
		memcpy(fds, came, count * sizeof *fds);
		return (int)count;
	}
	while (count > 0)
		close(came[--count]);
	return -EPROTO;
}
