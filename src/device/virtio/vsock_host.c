#include "device/virtio/vsock_host.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"

/* It answers as soon as it is scheduled: a host that is busier than this has other worries. */
#define PATIENCE_MS 5000

static const char *const calls[] = {"socket:unix", "connect", NULL};
static const struct wall_filter filter = {calls};

union rights {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void attach(struct msghdr *message, union rights *rights, int fd)
{
	struct cmsghdr *header;

	message->msg_control = rights->room;
	message->msg_controllen = sizeof rights->room;
	header = CMSG_FIRSTHDR(message);
	*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

static bool answer(int socket, uint32_t port)
{
	union rights rights = {{0}};
	int32_t result;
	struct iovec data = {&result, sizeof result};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	char path[16];
	int fd = -1;
	bool sent;

	snprintf(path, sizeof path, "%" PRIu32, port);
	result = socket_connect(path, &fd);
	if (result == 0)
		attach(&message, &rights, fd);
	sent = sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof result;
	if (result == 0)
		close(fd);
	return sent;
}

static int serve(int socket, void *context)
{
	uint32_t port;

	(void)context;
	while (recv(socket, &port, sizeof port, 0) == sizeof port && answer(socket, port))
		;
	return 0;
}

int vsock_host_start(struct wall_process *process, const char *folder, struct error *e)
{
	const struct wall_plan plan = {
		.name = "doppel-vsock",
		.filter = &filter,
		.folder = folder,
		.folder_read_only = true,
		.memory_limit = 16 * MIB,
		.keep_ids = true,
		.main = serve,
	};

	return wall_spawn_soon(process, &plan, e);
}

static int take(const struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof fd))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

int vsock_host_connect(const struct wall_process *process, uint32_t port)
{
	union rights rights;
	int32_t result = 0;
	struct iovec data = {&result, sizeof result};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = rights.room,
				 .msg_controllen = sizeof rights.room};
	struct pollfd waiting = {.fd = process->socket, .events = POLLIN};

	if (send(process->socket, &port, sizeof port, MSG_NOSIGNAL) != sizeof port ||
	    poll(&waiting, 1, PATIENCE_MS) != 1 ||
	    recvmsg(process->socket, &message, MSG_CMSG_CLOEXEC) != sizeof result)
		return -EPIPE;
	return result < 0 ? result : take(&message);
}
