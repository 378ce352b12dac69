/* The console with named ports: channels, each a Unix socket on the host. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/acceptor.h"
#include "base/socket.h"
#include "device/virtio/console.h"

#define DEVICE_ID   3
#define F_MULTIPORT (UINT64_C(1) << 1)
#define QUEUE_SIZE  64
#define NAME_BYTES  63

/* Queues: port 0's, control, then the other ports' (5.3.2). */
enum { CONTROL_TO_GUEST = 2, CONTROL_FROM_GUEST = 3 };
#define QUEUE_COUNT_MAX (2 + 2 * VIRTIO_CHANNELS_MAX)
_Static_assert(QUEUE_COUNT_MAX <= VIRTIO_QUEUES_MAX, "queues for all channels");

/* Configuration space (5.3.4). */
struct channels_config {
	le16_t columns, rows;
	le32_t ports_max;
	le32_t emergency;
};

/* A control message (5.3.6.2); PORT_NAME has the name behind it. */
struct control {
	le32_t port;
	le16_t event, value;
};
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

/* What the guest is to be told of a port, lowest bit first. */
enum { TELL_ADD = 1, TELL_NAME = 2, TELL_OPEN = 4 };

struct channels;

struct channel {
	struct channels *channels;
	unsigned port;
	char *name, *path;
	int listener, client; /* -1: none */
	struct acceptor acceptor;
	struct loop_watch *client_watch;
	bool readable; /* the client may have sent something; it is not watched for more meanwhile */
	bool crowded;  /* the client takes no more for now; it is watched for room */
	uint64_t at;   /* bytes of the guest's buffer that the client took already */
	bool halfway;
	struct virtqueue_chain chain; /* from the guest */
	unsigned tell;
	bool told_open; /* what the guest knows of a client */
};

struct channels {
	struct virtio virtio;
	struct channel *table;
	unsigned count;
	struct virtqueue_chain buffer; /* to the guest, and control */
	bool guest_open[VIRTIO_CHANNELS_MAX]; /* saved: a program of the guest has it open */
	bool ready;                           /* saved: the guest's driver asked for the ports */
	atomic_bool loaded;                   /* a state was; the worker has not acted on it yet */
};

static struct channels *channels_of(struct virtio *virtio)
{
	return (struct channels *)virtio;
}

static unsigned to_guest(unsigned port)
{
	return port == 0 ? 0 : 2 + 2 * port;
}

static unsigned from_guest(unsigned port)
{
	return to_guest(port) + 1;
}

static struct loop *loop_of(const struct channels *channels)
{
	return worker_loop(channels->virtio.worker);
}

static void watch_client(struct channel *channel)
{
	if (channel->client_watch)
		loop_watch_events(loop_of(channel->channels), channel->client_watch,
				  (channel->readable ? 0 : EPOLLIN) | (channel->crowded ? EPOLLOUT : 0));
}

/* The guest knows now whether there is a client. Only when it knows that one went does the next one come. */
static void told_open(struct channel *channel, bool open)
{
	channel->told_open = open;
	if (!open)
		acceptor_want(&channel->acceptor, true);
}

/* One message of what is to be told of a port; its length, 0 when the guest's buffer is too small for it. */
static uint32_t write_control(struct channel *channel)
{
	static const uint16_t events[] = {PORT_ADD, PORT_NAME, PORT_OPEN};
	unsigned which = (unsigned)__builtin_ctz(channel->tell);
	struct virtqueue_chain *buffer = &channel->channels->buffer;
	bool value = (1u << which) != TELL_OPEN || channel->client >= 0;
	const struct control control = {le32_put(channel->port), le16_put(events[which]), le16_put(value)};
	size_t length = (1u << which) == TELL_NAME ? strlen(channel->name) : 0;

	channel->tell &= ~(1u << which);
	if ((1u << which) == TELL_OPEN)
		told_open(channel, value);
	if (buffer->writable_bytes < sizeof control + length)
		return 0;
	(void)virtqueue_write(buffer, 0, &control, sizeof control);
	(void)virtqueue_write(buffer, sizeof control, channel->name, length);
	return (uint32_t)(sizeof control + length);
}

static struct channel *to_be_told(struct channels *channels)
{
	for (unsigned i = 0; i < channels->count; i++)
		if (channels->table[i].tell)
			return &channels->table[i];
	return NULL;
}

