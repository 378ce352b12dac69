#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/outbox.h"
#include "net/private.h"
#include "net/switch_table.h"

#define BATCH        32
#define OUTBOX_LIMIT (2 << 20)
/* Nobody came for so long: who started the switch is gone. */
#define LONELY_MS    10000
#define NO_PORT      (-1)

static const char *const calls[] = {"accept4", "fcntl", "flock", "setsockopt", "shutdown", NULL};
const struct wall_filter switch_filter = {calls};

struct connection {
	struct outbox outbox; /* fd: -1 when the place is free */
	int port;             /* NO_PORT until it said hello */
};

struct segment {
	struct switch_table table;
	struct connection connections[SWITCH_PORTS_MAX];
	struct connection *by_port[SWITCH_PORTS_MAX];
	struct pollfd fds[SWITCH_PORTS_MAX + 1];
	unsigned count;
	uint8_t frame[PACKET_FRAME_MAX + 1];
};

void switch_path(const struct switch_plan *plan, const char *ending, char *out, size_t room)
{
	snprintf(out, room, "%s/%s%s", plan->directory, plan->name, ending);
}

int switch_prepare(void *context, struct error *e)
{
	struct switch_plan *plan = context;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[128];

	switch_path(plan, ".lock", path, sizeof path);
	plan->lock = open(path, O_RDWR | O_CLOEXEC);
	switch_path(plan, "", address.sun_path, sizeof address.sun_path);
	plan->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (plan->lock < 0 || plan->listener < 0 || (unlink(address.sun_path) < 0 && errno != ENOENT) ||
	    bind(plan->listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(plan->listener, SWITCH_PORTS_MAX) < 0)
		return error_errno(e, -errno, "cannot make the switch %s", address.sun_path);
	return 0;
}

static void close_connection(struct segment *segment, struct connection *connection)
{
	if (connection->port != NO_PORT) {
		switch_detach(&segment->table, (unsigned)connection->port);
		segment->by_port[connection->port] = NULL;
	}
	connection->port = NO_PORT;
	close(connection->outbox.fd);
	outbox_finish(&connection->outbox);
	connection->outbox.fd = -1;
	segment->count--;
}

/* False when there is no one at the door. */
static bool admit(struct segment *segment, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		struct connection *connection = &segment->connections[i];

		if (connection->outbox.fd >= 0)
			continue;
		net_widen_socket(fd);
		outbox_init(&connection->outbox, fd, OUTBOX_LIMIT);
		segment->count++;
		return true;
	}
	close(fd);
	return true;
}

static void deliver(void *context, unsigned port, const struct packet_header *header, const uint8_t *frame,
		    size_t length)
{
	struct segment *segment = context;
	union {
		const void *given;
		void *taken;
	} u = {.given = header}, v = {.given = frame};
	const struct iovec parts[] = {{u.taken, sizeof *header}, {v.taken, length}};

	/* A port that is gone shows itself when it is read. */
	if (segment->by_port[port])
		(void)outbox_send(&segment->by_port[port]->outbox, parts, 2);
}

/* Hello, or other offloads; false: the connection is to be closed. */
static bool take_message(struct segment *segment, struct connection *connection, struct switch_message *message)
{
	const struct iovec part = {message, sizeof *message};
	int port;

	if (message->magic != SWITCH_MAGIC)
		return false;
	if (connection->port != NO_PORT) {
		switch_set_offloads(&segment->table, (unsigned)connection->port, message->offloads);
		return true;
	}
	port = switch_attach(&segment->table, message->mac, message->offloads, message->code == SWITCH_SUCCEEDS);
	message->code = (int16_t)(port < 0 ? port : 0);
	if (port >= 0) {
		connection->port = port;
		segment->by_port[port] = connection;
	}
	return outbox_send(&connection->outbox, &part, 1) == 0 && port >= 0;
}

/* One packet or message: 1, 0 when there is none, -EPIPE at the end. */
static int take(struct segment *segment, struct connection *connection)
{
	union {
		struct packet_header header;
		struct switch_message message;
	} first;
	const size_t rest = sizeof first.message - sizeof first.header;
	const struct iovec parts[] = {{&first.header, sizeof first.header}, {segment->frame, sizeof segment->frame}};
	ssize_t size = readv(connection->outbox.fd, parts, 2);

	if (size < 0)
		return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -EPIPE;
	if ((size_t)size == sizeof first.message) {
		memcpy((uint8_t *)&first + sizeof first.header, segment->frame, rest);
		return take_message(segment, connection, &first.message) ? 1 : -EPIPE;
	}
	if ((size_t)size <= sizeof first.header || connection->port == NO_PORT)
		return -EPIPE;
	switch_forward(&segment->table, (unsigned)connection->port, &first.header, segment->frame,
		       (size_t)size - sizeof first.header, clock_host_ns(), deliver, segment);
	return 1;
}

static void serve(struct segment *segment, struct connection *connection, short events)
{
	int r = events & POLLOUT ? outbox_flush(&connection->outbox) : 0;

	if (events & (POLLIN | POLLHUP | POLLERR))
		for (unsigned i = 0; r >= 0 && i < BATCH; i++) {
			r = take(segment, connection);
			if (r == 0)
				break;
		}
	if (r < 0)
		close_connection(segment, connection);
}

static int wait_for_events(struct segment *segment, int listener)
{
	segment->fds[SWITCH_PORTS_MAX] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		const struct outbox *outbox = &segment->connections[i].outbox;

		segment->fds[i] = (struct pollfd){.fd = outbox->fd, .events = POLLIN};
		if (outbox->fd >= 0 && outbox_waits(outbox))
			segment->fds[i].events |= POLLOUT;
	}
	return poll(segment->fds, SWITCH_PORTS_MAX + 1, segment->count ? -1 : LONELY_MS);
}

/* Newcomers connect under the lock: with it held and nobody at the door, whoever comes next finds nobody here. */
static bool may_end(struct segment *segment, const struct switch_plan *plan)
{
	bool alone;

	if (flock(plan->lock, LOCK_EX) < 0)
		return true;
	alone = !admit(segment, plan->listener);
	if (alone)
		close(plan->listener);
	flock(plan->lock, LOCK_UN);
	return alone;
}

static bool turn(struct segment *segment, const struct switch_plan *plan)
{
	bool had = segment->count > 0;
	int ready = wait_for_events(segment, plan->listener);

	if (ready < 0)
		return true;
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		if (segment->connections[i].outbox.fd >= 0 && segment->fds[i].revents)
			serve(segment, &segment->connections[i], segment->fds[i].revents);
	if (segment->fds[SWITCH_PORTS_MAX].revents)
		while (admit(segment, plan->listener))
			;
	if (segment->count == 0 && (had || ready == 0))
		return !may_end(segment, plan);
	return true;
}

int switch_main(int socket, void *context)
{
	const struct switch_plan *plan = context;
	struct segment *segment = calloc(1, sizeof *segment);

	if (!segment)
		return 1;
	close(socket);
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		segment->connections[i].outbox.fd = -1;
		segment->connections[i].port = NO_PORT;
	}
	while (turn(segment, plan))
		;
	return 0;
}
