/* Connections: their host's half, a Unix socket each. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/virtio/vsock_private.h"

#define FIRST_PORT UINT32_C(0x40000000) /* of connections that the host begins */

static struct loop *loop_of(const struct connection *connection)
{
	return worker_loop(connection->vsock->virtio.worker);
}

struct connection *connection_find(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct connection *c = vsock->connections;

	while (c && (c->state == CONNECTION_GREETING || c->guest_port != guest_port || c->host_port != host_port))
		c = c->next;
	return c;
}

static void stop_waiting(struct connection *connection)
{
	struct virtio_vsock *vsock = connection->vsock;
	struct connection **link = &vsock->first_waiting;

	if (!connection->waiting)
		return;
	while (*link != connection)
		link = &(*link)->next_waiting;
	*link = connection->next_waiting;
	if (vsock->last_waiting == &connection->next_waiting)
		vsock->last_waiting = link;
	connection->waiting = false;
}

void connection_free(struct connection *connection)
{
	struct virtio_vsock *vsock = connection->vsock;

	stop_waiting(connection);
	loop_unwatch(loop_of(connection), connection->watch);
	close(connection->fd);
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		vsock->connections = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	vsock->connection_count--;
	free(connection->buffer);
	free(connection);
}

/* What the loop should look for on the host's side. */
static void watch(struct connection *connection)
{
	bool read = connection->state == CONNECTION_GREETING ||
		    (connection->state == CONNECTION_OPEN && !connection->readable && !connection->host_ended);

	if (connection->watch)
		loop_watch_events(loop_of(connection), connection->watch,
				  (read ? EPOLLIN : 0) | (connection->buffer_length ? EPOLLOUT : 0));
}

static void end(struct connection *connection)
{
	/* The guest has not heard of it. */
	if (connection->state == CONNECTION_GREETING || (connection->tell & TELL_REQUEST)) {
		connection_free(connection);
		return;
	}
	connection->tell = TELL_RESET;
	connection->buffer_length = 0;
	loop_unwatch(loop_of(connection), connection->watch);
	connection->watch = NULL;
	vsock_wait(connection);
}

/* Nothing but "CONNECT " and a number. */
static bool parse_greeting(const char *text, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	const char *digits = text + strlen(word);
	uint64_t number = 0;

	if (strncmp(text, word, strlen(word)) != 0 || !*digits || strspn(digits, "0123456789") != strlen(digits))
		return false;
	for (; *digits && number <= UINT32_MAX; digits++)
		number = number * 10 + (uint64_t)(*digits - '0');
	*port = (uint32_t)number;
	return number <= UINT32_MAX;
}

/* Once the line is whole the guest is asked; nonsense ends the connection. */
static void read_greeting(struct connection *connection)
{
	struct virtio_vsock *vsock = connection->vsock;
	char *text = connection->greeting;
	char byte;
	uint32_t port;
	ssize_t got;

	/* Byte by byte, because what follows the line is the guest's. */
	while ((got = read(connection->fd, &byte, 1)) == 1 && byte != '\n' &&
	       connection->greeting_length < sizeof connection->greeting - 1)
		text[connection->greeting_length++] = byte;
	if (got < 0 && errno == EAGAIN)
		return;
	text[connection->greeting_length] = '\0';
	if (got != 1 || byte != '\n' || !parse_greeting(text, &port)) {
		connection_free(connection);
		return;
	}
	do
		vsock->next_port = vsock->next_port < FIRST_PORT ? FIRST_PORT : vsock->next_port + 1;
	while (connection_find(vsock, port, vsock->next_port));
	connection->guest_port = port;
	connection->host_port = vsock->next_port;
	connection->state = CONNECTION_REQUESTED;
	connection->tell = TELL_REQUEST;
	watch(connection);
	vsock_wait(connection);
}

static void maybe_tell_credit(struct connection *connection)
{
	if (connection->forwarded - connection->forwarded_told < VSOCK_BUFFER / 2)
		return;
	connection->tell |= TELL_CREDIT;
	vsock_wait(connection);
}

/* After the last of what the guest sent was forwarded: its ending is forwarded, too. */
static void settle_ending(struct connection *connection)
{
	if (connection->buffer_length || !(connection->guest_ended & VSOCK_NO_SEND))
		return;
	shutdown(connection->fd, SHUT_WR);
	if (connection->guest_ended & VSOCK_NO_RECEIVE)
		end(connection);
}