static void serve_control(struct channels *channels)
{
	struct channel *channel;
	bool pushed = false;

	while (virtio_live(&channels->virtio) && channels->ready && (channel = to_be_told(channels)) &&
	       virtio_next(&channels->virtio, CONTROL_TO_GUEST, &channels->buffer)) {
		virtqueue_push(&channels->virtio.queues[CONTROL_TO_GUEST], &channels->buffer, write_control(channel));
		pushed = true;
	}
	if (pushed)
		virtio_notify(&channels->virtio, CONTROL_TO_GUEST);
}

static void tell(struct channel *channel, unsigned what)
{
	channel->tell |= what;
	serve_control(channel->channels);
}

static void drop_client(struct channel *channel)
{
	loop_unwatch(loop_of(channel->channels), channel->client_watch);
	channel->client_watch = NULL;
	close(channel->client);
	channel->client = -1;
	channel->readable = channel->crowded = false;
	if (channel->told_open) {
		tell(channel, TELL_OPEN);
	} else {
		channel->tell &= ~(unsigned)TELL_OPEN;
		told_open(channel, false);
	}
}

/* Gives the client the rest of the buffer at hand: true when it is done with (also when nobody is there). */
static bool write_chain(struct channel *channel)
{
	struct iovec spans[IOV_MAX];
	ssize_t put;
	int count;

	while (channel->client >= 0 && channel->at < channel->chain.readable_bytes) {
		count = virtqueue_slice(&channel->chain, false, channel->at,
					channel->chain.readable_bytes - channel->at, spans, IOV_MAX);
		if (count <= 0)
			return true;
		put = sendmsg(channel->client, &(struct msghdr){.msg_iov = spans, .msg_iovlen = (size_t)count},
			      MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EAGAIN)
			return false;
		if (put < 0)
			drop_client(channel);
		else
			channel->at += (uint64_t)put;
	}
	return true;
}

static void finish_chain(struct channel *channel)
{
	struct channels *channels = channel->channels;

	channels->virtio.statistics.bytes_out += channel->at;
	channel->halfway = false;
	virtqueue_push(&channels->virtio.queues[from_guest(channel->port)], &channel->chain, 0);
}

static void serve_from_guest(struct channel *channel)
{
	struct virtio *virtio = &channel->channels->virtio;
	unsigned queue = from_guest(channel->port);
	bool pushed = false;

	while (channel->halfway || (!channel->crowded && virtio_next(virtio, queue, &channel->chain))) {
		if (!channel->halfway)
			channel->at = 0;
		channel->halfway = true;
		channel->crowded = !write_chain(channel);
		if (channel->crowded)
			break;
		finish_chain(channel);
		pushed = true;
	}
	watch_client(channel);
	if (pushed)
		virtio_notify(virtio, queue);
}

/* Reads from the client into the guest's buffer: bytes, 0 when there are none now, or never again. */
static uint32_t read_client(struct channel *channel, bool *ended)
{
	struct virtqueue_chain *buffer = &channel->channels->buffer;
	ssize_t got = readv(channel->client, buffer->spans + buffer->readable, (int)buffer->writable);

	if (got > 0)
		return (uint32_t)got;
	*ended = got == 0 || errno != EAGAIN;
	channel->readable = false;
	return 0;
}

static void serve_to_guest(struct channel *channel)
{
	struct channels *channels = channel->channels;
	unsigned queue = to_guest(channel->port);
	bool pushed = false, ended = false;

	while (channel->readable && virtio_live(&channels->virtio) && channels->guest_open[channel->port] &&
	       virtio_next(&channels->virtio, queue, &channels->buffer)) {
		/* A buffer without room is given back as it is: reading nothing would look like the client's end. */
		bool room = channels->buffer.writable > 0;
		uint32_t length = room ? read_client(channel, &ended) : 0;

		if (room && length == 0) {
			virtqueue_unpop(&channels->virtio.queues[queue], &channels->buffer);
			break;
		}
		channels->virtio.statistics.bytes_in += length;
		virtqueue_push(&channels->virtio.queues[queue], &channels->buffer, length);
		pushed = true;
	}
	/* After the buffer was put back: what the guest is told takes another to the same place. */
	if (ended)
		drop_client(channel);
	watch_client(channel);
	if (pushed)
		virtio_notify(&channels->virtio, queue);
}

static void client_ready(void *arg, uint32_t events)
{
	struct channel *channel = arg;

	channel->readable = true;
	if (events & EPOLLOUT)
		channel->crowded = false;
	if (events & EPOLLERR) {
		drop_client(channel);
		return;
	}
	serve_from_guest(channel);
	if (channel->client < 0)
		return;
	serve_to_guest(channel);
	/* It hung up, and the guest takes nothing: the loop would tell of that for ever. What it sent is lost with it. */
	if (channel->client >= 0 && (events & EPOLLHUP) && channel->readable)
		drop_client(channel);
}

