#include "device/virtio/vsock_host.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/pass.h"
#include "base/socket.h"

/* It answers as soon as it is scheduled: a host that is busier than this has other worries. */
#define PATIENCE_MS 5000

static const char *const calls[] = {"socket:unix", "connect", NULL};
static const struct wall_filter filter = {calls};

struct request {
	uint32_t number, port;
};

struct reply {
	uint32_t number; /* of the request */
	int32_t result;  /* 0: with a descriptor */
};

static bool answer(int socket, const struct request *request)
{
	struct reply reply = {.number = request->number};
	char path[16];
	int fd = -1, r;

	snprintf(path, sizeof path, "%" PRIu32, request->port);
	reply.result = socket_connect(path, &fd);
	r = pass_send(socket, &reply, sizeof reply, &fd, reply.result == 0);
	if (reply.result == 0)
		close(fd);
	return r == 0;
}

static int serve(int socket, void *context)
{
	struct request request;

	(void)context;
	while (recv(socket, &request, sizeof request, 0) == sizeof request && answer(socket, &request))
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

/* A descriptor, or a negative errno; -EAGAIN: the answer was to a request before. */
static int take_answer(int socket, uint32_t number)
{
	struct reply reply = {.result = 0};
	int fd = -1, r = pass_receive(socket, &reply, sizeof reply, &fd, 1, 0);

	if (r < 0)
		return -EPIPE;
	if (r == 1 && reply.number == number && reply.result == 0)
		return fd;
	if (r == 1)
		close(fd);
	if (reply.number != number)
		return -EAGAIN;
	return reply.result < 0 ? reply.result : -EPROTO;
}

int vsock_host_connect(const struct wall_process *process, uint32_t number, uint32_t port)
{
	const struct request request = {number, port};
	struct pollfd waiting = {.fd = process->socket, .events = POLLIN};
	int r;

	if (send(process->socket, &request, sizeof request, MSG_NOSIGNAL) != sizeof request)
		return -EPIPE;
	do
		r = poll(&waiting, 1, PATIENCE_MS) == 1 ? take_answer(process->socket, number) : -ETIMEDOUT;
	while (r == -EAGAIN);
	return r;
}
