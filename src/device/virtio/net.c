#include "device/virtio/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/virtio/net_private.h"
#include "net/packet.h"

#define QUEUE_SIZE   256
#define CONTROL_SIZE 64

static const struct {
	uint64_t out, in; /* features */
	unsigned offload;
} offloads[] = {
	{NET_F_CSUM, NET_F_GUEST_CSUM, NET_OFFLOAD_CHECKSUM},
	{NET_F_HOST_TSO4, NET_F_GUEST_TSO4, NET_OFFLOAD_TSO4},
	{NET_F_HOST_TSO6, NET_F_GUEST_TSO6, NET_OFFLOAD_TSO6},
	{NET_F_HOST_ECN, NET_F_GUEST_ECN, NET_OFFLOAD_ECN},
};

static uint64_t features(const struct virtio *virtio)
{
	const struct virtio_net *card = (const struct virtio_net *)virtio;
	uint64_t offered = VIRTIO_F_IN_ORDER | NET_F_CTRL_GUEST_OFFLOADS | NET_F_MTU | NET_F_MAC | NET_F_MRG_RXBUF |
			   NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_VLAN | NET_F_CTRL_RX_EXTRA |
			   NET_F_GUEST_ANNOUNCE;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (net_offloads(card->net) & offloads[i].offload)
			offered |= offloads[i].out | offloads[i].in;
	if (card->pairs_max > 1)
		offered |= NET_F_MQ;
	if (!net_mac_is_fixed(card->net))
		offered |= NET_F_CTRL_MAC_ADDR;
	return offered;
}

unsigned net_offloads_out(const struct virtio_net *card)
{
	unsigned result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (virtio_has(&card->virtio, offloads[i].out))
			result |= offloads[i].offload;
	return result;
}

unsigned net_offloads_in(const struct virtio_net *card)
{
	unsigned result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (card->guest_offloads & offloads[i].in)
			result |= offloads[i].offload;
	return result;
}

unsigned net_control_queue(const struct virtio_net *card)
{
	return virtio_has(&card->virtio, NET_F_MQ) ? 2 * card->pairs_max : 2;
}

void net_tell_offloads(struct virtio_net *card)
{
	struct error e;

	if (net_set_offloads(card->net, net_offloads_in(card), &e) < 0)
		log_line(LOG_WARNING, "net", "%s: %s", card->virtio.device.name, e.message);
}

void net_show_status(struct virtio_net *card)
{
	uint16_t status = (uint16_t)((card->link_up ? NET_LINK_UP : 0) | (card->announcing ? NET_ANNOUNCE : 0));
	const le16_t value = le16_put(status);

	virtio_config_change(&card->virtio, NET_CONFIG_STATUS, &value, sizeof value);
}

void net_watch(struct virtio_net *card)
{
	uint32_t wanted = (card->starved || card->receive_gate.timer.armed ? 0 : EPOLLIN) | (card->blocked ? EPOLLOUT : 0);

	if (!card->watch || wanted == card->events)
		return;
	card->events = wanted;
	loop_watch_events(worker_loop(card->virtio.worker), card->watch, wanted);
}

static void unwatch(struct virtio_net *card)
{
	loop_unwatch(worker_loop(card->virtio.worker), card->watch);
	card->watch = NULL;
	card->events = 0;
}

void net_lose(struct virtio_net *card)
{
	struct error e;

	if (net_descriptor(card->net) < 0)
		return;
	unwatch(card);
	net_ended(card->net, &e);
	log_line(LOG_ERROR, "net", "%s: %s; its link is down", card->virtio.device.name, e.message);
	card->link_up = false;
	card->blocked = 0;
	net_show_status(card);
}

static void unblock(struct virtio_net *card)
{
	uint32_t blocked = card->blocked;

	card->blocked = 0;
	for (; blocked; blocked &= blocked - 1)
		virtio_look_again(&card->virtio, (unsigned)__builtin_ctz(blocked));
}

static void ready(void *arg, uint32_t events)
{
	struct virtio_net *card = arg;

	if (events & EPOLLOUT)
		unblock(card);
	if (events & (EPOLLHUP | EPOLLERR) && card->starved) {
		/* Nothing more can come, and what came waits for the guest: no reason to be called again and
		 * again. */
		net_lose(card);
		return;
	}
	net_receive(card);
}

static void receive_again(void *arg)
{
	net_receive(arg);
}

static void transmit_again(void *arg)
{
	struct virtio_net *card = arg;

	for (unsigned i = 0; i < card->pairs_max; i++)
		virtio_look_again(&card->virtio, 2 * i + 1);
}