/* One client at a time: others wait in the listener's queue. */
static void client_came(void *arg, int fd)
{
	struct channel *channel = arg;

	if (loop_watch(loop_of(channel->channels), fd, EPOLLIN, client_ready, channel, &channel->client_watch, NULL) < 0) {
		close(fd);
		return;
	}
	channel->client = fd;
	acceptor_want(&channel->acceptor, false);
	tell(channel, TELL_OPEN);
}

/* What the driver says of a port, or of the device. */
static void take_control(struct channels *channels, const struct control *control)
{
	uint32_t port = le32_get(control->port);
	uint16_t event = le16_get(control->event), value = le16_get(control->value);

	if (event == DEVICE_READY) {
		channels->ready = value == 1;
		for (unsigned i = 0; channels->ready && i < channels->count; i++)
			channels->table[i].tell = TELL_ADD;
	} else if (port >= channels->count) {
		return;
	} else if (event == PORT_READY && value == 1) {
		channels->table[port].tell |= TELL_NAME | (channels->table[port].client >= 0 ? TELL_OPEN : 0);
	} else if (event == PORT_OPEN) {
		channels->guest_open[port] = value == 1;
		virtio_look_again(&channels->virtio, to_guest(port));
	}
}

static void serve_driver(struct channels *channels)
{
	struct virtio *virtio = &channels->virtio;
	bool pushed = false;

	while (virtio_next(virtio, CONTROL_FROM_GUEST, &channels->buffer)) {
		struct control control;
		bool whole = virtqueue_read(&channels->buffer, 0, &control, sizeof control) == sizeof control;

		virtqueue_push(&virtio->queues[CONTROL_FROM_GUEST], &channels->buffer, 0);
		pushed = true;
		if (whole)
			take_control(channels, &control);
	}
	if (pushed)
		virtio_notify(virtio, CONTROL_FROM_GUEST);
	serve_control(channels);
}

static void channels_kicked(struct virtio *virtio, unsigned queue)
{
	struct channels *channels = channels_of(virtio);
	unsigned port = queue < 2 ? 0 : (queue - 2) / 2;

	if (queue == CONTROL_TO_GUEST)
		serve_control(channels);
	else if (queue == CONTROL_FROM_GUEST)
		serve_driver(channels);
	else if (queue == to_guest(port))
		serve_to_guest(&channels->table[port]);
	else
		serve_from_guest(&channels->table[port]);
}

/* A buffer that a client has half of is given back, its rest lost: a stream has no place to go on from. */
static void channels_quiesce(struct virtio *virtio)
{
	struct channels *channels = channels_of(virtio);

	for (unsigned i = 0; i < channels->count; i++)
		if (channels->table[i].halfway) {
			finish_chain(&channels->table[i]);
			virtio_notify(virtio, from_guest(i));
		}
	virtio_quiet(virtio);
}

static void channels_reset(struct virtio *virtio)
{
	struct channels *channels = channels_of(virtio);

	channels->ready = false;
	memset(channels->guest_open, 0, sizeof channels->guest_open);
	for (unsigned i = 0; i < channels->count; i++) {
		channels->table[i].tell = 0;
		channels->table[i].told_open = false;
		if (channels->table[i].client < 0)
			told_open(&channels->table[i], false);
	}
}

static uint64_t channels_features(const struct virtio *virtio)
{
	(void)virtio;
	return F_MULTIPORT;
}

/* Who is connected on the host is another matter after a load, and the guest is told. */
static void channels_start(struct virtio *virtio)
{
	struct channels *channels = channels_of(virtio);

	if (!atomic_exchange(&channels->loaded, false))
		return;
	for (unsigned i = 0; i < channels->count; i++)
		channels->table[i].tell = channels->ready ? TELL_OPEN : 0;
}

static const struct virtio_kind channels_kind = {
	.id = DEVICE_ID,
	.features = channels_features,
	.start = channels_start,
	.kicked = channels_kicked,
	.quiesce = channels_quiesce,
	.reset = channels_reset,
};

static void free_channel(struct channel *channel)
{
	if (channel->client >= 0)
		close(channel->client);
	if (channel->listener >= 0) {
		unlink(channel->path);
		close(channel->listener);
	}
	free(channel->name);
	free(channel->path);
}

static void free_channels(struct channels *channels)
{
	for (unsigned i = 0; i < channels->count; i++)
		free_channel(&channels->table[i]);
	free(channels->table);
	free(channels);
}

