/* The rings of the socket device, and what its packets mean. */
#include "device/virtio/vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"
#include "device/virtio/vsock_private.h"

#define DEVICE_ID  19
#define HOST_CID   2
#define QUEUE_SIZE 256
#define SOCKET_PATH sizeof(((struct sockaddr_un *)0)->sun_path)

enum { TO_GUEST, FROM_GUEST, EVENTS, QUEUE_COUNT };

enum { EVENT_TRANSPORT_RESET = 0 };

static struct virtio_vsock *vsock_of(struct virtio *virtio)
{
	return (struct virtio_vsock *)virtio;
}

static void fill_header(const struct virtio_vsock *vsock, struct vsock_header *header, uint32_t guest_port,
			uint32_t host_port, enum vsock_operation operation)
{
	*header = (struct vsock_header){
		.source_cid = le64_put(HOST_CID),
		.destination_cid = le64_put(vsock->cid),
		.source_port = le32_put(host_port),
		.destination_port = le32_put(guest_port),
		.type = le16_put(VSOCK_STREAM),
		.operation = le16_put((uint16_t)operation),
		.buffer = le32_put((uint32_t)VSOCK_BUFFER),
	};
}

void vsock_wait(struct connection *connection)
{
	struct virtio_vsock *vsock = connection->vsock;

	if (connection->waiting)
		return;
	connection->waiting = true;
	connection->next_waiting = NULL;
	*vsock->last_waiting = connection;
	vsock->last_waiting = &connection->next_waiting;
}

static bool has_data(const struct connection *connection)
{
	return connection->state == CONNECTION_OPEN && connection->readable && !connection->host_ended &&
	       !(connection->guest_ended & VSOCK_NO_RECEIVE) && connection_credit(connection) > 0;
}

/* The next waiting connection that really has something; the others leave the line. */
static struct connection *next_waiting(struct virtio_vsock *vsock)
{
	struct connection *c;

	while ((c = vsock->first_waiting) && !c->tell && !has_data(c)) {
		vsock->first_waiting = c->next_waiting;
		if (!vsock->first_waiting)
			vsock->last_waiting = &vsock->first_waiting;
		c->waiting = false;
	}
	return c;
}

/* To the end of the line, so that each gets a packet in turn. */
static void line_up_again(struct virtio_vsock *vsock, struct connection *connection)
{
	vsock->first_waiting = connection->next_waiting;
	if (!vsock->first_waiting)
		vsock->last_waiting = &vsock->first_waiting;
	connection->waiting = false;
	vsock_wait(connection);
}

