/*
 * The TCP connections of a guest, as its packets tell: what a user network can not take along when its machine moves, since
 * they end in sockets of the host.
 *
 * Frames are hostile; what can not be read as TCP is no flow. Thread: one at a time.
 */
#ifndef DOPPEL_NET_FLOWS_H
#define DOPPEL_NET_FLOWS_H

#include "net/net.h"

/* Memory of the caller; zeroed it is empty. When it is full the one that began first makes room. */
struct flows {
	struct {
		struct net_flow flow;
		uint64_t began; /* 0: free */
		bool ended[2];  /* said so: the guest, the other side */
	} list[NET_FLOWS_MAX];
	uint64_t clock;
};

/* A frame with its Ethernet header, of which `length` bytes are here. */
void flows_note(struct flows *flows, const uint8_t *frame, size_t length, bool from_guest);
/* Those that stand; returns how many. */
unsigned flows_list(const struct flows *flows, struct net_flow out[NET_FLOWS_MAX]);

/* A segment to the guest that belongs nowhere in its connection, to which it answers with where it is (RFC 9293, 3.10.7.4): what
 * knows nothing of the connection can reset it then as it has to be, with the right number. Returns the length; `from` is the
 * network's own address. */
#define FLOWS_PROBE_MAX 74
size_t flows_probe(const struct net_flow *flow, const uint8_t guest[NET_MAC_BYTES], const uint8_t from[NET_MAC_BYTES],
		   uint8_t frame[FLOWS_PROBE_MAX]);

/* Whether it can be one: for flows that come from elsewhere. */
bool flows_valid(const struct net_flow *flow);

#endif
