#include "device/virtio/fs.h"

#include <errno.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"

#define DEVICE_ID    26
#define QUEUE_COUNT  2 /* urgent requests, requests */
#define QUEUE_SIZE   128
#define SLOT_COUNT   64
#define CONFIG_BYTES 40
#define PATIENCE_NS  UINT64_C(5000000000) /* with a server, when its answers are waited for */

/* Configuration space (5.11.4). */
struct fs_config {
	uint8_t tag[VIRTIO_FS_TAG_BYTES];
	le32_t request_queues;
};
_Static_assert(sizeof(struct fs_config) == CONFIG_BYTES, "as on the wire");

/* A request on its way. */
struct slot {
	struct virtqueue_chain chain;
	unsigned queue;
	bool taken;
};

struct virtio_fs {
	struct virtio virtio;
	struct share *share;
	struct loop_watch *watch; /* of the share's descriptor; NULL once it failed */
	struct slot *slots;
	unsigned in_flight;
	bool full;      /* the socket takes no more for now */
	bool quiescing; /* tell when nothing is in flight */
	struct loop_timer patience;
};

static struct virtio_fs *fs_of(struct virtio *virtio)
{
	return (struct virtio_fs *)virtio;
}

static void give_back(struct virtio_fs *fs, struct slot *slot, uint32_t written)
{
	if (slot->taken)
		fs->in_flight--;
	slot->taken = false;
	virtio_count(&fs->virtio.statistics.bytes_in, written);
	virtio_count(&fs->virtio.statistics.bytes_out, slot->chain.readable_bytes);
	virtqueue_push(&fs->virtio.queues[slot->queue], &slot->chain, written);
	virtio_notify(&fs->virtio, slot->queue);
}

/* The only thing that is known of FUSE here: how to say that a request failed, so that who asked in the guest does not
 * wait for ever. */
static void refuse(struct virtio_fs *fs, struct slot *slot)
{
	struct fuse_in_header in = {.len = 0};
	struct fuse_out_header out = {.len = sizeof out, .error = -EIO};
	uint32_t written = 0;

	(void)virtqueue_read(&slot->chain, 0, &in, sizeof in);
	out.unique = in.unique;
	if (slot->chain.writable_bytes >= sizeof out)
		written = (uint32_t)virtqueue_write(&slot->chain, 0, &out, sizeof out);
	give_back(fs, slot, written);
}

/* Whoever waits for that nothing is in flight need wait no longer. */
static void be_quiet(struct virtio_fs *fs)
{
	if (!fs->quiescing)
		return;
	fs->quiescing = false;
	loop_timer_cancel(worker_loop(fs->virtio.worker), &fs->patience);
	virtio_quiet(&fs->virtio);
}

static void go_without(struct virtio_fs *fs, const char *what, const char *how)
{
	struct error e;

	loop_unwatch(worker_loop(fs->virtio.worker), fs->watch);
	fs->watch = NULL;
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		if (fs->slots[i].taken)
			refuse(fs, &fs->slots[i]);
	(void)error_set(&e, ERROR_FAILED, -EIO,
			"the shared folder's server %s; it %s; the folder is there again when the machine is started anew",
			what, how);
	virtio_broken(&fs->virtio, &e);
	be_quiet(fs);
}

static void server_failed(struct virtio_fs *fs, const char *what)
{
	char how[128];

	share_end(fs->share, how, sizeof how);
	go_without(fs, what, how);
}

static void server_hangs(void *arg)
{
	struct virtio_fs *fs = arg;

	go_without(fs, "does not answer", "was told to end");
	share_kill(fs->share);
}

static unsigned free_slot(const struct virtio_fs *fs)
{
	unsigned i = 0;

	while (i < SLOT_COUNT && fs->slots[i].taken)
		i++;
	return i;
}