/* What is to be told first; 0 when there is only data. */
static enum vsock_operation next_telling(struct connection *connection, uint32_t *flags)
{
	static const struct {
		unsigned bit;
		enum vsock_operation operation;
	} order[] = {
		{TELL_REQUEST, VSOCK_REQUEST},     {TELL_RESPONSE, VSOCK_RESPONSE}, {TELL_CREDIT, VSOCK_CREDIT_UPDATE},
		{TELL_SHUTDOWN, VSOCK_SHUTDOWN}, {TELL_RESET, VSOCK_RESET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (connection->tell & order[i].bit) {
			connection->tell &= ~order[i].bit;
			if (order[i].bit == TELL_SHUTDOWN)
				*flags = VSOCK_NO_SEND | (connection->hung_up ? VSOCK_NO_RECEIVE : 0);
			return order[i].operation;
		}
	return 0;
}

/* Fills one packet for the guest from a connection; 0 when it turned out that there is nothing. */
static uint32_t write_packet(struct virtio_vsock *vsock, struct connection *connection)
{
	uint32_t flags = 0, length = 0;
	enum vsock_operation operation = next_telling(connection, &flags);
	struct vsock_header header;

	if (!operation) {
		length = connection_read(connection, &vsock->chain, sizeof header);
		if (length == 0)
			return 0;
		operation = VSOCK_DATA;
	}
	fill_header(vsock, &header, connection->guest_port, connection->host_port, operation);
	header.length = le32_put(length);
	header.flags = le32_put(flags);
	header.forwarded = le32_put(connection->forwarded);
	connection->forwarded_told = connection->forwarded;
	(void)virtqueue_write(&vsock->chain, 0, &header, sizeof header);
	if (operation == VSOCK_RESET)
		connection_free(connection);
	else
		line_up_again(vsock, connection);
	return (uint32_t)sizeof header + length;
}

static uint32_t write_reset(struct virtio_vsock *vsock)
{
	const struct reset *reset = &vsock->resets[vsock->reset_start];
	struct vsock_header header;

	fill_header(vsock, &header, reset->guest_port, reset->host_port, VSOCK_RESET);
	(void)virtqueue_write(&vsock->chain, 0, &header, sizeof header);
	vsock->reset_start = (vsock->reset_start + 1) % RESETS_MAX;
	vsock->reset_count--;
	return sizeof header;
}

/* A buffer to write a packet into; false when the guest gave none (or nonsense). */
static bool take_buffer(struct virtio_vsock *vsock, unsigned queue, uint64_t least)
{
	struct error e;

	if (!virtio_next(&vsock->virtio, queue, &vsock->chain))
		return false;
	if (vsock->chain.writable_bytes >= least)
		return true;
	(void)error_set(&e, ERROR_FAILED, -EBADMSG, "a buffer of %llu bytes can not hold a packet",
			(unsigned long long)vsock->chain.writable_bytes);
	virtio_broken(&vsock->virtio, &e);
	return false;
}

/* Sends one packet; false when there is nothing to send or no buffer for it. */
static bool send_one(struct virtio_vsock *vsock)
{
	struct connection *connection = vsock->reset_count ? NULL : next_waiting(vsock);
	/* One that can hold no data would be taken and put back for ever. */
	bool data = connection && !connection->tell;
	struct virtqueue *ring = &vsock->virtio.queues[TO_GUEST];
	uint32_t length;

	if (!vsock->reset_count && !connection)
		return false;
	if (!take_buffer(vsock, TO_GUEST, sizeof(struct vsock_header) + data))
		return false;
	length = connection ? write_packet(vsock, connection) : write_reset(vsock);
	if (length == 0)
		virtqueue_unpop(ring, &vsock->chain);
	else
		virtqueue_push(ring, &vsock->chain, length);
	virtio_count(&vsock->virtio.statistics.bytes_in,
		     length > sizeof(struct vsock_header) ? length - sizeof(struct vsock_header) : 0);
	return true;
}

static void tell_lost(struct virtio_vsock *vsock)
{
	const le32_t event = le32_put(EVENT_TRANSPORT_RESET);

	if (!vsock->tell_lost || !take_buffer(vsock, EVENTS, sizeof event))
		return;
	vsock->tell_lost = false;
	(void)virtqueue_write(&vsock->chain, 0, &event, sizeof event);
	virtqueue_push(&vsock->virtio.queues[EVENTS], &vsock->chain, sizeof event);
	virtio_notify(&vsock->virtio, EVENTS);
}

/* Sends all that there is, as far as the guest gave buffers. */
static void send_all(struct virtio_vsock *vsock)
{
	bool sent = false;

	while (send_one(vsock))
		sent = true;
	if (sent)
		virtio_notify(&vsock->virtio, TO_GUEST);
}

static void refuse(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	unsigned at = (vsock->reset_start + vsock->reset_count) % RESETS_MAX;

	vsock->resets[at] = (struct reset){guest_port, host_port};
	vsock->reset_count++;
}

/* A connection that the guest may not go on with. */
static void abandon(struct virtio_vsock *vsock, struct connection *connection)
{
	refuse(vsock, connection->guest_port, connection->host_port);
	connection_free(connection);
}

static void requested(struct virtio_vsock *vsock, struct connection *connection, const struct vsock_header *header)
{
	uint32_t guest_port = le32_get(header->source_port), host_port = le32_get(header->destination_port);

	/* Once only: the second of two equal requests is a mistake, and ends what the first began. */
	if (connection) {
		abandon(vsock, connection);
		return;
	}
	connection = connection_to_host(vsock, guest_port, host_port);
	if (!connection) {
		refuse(vsock, guest_port, host_port);
		return;
	}
	connection->guest_room = le32_get(header->buffer);
	connection->guest_forwarded = le32_get(header->forwarded);
	connection->state = CONNECTION_OPEN;
	connection->tell = TELL_RESPONSE;
	/* It may have said something already. */
	connection->readable = true;
	vsock_wait(connection);
}

static void took_data(struct virtio_vsock *vsock, struct connection *connection, uint32_t length)
{
	bool whole = vsock->chain.readable_bytes - sizeof(struct vsock_header) >= length;
	bool open = connection->state == CONNECTION_OPEN && !(connection->guest_ended & VSOCK_NO_SEND);

	if (!whole || !open ||
	    connection_take(connection, &vsock->chain, sizeof(struct vsock_header), length) < 0)
		abandon(vsock, connection);
	else
		virtio_count(&vsock->virtio.statistics.bytes_out, length);
}

/* A packet of a connection that exists. */
static void connection_packet(struct virtio_vsock *vsock, struct connection *connection,
			      const struct vsock_header *header)
{
	connection->guest_room = le32_get(header->buffer);
	connection->guest_forwarded = le32_get(header->forwarded);
	if (connection->readable)
		vsock_wait(connection);
	switch (le16_get(header->operation)) {
	case VSOCK_RESPONSE:
		if (connection->state == CONNECTION_REQUESTED)
			connection_accepted(connection);
		else
			abandon(vsock, connection);
		break;
	case VSOCK_RESET:
		connection_free(connection);
		break;
	case VSOCK_SHUTDOWN:
		connection_guest_ended(connection, le32_get(header->flags));
		break;
	case VSOCK_DATA:
		took_data(vsock, connection, le32_get(header->length));
		break;
	case VSOCK_CREDIT_UPDATE:
		break;
	case VSOCK_CREDIT_REQUEST:
		connection->tell |= TELL_CREDIT;
		vsock_wait(connection);
		break;
	default:
		abandon(vsock, connection);
	}
}

static void serve_packet(struct virtio_vsock *vsock)
{
	struct vsock_header header;
	struct connection *connection;
	uint32_t guest_port, host_port;

	if (virtqueue_read(&vsock->chain, 0, &header, sizeof header) < sizeof header)
		return;
	guest_port = le32_get(header.source_port);
	host_port = le32_get(header.destination_port);
	if (le64_get(header.source_cid) != vsock->cid || le64_get(header.destination_cid) != HOST_CID)
		return;
	connection = connection_find(vsock, guest_port, host_port);
	if (le16_get(header.type) != VSOCK_STREAM)
		refuse(vsock, guest_port, host_port);
	else if (le16_get(header.operation) == VSOCK_REQUEST)
		requested(vsock, connection, &header);
	else if (connection)
		connection_packet(vsock, connection, &header);
	else if (le16_get(header.operation) != VSOCK_RESET)
		refuse(vsock, guest_port, host_port);
}

/* Takes one packet; false when there is none, or too many refusals wait for the guest to read them. */
static bool take_packet(struct virtio_vsock *vsock)
{
	if (vsock->reset_count == RESETS_MAX || !virtio_next(&vsock->virtio, FROM_GUEST, &vsock->chain))
		return false;
	serve_packet(vsock);
	virtqueue_push(&vsock->virtio.queues[FROM_GUEST], &vsock->chain, 0);
	return true;
}

void vsock_serve_guest(struct virtio_vsock *vsock)
{
	bool took = false, full;

	tell_lost(vsock);
	while (take_packet(vsock))
		took = true;
	if (took)
		virtio_notify(&vsock->virtio, FROM_GUEST);
	full = vsock->reset_count == RESETS_MAX;
	send_all(vsock);
	/* Later, so that others have their turn whatever the guest sends. */
	if (full && vsock->reset_count < RESETS_MAX)
		virtio_look_again(&vsock->virtio, FROM_GUEST);
}

static void vsock_kicked(struct virtio *virtio, unsigned queue)
{
	(void)queue;
	vsock_serve_guest(vsock_of(virtio));
}

static void forget(struct virtio *virtio)
{
	struct virtio_vsock *vsock = vsock_of(virtio);

	while (vsock->connections)
		connection_free(vsock->connections);
	vsock->reset_count = 0;
	vsock->tell_lost = false;
}

static uint64_t vsock_features(const struct virtio *virtio)
{
	(void)virtio;
	return VIRTIO_F_IN_ORDER;
}

static const struct virtio_kind vsock_kind = {
	.id = DEVICE_ID,
	.features = vsock_features,
	.kicked = vsock_kicked,
	.reset = forget,
};

static void put_cid(struct virtio_vsock *vsock)
{
	const le64_t cid = le64_put(vsock->cid);

	memcpy(vsock->virtio.config, &cid, sizeof cid);
}

/* A copy has a CID of its own. Its driver reads it anew when it hears that connections are gone. */
static void vsock_loaded(struct device *device)
{
	put_cid((struct virtio_vsock *)device);
	atomic_store(&((struct virtio_vsock *)device)->tell_lost, true);
	virtio_device_loaded(device);
}

static void unwatch_host(struct virtio_vsock *vsock)
{
	loop_unwatch(worker_loop(vsock->virtio.worker), vsock->host_watch);
	vsock->host_watch = NULL;
}

/* Connections that stand are the monitor's own, and programs of the host that come are too. */
static void host_ended(void *arg, uint32_t events)
{
	struct virtio_vsock *vsock = arg;

	(void)events;
	unwatch_host(vsock);
	log_line(LOG_ERROR, "vsock",
		 "%s: the process that connects the guest to programs of the host has ended; it finds none of them until the "
		 "machine is started again",
		 vsock->virtio.device.name);
}

static void stop(void *arg)
{
	struct virtio_vsock *vsock = arg;

	forget(&vsock->virtio);
	unwatch_host(vsock);
	acceptor_stop(&vsock->acceptor);
}

static void own_path(const struct virtio_vsock *vsock, char path[SOCKET_PATH])
{
	/* Its length was checked when the device was made. */
	snprintf(path, SOCKET_PATH, "%s/guest", vsock->folder);
}

static void free_own(struct virtio_vsock *vsock)
{
	char path[SOCKET_PATH];

	wall_end(&vsock->host, NULL);
	if (vsock->listener >= 0) {
		own_path(vsock, path);
		unlink(path);
		close(vsock->listener);
	}
	free(vsock->folder);
	free(vsock);
}

static void vsock_destroy(struct device *device)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)device;

