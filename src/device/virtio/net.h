/*
 * Virtio network card (Virtio 1.2, 5.1) in front of a network back end (net/net.h).
 *
 * Packets from the guest go to the back end straight from the guest's memory; their headers are copied and judged
 * before that. Packets to the guest wait in the back end while the guest has no room for them. When the back end
 * dies, the link goes down and the machine goes on.
 *
 * Threads: as virtio.h; the back end's descriptor belongs to the worker.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_NET_H
#define DOPPEL_DEVICE_VIRTIO_NET_H

#include "device/virtio/virtio.h"
#include "net/net.h"

#define VIRTIO_NET_PAIRS_MAX 8

struct virtio_net_options {
	uint8_t mac[NET_MAC_BYTES];
	unsigned pairs; /* of queues: 1 to VIRTIO_NET_PAIRS_MAX, best one for each vCPU */
	struct net_limits limits;
};

/* `net` becomes the device's, also on failure. -ENOMEM. Released with device_free. */
MUST_USE int virtio_net_new(struct virtio **out, const char *name, struct worker *worker, struct net *net,
			    const struct virtio_net_options *options, struct error *e);
/* Any thread: other limits from now on, with full bursts. */
void virtio_net_set_limits(struct virtio *virtio, const struct net_limits *limits);
/* Any thread: tells switches on the way where the card is now, and asks the guest to tell the network (5.1.6.5.4), after it was
 * moved. */
void virtio_net_announce(struct virtio *virtio);

extern const struct device_type virtio_net_type;

#endif