/* Writes from the buffer what the host's side takes. */
static void drain(struct connection *connection)
{
	while (connection->buffer_length) {
		uint32_t start = connection->buffer_start;
		uint32_t whole = (uint32_t)VSOCK_BUFFER - start;
		uint32_t run = connection->buffer_length < whole ? connection->buffer_length : whole;
		ssize_t put = send(connection->fd, connection->buffer + start, run, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (put < 0 && errno == EAGAIN)
			break;
		if (put <= 0) {
			end(connection);
			return;
		}
		connection->buffer_start = (start + (uint32_t)put) % VSOCK_BUFFER;
		connection->buffer_length -= (uint32_t)put;
		connection->forwarded += (uint32_t)put;
	}
	watch(connection);
	maybe_tell_credit(connection);
	settle_ending(connection);
}

/* The host's side is closed both ways. What it sent is still read, but there is nothing to wait for any more, and the
 * loop would tell of it again and again. */
static void hang_up(struct connection *connection)
{
	connection->hung_up = true;
	connection->buffer_length = 0;
	loop_unwatch(loop_of(connection), connection->watch);
	connection->watch = NULL;
}

static void host_ready(void *arg, uint32_t events)
{
	struct connection *connection = arg;
	struct virtio_vsock *vsock = connection->vsock;

	if (connection->state == CONNECTION_GREETING) {
		read_greeting(connection);
	} else if ((events & EPOLLERR) || (connection->state == CONNECTION_REQUESTED && (events & EPOLLHUP))) {
		end(connection);
	} else {
		if (events & EPOLLHUP)
			hang_up(connection);
		if (events & (EPOLLIN | EPOLLHUP)) {
			connection->readable = true;
			vsock_wait(connection);
		}
		/* Last, because it may end the connection. */
		drain(connection);
	}
	vsock_serve_guest(vsock);
}

/* A connection for `fd`, which becomes its own, also on failure. */
static struct connection *add(struct virtio_vsock *vsock, int fd, enum connection_state state)
{
	struct connection *c = vsock->connection_count < VSOCK_CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;

	if (!c || loop_watch(worker_loop(vsock->virtio.worker), fd, 0, host_ready, c, &c->watch, NULL) < 0) {
		free(c);
		close(fd);
		return NULL;
	}
	c->vsock = vsock;
	c->fd = fd;
	c->state = state;
	c->next = vsock->connections;
	if (c->next)
		c->next->previous = c;
	vsock->connections = c;
	vsock->connection_count++;
	watch(c);
	return c;
}

void connection_accept(void *vsock, int fd)
{
	add(vsock, fd, CONNECTION_GREETING);
}

struct connection *connection_to_host(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct connection *connection;
	int fd = vsock->host_watch ? vsock_host_connect(&vsock->host, vsock->host_requests++, host_port) : -EPIPE;

	if (fd < 0)
		return NULL;
	connection = add(vsock, fd, CONNECTION_REQUESTED);
	if (connection) {
		connection->guest_port = guest_port;
		connection->host_port = host_port;
	}
	return connection;
}

void connection_accepted(struct connection *connection)
{
	char text[32];
	int length = snprintf(text, sizeof text, "OK %" PRIu32 "\n", connection->host_port);

	connection->state = CONNECTION_OPEN;
	/* The socket is empty, so these few bytes fit. */
	if (send(connection->fd, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length)
		watch(connection);
	else
		end(connection);
}

/* Puts what the host's side did not take at once into the buffer: the part from `offset` on. */
static void keep(struct connection *connection, const struct virtqueue_chain *chain, uint64_t offset, uint32_t length)
{
	while (length) {
		uint32_t at = (connection->buffer_start + connection->buffer_length) % VSOCK_BUFFER;
		uint32_t run = length < VSOCK_BUFFER - at ? length : (uint32_t)VSOCK_BUFFER - at;

		(void)virtqueue_read(chain, offset, connection->buffer + at, run);
		connection->buffer_length += run;
		offset += run;
		length -= run;
	}
}

int connection_take(struct connection *connection, const struct virtqueue_chain *chain, uint64_t offset,
		    uint32_t length)
{
	struct iovec spans[IOV_MAX];
	ssize_t put = 0;
	int count;

	if (length > VSOCK_BUFFER - connection->buffer_length)
		return -ENOBUFS;
	if (connection->buffer_length == 0) {
		count = virtqueue_slice(chain, false, offset, length, spans, ARRAY_SIZE(spans));
		if (count > 0) {
			const struct msghdr message = {.msg_iov = spans, .msg_iovlen = (size_t)count};

			put = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		if (put < 0 && errno != EAGAIN)
			return -errno;
		put = put < 0 ? 0 : put;
		connection->forwarded += (uint32_t)put;
	}
	if ((uint32_t)put < length && !connection->buffer) {
		connection->buffer = malloc(VSOCK_BUFFER);
		if (!connection->buffer)
			return -ENOMEM;
	}
	keep(connection, chain, offset + (uint64_t)put, length - (uint32_t)put);
	watch(connection);
	maybe_tell_credit(connection);
	return 0;
}

void connection_guest_ended(struct connection *connection, unsigned how)
{
	connection->guest_ended |= how & (VSOCK_NO_RECEIVE | VSOCK_NO_SEND);
	settle_ending(connection);
}

uint32_t connection_credit(const struct connection *connection)
{
	uint32_t under_way = connection->sent - connection->guest_forwarded;

	return under_way < connection->guest_room ? connection->guest_room - under_way : 0;
}

uint32_t connection_read(struct connection *connection, const struct virtqueue_chain *chain, uint64_t offset)
{
	uint64_t room = chain->writable_bytes > offset ? chain->writable_bytes - offset : 0;
	struct iovec spans[IOV_MAX];
	ssize_t got = 0;
	int count;

	if (room > connection_credit(connection))
		room = connection_credit(connection);
	if (room > VSOCK_BUFFER)
		room = VSOCK_BUFFER;
	count = virtqueue_slice(chain, true, offset, room, spans, ARRAY_SIZE(spans));
	if (count <= 0)
		return 0;
	got = readv(connection->fd, spans, count);
	if (got > 0) {
		connection->sent += (uint32_t)got;
		return (uint32_t)got;
	}
	connection->readable = false;
	if (got == 0 || errno != EAGAIN) {
		connection->host_ended = true;
		connection->tell |= TELL_SHUTDOWN;
	}
	watch(connection);
	return 0;
}