	worker_call(vsock->virtio.worker, stop, vsock);
	virtio_finish(&vsock->virtio);
	free_own(vsock);
}

static const struct state_field vsock_fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor vsock_state = {
	.kind = "virtio-vsock",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct virtio_vsock),
	.fields = vsock_fields,
	.field_count = ARRAY_SIZE(vsock_fields),
	.validate = virtio_validate,
};

const struct device_type virtio_vsock_type = {
	.name = "virtio-vsock",
	.help = "stream sockets between the guest and programs on the host",
	.state = &vsock_state,
	.is_virtio = true,
	.reset = virtio_device_reset,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.loaded = vsock_loaded,
	.describe = virtio_device_describe,
	.destroy = vsock_destroy,
};

static int listen_at(struct virtio_vsock *vsock, struct error *e)
{
	char path[SOCKET_PATH];

	if (strlen(vsock->folder) + sizeof "/4294967295" > sizeof path)
		return error_set(e, ERROR_USAGE, -ENAMETOOLONG,
				 "the path of the socket folder %s is too long; give one of at most %zu bytes",
				 vsock->folder, sizeof path - sizeof "/4294967295");
	if (mkdir(vsock->folder, 0700) < 0 && errno != EEXIST)
		return error_errno(e, -errno, "the socket folder %s", vsock->folder);
	own_path(vsock, path);
	return socket_listen(path, &vsock->listener, e);
}