/* What the driver agreed to may be in packets to it until it says otherwise. */
static void agree(struct virtio_net *card)
{
	if (card->agreed)
		return;
	card->agreed = true;
	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		card->guest_offloads |= card->virtio.driver_features & offloads[i].in;
}

static void start(struct virtio *virtio)
{
	struct virtio_net *card = (struct virtio_net *)virtio;
	struct error e;
	int fd = net_descriptor(card->net);

	agree(card);
	net_tell_offloads(card);
	if (fd < 0)
		return;
	card->events = EPOLLIN;
	if (loop_watch(worker_loop(virtio->worker), fd, EPOLLIN, ready, card, &card->watch, &e) < 0)
		log_line(LOG_ERROR, "net", "%s: %s", virtio->device.name, e.message);
}

static void kicked(struct virtio *virtio, unsigned queue)
{
	struct virtio_net *card = (struct virtio_net *)virtio;

	if (queue == net_control_queue(card))
		net_control(card);
	else if (queue % 2)
		net_transmit(card, queue);
	else if (card->starved)
		net_receive(card);
}

static void quiesce(struct virtio *virtio)
{
	struct virtio_net *card = (struct virtio_net *)virtio;
	struct loop *loop = worker_loop(virtio->worker);

	unwatch(card);
	loop_timer_cancel(loop, &card->receive_gate.timer);
	loop_timer_cancel(loop, &card->transmit_gate.timer);
	card->starved = false;
	card->blocked = 0;
	virtio_quiet(virtio);
}

static void forget(struct virtio_net *card)
{
	net_filter_reset(&card->filter, card->mac);
	memset(card->flows, 0, sizeof card->flows);
	card->guest_offloads = 0;
	card->pairs = 1;
	card->pending = 0;
	card->announcing = card->agreed = false;
}

static void reset(struct virtio *virtio)
{
	struct virtio_net *card = (struct virtio_net *)virtio;

	forget(card);
	net_show_status(card);
}

static const struct virtio_kind kind = {
	.id = 1,
	.features = features,
	.start = start,
	.kicked = kicked,
	.quiesce = quiesce,
	.reset = reset,
};

static int validate(const void *shadow, struct error *e)
{
	const struct virtio_net *card = shadow;
	int r = virtio_validate(shadow, e);

	if (r < 0)
		return r;
	if (card->pairs < 1 || card->pairs > card->pairs_max ||
	    card->filter.unicast_count + card->filter.multicast_count > NET_TABLE_MAX)
		return error_set(e, ERROR_FAILED, -EINVAL, "the saved state of %s has more than the card",
				 card->virtio.device.name);
	return 0;
}

static const struct state_field fields[] = {
	VIRTIO_STATE_FIELDS,
	STATE_FIELD(struct virtio_net, filter.mac, STATE_U8),
	STATE_FIELD(struct virtio_net, filter.promiscuous, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.all_multicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.all_unicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.no_multicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.no_unicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.no_broadcast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.table, STATE_U8),
	STATE_FIELD(struct virtio_net, filter.unicast_count, STATE_U16),
	STATE_FIELD(struct virtio_net, filter.multicast_count, STATE_U16),
	STATE_FIELD(struct virtio_net, filter.any_unicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.any_multicast, STATE_BOOL),
	STATE_FIELD(struct virtio_net, filter.vlans, STATE_U8),
	STATE_FIELD(struct virtio_net, guest_offloads, STATE_U64),
	STATE_FIELD(struct virtio_net, agreed, STATE_BOOL),
	STATE_FIELD(struct virtio_net, pairs, STATE_U16),
	STATE_FIELD(struct virtio_net, announcing, STATE_BOOL),
};

static const struct state_descriptor state = {
	.kind = "virtio-net",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct virtio_net),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

static void destroy(struct device *device)
{
	struct virtio_net *card = (struct virtio_net *)device;

	virtio_finish(&card->virtio);
	net_close(card->net);
	free(card);
}

/* A copy has an address of its own, which its guest sees when it sets the card up anew: nothing tells a driver. */
static void loaded(struct device *device)
{
	struct virtio_net *card = (struct virtio_net *)device;

	memcpy(card->virtio.config + NET_CONFIG_MAC, card->mac, NET_MAC_BYTES);
	virtio_device_loaded(device);
}

const struct device_type virtio_net_type = {
	.name = "virtio-net",
	.help = "network card",
	.state = &state,
	.is_virtio = true,
	.reset = virtio_device_reset,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.loaded = loaded,
	.describe = virtio_device_describe,
	.destroy = destroy,
};

