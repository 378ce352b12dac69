/*
 * Network back ends: what is at the other end of a virtual network card's wire.
 *
 * Whatever it is, the machine sees one descriptor: each read is one packet, each write is one packet, both with
 * struct packet_header in front (packet.h; its `buffers` is 0), non-blocking. What needs a network stack or a
 * peer's trust lives in a process of its own (wall/), so the monitor only moves packets.
 *
 *   user    libslirp in a sandboxed process: DHCP, DNS, forwarded ports; no root
 *   tap     a tap interface of the host, with its virtio headers and offloads
 *   switch  machines of one host on one segment; a frame leaves under its machine's own address only
 *   none    a wire that ends in the air
 *
 * Thread: open and close from the machine's owner, which lives as long as the net, before guest RAM is mapped and
 * other threads are started (a process is forked); the descriptor is used by one thread.
 */
#ifndef DOPPEL_NET_NET_H
#define DOPPEL_NET_NET_H

#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

#define NET_MAC_BYTES    6
#define NET_PACKET_MAX   (65550 + 12) /* largest packet with its header: a 64 KiB segment */
#define NET_FORWARDS_MAX 32

enum net_kind { NET_NONE, NET_USER, NET_TAP, NET_SWITCH };

/* --publish [tcp:|udp:][ADDRESS:]HOST_PORT:GUEST_PORT */
struct net_forward {
	bool udp;
	char address[46]; /* of the host, IPv4 or IPv6; "" is 127.0.0.1 */
	uint16_t host_port, guest_port; /* host_port 0: any free one, told by net_forwards */
};

/* Of a card, in each direction: bytes and packets a second, with bursts of so many seconds' worth after a rest (0: 0.1);
 * 0: no limit. A segment that the host cuts later counts as one packet. */
struct net_limits {
	uint64_t bytes_per_second, packets_per_second;
	double burst_seconds;
};

struct net_options {
	enum net_kind kind;
	const char *name;              /* tap: the interface; switch: the segment's name */
	uint8_t mac[NET_MAC_BYTES];    /* of the guest's card */
	bool succeeds;                 /* switch: the same machine may be there already, and leaves (it moves) */
	struct net_forward forwards[NET_FORWARDS_MAX]; /* user */
	unsigned forward_count;
	const char *hostname;          /* user: what DHCP tells; NULL: none */
	bool isolated;                 /* user: no way out to host and network, only DHCP and forwards of TCP */
};

/* Offloads that the back end takes in packets from the guest, and may put into packets to it. */
enum {
	NET_OFFLOAD_CHECKSUM = 1, /* partial checksums */
	NET_OFFLOAD_TSO4 = 2,
	NET_OFFLOAD_TSO6 = 4,
	NET_OFFLOAD_UFO = 8,
	NET_OFFLOAD_ECN = 16,
};

/* A TCP connection of the guest. Without padding: it is compared, and sent, as bytes. */
struct net_flow {
	uint8_t version, reserved; /* of IP: 4 or 6; 0 */
	uint16_t guest_port, remote_port;
	uint8_t guest[16], remote[16]; /* addresses; of IPv4 the first four bytes, then zeros */
};
_Static_assert(sizeof(struct net_flow) == 38, "a flow has no padding");
#define NET_FLOWS_MAX 256 /* of a network that are known */

struct net;

/* ERROR_PERMISSION for a tap that may not be opened, -EADDRINUSE for a port, or for a segment's address, that
 * is taken; messages tell the remedy. */
MUST_USE int net_open(struct net **out, const struct net_options *options, struct error *e);
/* Ends the back end and its process; accepts NULL. */
void net_close(struct net *net);
/* The descriptor, the net's own; -1 for none. EOF or an error on it: the back end died (net_ended tells why). */
int net_descriptor(const struct net *net);
/* NET_OFFLOAD_* in both directions. */
unsigned net_offloads(const struct net *net);
/* The guest took other offloads (a subset) for packets to it; a tap is told. */
MUST_USE int net_set_offloads(struct net *net, unsigned offloads, struct error *e);
/* The largest packet without its Ethernet header. */
uint16_t net_mtu(const struct net *net);
/* Whether the guest must keep options.mac: frames from another address do not get out. */
bool net_mac_is_fixed(const struct net *net);
/* The process of its own behind a user network; 0: none, or one that serves other machines too. */
pid_t net_process(const struct net *net);
/* Forwards with the ports that were really taken. */
const struct net_forward *net_forwards(const struct net *net, unsigned *count);
/* User networks, from the owner, while they work: another port leads to the guest from now on, or one does no longer
 * (which has the address, the port and the protocol of `forward`; connections that it made stay). publish tells
 * the port that was taken. The process does it behind its walls, so ports below 1024 can not be had any more.
 * -EOPNOTSUPP: another kind, or isolated; -EADDRINUSE; -EACCES; -E2BIG; unpublish: -ENOENT. */
MUST_USE int net_publish(struct net *net, struct net_forward *forward, struct error *e);
MUST_USE int net_unpublish(struct net *net, const struct net_forward *forward, struct error *e);
/* User networks, from the owner, while they work: connections that stand, which end with the process. Returns how many, or a
 * negative errno; 0 for other kinds. */
MUST_USE int net_flows(struct net *net, struct net_flow out[NET_FLOWS_MAX], struct error *e);
/* Connections that stood elsewhere and do not lead here: the guest is told of each by a reset. At most NET_FLOWS_MAX. */
MUST_USE int net_reset_flows(struct net *net, const struct net_flow *flows, unsigned count, struct error *e);
/* After an end of file on the descriptor: why, for the log. On the descriptor's thread; the descriptor is then
 * -1. */
void net_ended(struct net *net, struct error *e);

/* "52:54:00:12:34:56"; -EINVAL also for group and all-zero addresses. */
MUST_USE int net_parse_mac(const char *text, uint8_t mac[NET_MAC_BYTES], struct error *e);
/* A locally administered address of its own for each (machine, card). */
void net_make_mac(const char *machine, unsigned card, uint8_t mac[NET_MAC_BYTES]);
/* IPv6 addresses in brackets. */
MUST_USE int net_parse_forward(const char *text, struct net_forward *out, struct error *e);
/* 1 to 31 letters, digits, dashes and underscores. */
MUST_USE int net_check_segment(const char *name, struct error *e);

#endif