static int start(void *arg, struct error *e)
{
	struct virtio_vsock *vsock = arg;
	int r;

	vsock->acceptor = (struct acceptor){
		.loop = worker_loop(vsock->virtio.worker), .came = connection_accept, .arg = vsock};
	r = loop_watch(vsock->acceptor.loop, vsock->host.socket, 0, host_ended, vsock, &vsock->host_watch, e);
	if (r < 0)
		return r;
	r = acceptor_start(&vsock->acceptor, vsock->listener, e);
	if (r < 0)
		unwatch_host(vsock);
	return r;
}

static int set_up(struct virtio_vsock *vsock, const char *name, struct worker *worker, struct error *e)
{
	static const uint16_t sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE};
	int r = listen_at(vsock, e);

	if (r == 0)
		r = vsock_host_start(&vsock->host, vsock->folder, e);
	if (r == 0)
		r = virtio_init(&vsock->virtio, &virtio_vsock_type, &vsock_kind, name, worker, sizes, QUEUE_COUNT,
				sizeof(le64_t), e);
	if (r < 0)
		return r;
	put_cid(vsock);
	r = worker_try(worker, start, vsock, e);
	if (r < 0)
		virtio_finish(&vsock->virtio);
	return r;
}

static int take_report(void *arg, struct error *e)
{
	return wall_await(&((struct virtio_vsock *)arg)->host, e);
}

