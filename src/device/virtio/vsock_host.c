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

static bool answer(int socket, uint32_t port)
{
	int32_t result;
	char path[16];
	int fd = -1, r;

	snprintf(path, sizeof path, "%" PRIu32, port);
	result = socket_connect(path, &fd);
	r = pass_send(socket, &result, sizeof result, &fd, result == 0);
	if (result == 0)
		close(fd);
	return r == 0;
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

int vsock_host_connect(const struct wall_process *process, uint32_t port)
{
	struct pollfd waiting = {.fd = process->socket, .events = POLLIN};
	int32_t result = 0;
	int fd, r;

	if (send(process->socket, &port, sizeof port, MSG_NOSIGNAL) != sizeof port ||
	    poll(&waiting, 1, PATIENCE_MS) != 1)
		return -EPIPE;
	r = pass_receive(process->socket, &result, sizeof result, &fd, 1, 0);
	if (r < 0)
		return -EPIPE;
	if (r == 1 && result == 0)
		return fd;
	if (r == 1)
		close(fd);
	return result < 0 ? result : -EPROTO;
}
