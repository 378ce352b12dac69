/*
 * What a switch does with a frame: which ports get it, and in what form.
 *
 * Nothing is learnt: a port is bound to the one address that it gave when it came. A frame from another address is
 * dropped, so is one to an address that no port has; groups reach every other port, up to a limit for each sender.
 * Thread: the owner.
 */
#ifndef DOPPEL_NET_SWITCH_TABLE_H
#define DOPPEL_NET_SWITCH_TABLE_H

#include "net/net.h"
#include "net/packet.h"

#define SWITCH_PORTS_MAX   64
#define SWITCH_FLOOD_RATE  2000 /* frames to groups a second, from one port */
#define SWITCH_FLOOD_BURST 500

struct switch_port {
	bool used;
	bool silent; /* another port has its address, and gets what is for it, until this one speaks */
	uint8_t mac[NET_MAC_BYTES];
	unsigned offloads; /* that it takes in frames */
	uint64_t flood_tokens, flood_ns;
	uint64_t received, dropped;
};

struct switch_table {
	struct switch_port ports[SWITCH_PORTS_MAX];
};

/* A frame for `port`. The bytes are valid during the call. */
typedef void switch_deliver_fn(void *context, unsigned port, const struct packet_header *header, const uint8_t *frame,
			       size_t length);

/* The number of the new port; -EADDRINUSE when another has the address, -EINVAL for an address of a group,
 * -ENOSPC. `succeeds`: one other may have it, the same machine's before it moved; the address is whose frame came last,
 * and the other's when one of them goes. */
MUST_USE int switch_attach(struct switch_table *table, const uint8_t mac[NET_MAC_BYTES], unsigned offloads,
			   bool succeeds);
void switch_detach(struct switch_table *table, unsigned port);
void switch_set_offloads(struct switch_table *table, unsigned port, unsigned offloads);
/* A frame came from `from`, hostile; the buffer may be changed. `now_ns`: monotonic. */
void switch_forward(struct switch_table *table, unsigned from, struct packet_header *header, uint8_t *frame,
		    size_t length, uint64_t now_ns, switch_deliver_fn *deliver, void *context);

#endif