static void stop_watching(void *arg)
{
	struct channels *channels = arg;

	for (unsigned i = 0; i < channels->count; i++) {
		struct channel *channel = &channels->table[i];

		loop_unwatch(loop_of(channels), channel->client_watch);
		channel->client_watch = NULL;
		acceptor_stop(&channel->acceptor);
	}
}

static void channels_destroy(struct device *device)
{
	struct channels *channels = (struct channels *)device;

	worker_call(channels->virtio.worker, stop_watching, channels);
	virtio_finish(&channels->virtio);
	free_channels(channels);
}

static void channels_loaded(struct device *device)
{
	atomic_store(&((struct channels *)device)->loaded, true);
	virtio_device_loaded(device);
}

static const struct state_field channels_fields[] = {
	VIRTIO_STATE_FIELDS,
	STATE_FIELD(struct channels, guest_open, STATE_BOOL),
	STATE_FIELD(struct channels, ready, STATE_BOOL),
};

static const struct state_descriptor channels_state = {
	.kind = "virtio-channels",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct channels),
	.fields = channels_fields,
	.field_count = ARRAY_SIZE(channels_fields),
	.validate = virtio_validate,
};

const struct device_type virtio_channels_type = {
	.name = "virtio-channels",
	.help = "named channels between programs of the guest and Unix sockets of the host",
	.state = &channels_state,
	.is_virtio = true,
	.reset = virtio_device_reset,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.loaded = channels_loaded,
	.describe = virtio_device_describe,
	.destroy = channels_destroy,
};

static int check_name(const char *name, struct error *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = strlen(name);

	if (length >= 1 && length <= NAME_BYTES && strspn(name, allowed) == length)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%.80s\" is no name of a channel; give 1 to %d letters, digits, dots, dashes and underscores",
			 name, NAME_BYTES);
}

static int open_channel(struct channel *channel, const struct virtio_channel_options *options, struct error *e)
{
	int r = check_name(options->name, e);

	if (r < 0)
		return r;
	channel->name = strdup(options->name);
	channel->path = strdup(options->path);
	if (!channel->name || !channel->path)
		return error_errno(e, -ENOMEM, "channel %s", options->name);
	return socket_listen(channel->path, &channel->listener, e);
}

static int start_watching(void *arg, struct error *e)
{
	struct channels *channels = arg;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < channels->count; i++)
		r = acceptor_start(&channels->table[i].acceptor, channels->table[i].listener, e);
	return r;
}

static int set_up(struct channels *channels, const char *name, struct worker *worker,
		  const struct virtio_channel_options *options, unsigned count, struct error *e)
{
	const struct channels_config config = {.ports_max = le32_put(count)};
	uint16_t sizes[QUEUE_COUNT_MAX];
	int r = 0;

	for (unsigned i = 0; i < QUEUE_COUNT_MAX; i++)
		sizes[i] = QUEUE_SIZE;
	for (unsigned i = 0; i < count; i++) {
		struct channel *channel = &channels->table[i];

		*channel = (struct channel){.channels = channels, .port = i, .listener = -1, .client = -1};
		channel->acceptor = (struct acceptor){
			.loop = worker_loop(worker), .came = client_came, .arg = channel};
		channels->count++;
		r = open_channel(channel, &options[i], e);
		if (r < 0)
			return r;
	}
	r = virtio_init(&channels->virtio, &virtio_channels_type, &channels_kind, name, worker, sizes, 2 + 2 * count,
			sizeof config, e);
	if (r < 0)
		return r;
	memcpy(channels->virtio.config, &config, sizeof config);
	r = worker_try(worker, start_watching, channels, e);
	if (r == 0)
		return 0;
	worker_call(worker, stop_watching, channels);
	virtio_finish(&channels->virtio);
	return r;
}

int virtio_channels_new(struct virtio **out, const char *name, struct worker *worker,
			const struct virtio_channel_options *options, unsigned count, struct error *e)
{
	struct channels *channels;
	int r;

	if (count < 1 || count > VIRTIO_CHANNELS_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "%u channels are not possible; 1 to %d are", count,
				 VIRTIO_CHANNELS_MAX);
	channels = calloc(1, sizeof *channels);
	if (channels)
		channels->table = calloc(count, sizeof *channels->table);
	if (!channels || !channels->table) {
		free(channels);
		return error_errno(e, -ENOMEM, "device %s", name);
	}
	r = set_up(channels, name, worker, options, count, e);
	if (r < 0)
		free_channels(channels);
	else
		*out = &channels->virtio;
	return r;
}