/* The worker, which may use the process already, does not wait. */
int virtio_vsock_await(struct virtio *virtio, struct error *e)
{
	struct virtio_vsock *vsock = vsock_of(virtio);
	struct pollfd report = {.fd = vsock->host.report, .events = POLLIN};

	if (!vsock->host.report)
		return 0;
	while (poll(&report, 1, -1) < 0 && errno == EINTR)
		;
	return worker_try(virtio->worker, take_report, vsock, e);
}

int virtio_vsock_new(struct virtio **out, const char *name, struct worker *worker, uint32_t cid, const char *folder,
		     struct error *e)
{
	struct virtio_vsock *vsock = calloc(1, sizeof *vsock);
	int r;

	if (!vsock)
		return error_errno(e, -ENOMEM, "device %s", name);
	vsock->cid = cid;
	vsock->listener = -1;
	vsock->last_waiting = &vsock->first_waiting;
	vsock->folder = strdup(folder);
	if (!vsock->folder)
		r = error_errno(e, -ENOMEM, "device %s", name);
	else if (cid < VSOCK_CID_MIN || cid > VSOCK_CID_MAX)
		r = error_set(e, ERROR_USAGE, -EINVAL, "%u is no CID of a guest; give 3 to %u", cid, VSOCK_CID_MAX);
	else
		r = set_up(vsock, name, worker, e);
	if (r < 0)
		free_own(vsock);
	else
		*out = &vsock->virtio;
	return r;
}

struct dial {
	struct virtio_vsock *vsock;
	int fd;
};

static void dialled(void *arg)
{
	const struct dial *dial = arg;

	connection_accept(dial->vsock, dial->fd);
}

int virtio_vsock_dial(struct virtio *virtio, int *fd)
{
	struct dial dial = {.vsock = vsock_of(virtio)};
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	dial.fd = ends[1];
	worker_call(virtio->worker, dialled, &dial);
	*fd = ends[0];
	return 0;
}
