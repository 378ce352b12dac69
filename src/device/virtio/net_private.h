/* What the parts of the network card share; nobody else includes this but tests. */
#ifndef DOPPEL_DEVICE_VIRTIO_NET_PRIVATE_H
#define DOPPEL_DEVICE_VIRTIO_NET_PRIVATE_H

#include "base/limit.h"
#include "device/virtio/net.h"
#include "net/packet.h"

/* Feature bits (5.1.3). */
#define NET_F_CSUM                (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM          (UINT64_C(1) << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (UINT64_C(1) << 2)
#define NET_F_MTU                 (UINT64_C(1) << 3)
#define NET_F_MAC                 (UINT64_C(1) << 5)
#define NET_F_GUEST_TSO4          (UINT64_C(1) << 7)
#define NET_F_GUEST_TSO6          (UINT64_C(1) << 8)
#define NET_F_GUEST_ECN           (UINT64_C(1) << 9)
#define NET_F_HOST_TSO4           (UINT64_C(1) << 11)
#define NET_F_HOST_TSO6           (UINT64_C(1) << 12)
#define NET_F_HOST_ECN            (UINT64_C(1) << 13)
#define NET_F_MRG_RXBUF           (UINT64_C(1) << 15)
#define NET_F_STATUS              (UINT64_C(1) << 16)
#define NET_F_CTRL_VQ             (UINT64_C(1) << 17)
#define NET_F_CTRL_RX             (UINT64_C(1) << 18)
#define NET_F_CTRL_VLAN           (UINT64_C(1) << 19)
#define NET_F_CTRL_RX_EXTRA       (UINT64_C(1) << 20)
#define NET_F_GUEST_ANNOUNCE      (UINT64_C(1) << 21)
#define NET_F_MQ                  (UINT64_C(1) << 22)
#define NET_F_CTRL_MAC_ADDR       (UINT64_C(1) << 23)

/* Configuration space (5.1.4), little-endian. */
enum { NET_CONFIG_MAC = 0, NET_CONFIG_STATUS = 6, NET_CONFIG_PAIRS = 8, NET_CONFIG_MTU = 10, NET_CONFIG_SIZE = 12 };
enum { NET_LINK_UP = 1, NET_ANNOUNCE = 2 };

#define NET_TABLE_MAX 64
#define NET_VLANS     4096

/* Which packets the guest wants (5.1.6.5). */
struct net_filter {
	uint8_t mac[NET_MAC_BYTES];
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	uint8_t table[NET_TABLE_MAX * NET_MAC_BYTES]; /* unicast addresses, then groups */
	uint16_t unicast_count, multicast_count;
	bool any_unicast, any_multicast; /* the driver gave more addresses than we keep */
	uint8_t vlans[NET_VLANS / 8];
};

/* As after reset: everything, until the driver says otherwise. */
void net_filter_reset(struct net_filter *filter, const uint8_t mac[NET_MAC_BYTES]);
/* `vlans`: the driver filters them. At least PACKET_FRAME_MIN bytes are there. */
bool net_filter_passes(const struct net_filter *filter, bool vlans, const uint8_t *frame, size_t length);

/* A buffer for receiving, taken and not given back; its spans are in the pool. */
struct net_part {
	uint16_t head, descriptors;
	unsigned first, count;
	uint64_t bytes;
};

/* What may pass in one direction, and when it goes on. */
struct net_gate {
	struct limit bytes, packets;
	struct loop_timer timer;
};

struct virtio_net {
	struct virtio virtio;
	struct net *net;
	struct loop_watch *watch;
	uint32_t events;        /* watched for */
	unsigned pairs_max;
	uint8_t mac[NET_MAC_BYTES]; /* given */

	/* Saved. */
	struct net_filter filter;
	uint64_t guest_offloads; /* feature bits; what may be in packets to the guest (5.1.6.5.6) */
	uint16_t pairs;          /* in use */
	bool agreed;             /* guest_offloads are those of the negotiated features, or what came later */
	bool announcing;

	/* The worker's own, not saved. */
	bool link_up;
	bool starved;          /* a packet waits for room in the guest */
	uint32_t blocked;      /* a bit a queue: its packet waits for room in the back end */
	size_t pending;        /* bytes of a packet that waits in `packet` */
	unsigned pending_pair; /* where it is to go */
	struct net_gate receive_gate, transmit_gate;
	uint8_t flows[256]; /* pair that the guest last used for a flow */
	struct virtqueue_chain chain;
	struct net_part parts[VIRTQUEUE_SIZE_MAX];
	struct iovec pool[VIRTQUEUE_SIZE_MAX];
	uint8_t packet[NET_PACKET_MAX];
};

/* Index of the control queue: after all pairs that the driver knows of (5.1.2). */
unsigned net_control_queue(const struct virtio_net *card);
/* Serves it. net_control.c */
void net_control(struct virtio_net *card);
/* Carries out the command in card->chain; the answer to it. */
uint8_t net_execute(struct virtio_net *card);
/* Tells the back end what may be in packets to the guest. */
void net_tell_offloads(struct virtio_net *card);
/* Of features to NET_OFFLOAD_*: of the guest's packets, and of packets to it. */
unsigned net_offloads_out(const struct virtio_net *card);
unsigned net_offloads_in(const struct virtio_net *card);
/* Status and announcement into the configuration. */
void net_show_status(struct virtio_net *card);
/* The back end is gone: link down. */
void net_lose(struct virtio_net *card);
/* Which events the descriptor is watched for now. */
void net_watch(struct virtio_net *card);

/* net_receive.c, net_transmit.c. */
void net_receive(struct virtio_net *card);
void net_transmit(struct virtio_net *card, unsigned queue);
/* net_gate.c */
void net_gate_set(struct net_gate *gate, const struct net_limits *limits);
/* Whether another packet may pass now; otherwise the timer is set for when. */
bool net_gate_open(struct virtio_net *card, struct net_gate *gate);
/* One did. */
void net_gate_count(struct net_gate *gate, uint64_t bytes);
/* A flow is the same in both directions. */
unsigned net_flow(const uint8_t *frame, size_t length);

#endif