static void configure(struct virtio_net *card)
{
	const le16_t status = le16_put(card->link_up ? NET_LINK_UP : 0), pairs = le16_put((uint16_t)card->pairs_max),
		     mtu = le16_put(net_mtu(card->net));

	memcpy(card->virtio.config + NET_CONFIG_MAC, card->mac, NET_MAC_BYTES);
	memcpy(card->virtio.config + NET_CONFIG_STATUS, &status, sizeof status);
	memcpy(card->virtio.config + NET_CONFIG_PAIRS, &pairs, sizeof pairs);
	memcpy(card->virtio.config + NET_CONFIG_MTU, &mtu, sizeof mtu);
}

int virtio_net_new(struct virtio **out, const char *name, struct worker *worker, struct net *net,
		   const struct virtio_net_options *options, struct error *e)
{
	uint16_t sizes[2 * VIRTIO_NET_PAIRS_MAX + 1];
	struct virtio_net *card = calloc(1, sizeof *card);
	unsigned queues = 2 * options->pairs;
	int r;

	assert(options->pairs >= 1 && options->pairs <= VIRTIO_NET_PAIRS_MAX);
	for (unsigned i = 0; i < queues; i++)
		sizes[i] = QUEUE_SIZE;
	/* A driver of one pair takes the third queue for control: it is as large as the others. */
	sizes[queues] = CONTROL_SIZE;
	r = card ? virtio_init(&card->virtio, &virtio_net_type, &kind, name, worker, sizes, queues + 1,
			       NET_CONFIG_SIZE, e)
		 : error_errno(e, -ENOMEM, "device %s", name);
	if (r < 0) {
		free(card);
		net_close(net);
		return r;
	}
	card->net = net;
	card->pairs_max = options->pairs;
	card->link_up = net_descriptor(net) >= 0;
	memcpy(card->mac, options->mac, NET_MAC_BYTES);
	card->receive_gate.timer = (struct loop_timer){.fn = receive_again, .arg = card};
	card->transmit_gate.timer = (struct loop_timer){.fn = transmit_again, .arg = card};
	net_gate_set(&card->receive_gate, &options->limits);
	net_gate_set(&card->transmit_gate, &options->limits);
	forget(card);
	configure(card);
	*out = &card->virtio;
	return 0;
}

/* A reverse request of ARP for itself (RFC 903), of which switches learn where the card is, and nobody else heeds it. */
static void tell_switches(const struct virtio_net *card)
{
	struct {
		struct packet_header header;
		uint8_t to[NET_MAC_BYTES], from[NET_MAC_BYTES], type[2];
		uint8_t arp[8], sender[NET_MAC_BYTES], sender_ip[4], target[NET_MAC_BYTES], target_ip[4];
		uint8_t padding[18];
	} packet = {
		.to = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.type = {0x80, 0x35},
		.arp = {0, 1, 8, 0, NET_MAC_BYTES, 4, 0, 3}, /* Ethernet, IPv4, reverse request */
	};
	int fd = net_descriptor(card->net);

	_Static_assert(sizeof packet == sizeof(struct packet_header) + 60, "the shortest frame of Ethernet");
	memcpy(packet.from, card->mac, NET_MAC_BYTES);
	memcpy(packet.sender, card->mac, NET_MAC_BYTES);
	memcpy(packet.target, card->mac, NET_MAC_BYTES);
	/* The guest tells too, if it knows how. */
	if (fd >= 0)
		(void)!write(fd, &packet, sizeof packet);
}

static void announce(void *arg)
{
	struct virtio_net *card = arg;

	tell_switches(card);
	if (!virtio_has(&card->virtio, NET_F_GUEST_ANNOUNCE) || !virtio_live(&card->virtio))
		return;
	card->announcing = true;
	net_show_status(card);
}

struct new_limits {
	struct virtio_net *card;
	const struct net_limits *limits;
};

/* What waits is looked at again. */
static void set_limits(void *arg)
{
	const struct new_limits *new = arg;
	struct net_gate *const gates[] = {&new->card->receive_gate, &new->card->transmit_gate};

	for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
		net_gate_set(gates[i], new->limits);
		if (gates[i]->timer.armed)
			loop_timer_set(worker_loop(new->card->virtio.worker), &gates[i]->timer, clock_host_ns());
	}
}

void virtio_net_set_limits(struct virtio *virtio, const struct net_limits *limits)
{
	struct new_limits new = {(struct virtio_net *)virtio, limits};

	worker_call(virtio->worker, set_limits, &new);
}

void virtio_net_announce(struct virtio *virtio)
{
	worker_call(virtio->worker, announce, virtio);
}