/* 0, or a negative errno: -EMSGSIZE for what no driver of this device sends. */
static int send_request(struct virtio_fs *fs, unsigned index)
{
	const struct virtqueue_chain *chain = &fs->slots[index].chain;
	uint64_t room = chain->writable_bytes < SHARE_MESSAGE_MAX ? chain->writable_bytes : SHARE_MESSAGE_MAX;
	struct share_prefix prefix = {le32_put(index), le32_put((uint32_t)room)};
	struct iovec spans[IOV_MAX] = {{&prefix, sizeof prefix}};
	const struct msghdr message = {.msg_iov = spans, .msg_iovlen = chain->readable + 1};

	if (chain->readable_bytes > SHARE_MESSAGE_MAX || chain->readable >= IOV_MAX)
		return -EMSGSIZE;
	memcpy(spans + 1, chain->spans, chain->readable * sizeof *spans);
	return sendmsg(share_descriptor(fs->share), &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void watch_room(struct virtio_fs *fs, bool full)
{
	if (fs->full != full)
		loop_watch_events(worker_loop(fs->virtio.worker), fs->watch, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
	fs->full = full;
}

/* Passes on one request; false when there is none, or no room for it. Without a server each one is refused. */
static bool pass_on(struct virtio_fs *fs, unsigned queue)
{
	struct virtqueue *ring = &fs->virtio.queues[queue];
	unsigned index = free_slot(fs);
	struct slot *slot = &fs->slots[index];
	int r;

	if ((fs->watch && fs->full) || index == SLOT_COUNT || !virtio_next(&fs->virtio, queue, &slot->chain))
		return false;
	slot->queue = queue;
	r = fs->watch ? send_request(fs, index) : -EIO;
	switch (r) {
	case 0:
		slot->taken = true;
		fs->in_flight++;
		return true;
	case -EAGAIN:
		virtqueue_unpop(ring, &slot->chain);
		watch_room(fs, true);
		return false;
	default:
		refuse(fs, slot);
		if (r != -EMSGSIZE && fs->watch)
			server_failed(fs, "takes no requests");
		return true;
	}
}

static void fs_kicked(struct virtio *virtio, unsigned queue)
{
	while (pass_on(fs_of(virtio), queue))
		;
}

static void serve_all(struct virtio_fs *fs)
{
	for (unsigned i = 0; i < QUEUE_COUNT; i++)
		fs_kicked(&fs->virtio, i);
}

/* Takes one reply into the guest's spans; false when there is none. */
static bool take_reply(struct virtio_fs *fs)
{
	int socket = share_descriptor(fs->share);
	struct share_prefix prefix;
	struct iovec spans[IOV_MAX] = {{&prefix, sizeof prefix}};
	struct msghdr message = {.msg_iov = spans};
	ssize_t got = recv(socket, &prefix, sizeof prefix, MSG_PEEK | MSG_DONTWAIT);
	struct virtqueue_chain *chain;
	struct slot *slot;

	if (got < 0 && errno == EAGAIN)
		return false;
	slot = &fs->slots[got == sizeof prefix && le32_get(prefix.slot) < SLOT_COUNT ? le32_get(prefix.slot) : 0];
	if (got != sizeof prefix || le32_get(prefix.slot) >= SLOT_COUNT || !slot->taken) {
		server_failed(fs, got <= 0 ? "ended" : "sent nonsense");
		return false;
	}
	chain = &slot->chain;
	message.msg_iovlen = 1 + (chain->writable < IOV_MAX - 1 ? chain->writable : IOV_MAX - 1);
	memcpy(spans + 1, chain->spans + chain->readable, (message.msg_iovlen - 1) * sizeof *spans);
	got = recvmsg(socket, &message, MSG_DONTWAIT);
	if (got < (ssize_t)sizeof prefix || (message.msg_flags & MSG_TRUNC)) {
		server_failed(fs, "sent a reply longer than what was asked for");
		return false;
	}
	give_back(fs, slot, (uint32_t)((size_t)got - sizeof prefix));
	return true;
}

static void socket_ready(void *arg, uint32_t events)
{
	struct virtio_fs *fs = arg;

	if (events & EPOLLOUT)
		watch_room(fs, false);
	while (fs->watch && take_reply(fs))
		;
	if (fs->in_flight == 0)
		be_quiet(fs);
	if (fs->watch)
		serve_all(fs);
}

static void fs_quiesce(struct virtio *virtio)
{
	struct virtio_fs *fs = fs_of(virtio);

	fs->quiescing = true;
	if (fs->in_flight == 0)
		be_quiet(fs);
	else
		loop_timer_set(worker_loop(virtio->worker), &fs->patience, clock_host_ns() + PATIENCE_NS);
}

static uint64_t fs_features(const struct virtio *virtio)
{
	(void)virtio;
	return 0;
}

static const struct virtio_kind fs_kind = {
	.id = DEVICE_ID,
	.features = fs_features,
	.kicked = fs_kicked,
	.quiesce = fs_quiesce,
};

static int begin_watch(void *arg, struct error *e)
{
	struct virtio_fs *fs = arg;

	return loop_watch(worker_loop(fs->virtio.worker), share_descriptor(fs->share), EPOLLIN, socket_ready, fs,
			  &fs->watch, e);
}

/* Nobody is there any more to wait for what is in flight. */
static void end_watch(void *arg)
{
	struct virtio_fs *fs = arg;

	loop_unwatch(worker_loop(fs->virtio.worker), fs->watch);
	fs->watch = NULL;
	fs->in_flight = 0;
	be_quiet(fs);
}

static void fs_destroy(struct device *device)
{
	struct virtio_fs *fs = (struct virtio_fs *)device;

	worker_call(fs->virtio.worker, end_watch, fs);
	virtio_finish(&fs->virtio);
	share_close(fs->share);
	free(fs->slots);
	free(fs);
}

static const struct state_field fs_fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor fs_state = {
	.kind = "virtio-fs",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct virtio_fs),
	.fields = fs_fields,
	.field_count = ARRAY_SIZE(fs_fields),
	.validate = virtio_validate,
};

const struct device_type virtio_fs_type = {
	.name = "virtio-fs",
	.help = "a folder of the host, shared with the guest",
	.state = &fs_state,
	VIRTIO_DEVICE_OPS,
	.destroy = fs_destroy,
};

static int set_up(struct virtio_fs *fs, const char *name, struct worker *worker, const char *tag, struct error *e)
{
	static const uint16_t sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE};
	struct fs_config config = {.request_queues = le32_put(QUEUE_COUNT - 1)};
	size_t length = strlen(tag);
	int r;

	if (length < 1 || length > VIRTIO_FS_TAG_BYTES)
		return error_set(e, ERROR_USAGE, -EINVAL, "\"%.60s\" is no tag of a shared folder; give 1 to %d bytes",
				 tag, VIRTIO_FS_TAG_BYTES);
	fs->slots = calloc(SLOT_COUNT, sizeof *fs->slots);
	if (!fs->slots)
		return error_errno(e, -ENOMEM, "device %s", name);
	r = virtio_init(&fs->virtio, &virtio_fs_type, &fs_kind, name, worker, sizes, QUEUE_COUNT, sizeof config, e);
	if (r < 0) {
		free(fs->slots);
		return r;
	}
	memcpy(config.tag, tag, length);
	memcpy(fs->virtio.config, &config, sizeof config);
	r = worker_try(worker, begin_watch, fs, e);
	if (r < 0) {
		virtio_finish(&fs->virtio);
		free(fs->slots);
	}
	return r;
}

int virtio_fs_new(struct virtio **out, const char *name, struct worker *worker, const char *tag, struct share *share,
		  struct error *e)
{
	struct virtio_fs *fs = calloc(1, sizeof *fs);
	int r = fs ? 0 : error_errno(e, -ENOMEM, "device %s", name);

	if (r == 0) {
		fs->share = share;
		fs->patience = (struct loop_timer){.fn = server_hangs, .arg = fs};
		r = set_up(fs, name, worker, tag, e);
	}
	if (r < 0) {
		free(fs);
		share_close(share);
		return r;
	}
	*out = &fs->virtio;
	return 0;
}
