#include "net/flows.h"

#include <string.h>

#include "net/packet.h"

#define ETHERNET 14
#define IP4      20
#define IP6      40
#define TCP      20
#define IS_TCP   6

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Where TCP begins in an IPv4 or IPv6 packet that has no extensions before it; 0: it is none, or a later fragment. */
static size_t find_tcp(const uint8_t *ip, size_t length, unsigned type, uint8_t *version)
{
	size_t header;

	*version = type == 0x0800 ? 4 : 6;
	if (length < IP4 || ip[0] >> 4 != *version)
		return 0;
	if (type == 0x0800) {
		header = (size_t)(ip[0] & 15) * 4;
		if (header < IP4 || ip[9] != IS_TCP || (get16(ip + 6) & 0x1fff))
			return 0;
	} else {
		header = IP6;
		if (type != 0x86dd || length < IP6 || ip[6] != IS_TCP)
			return 0;
	}
	return length - header >= TCP && length > header ? header : 0;
}

/* The flags of a segment, or 0; *flow is its connection. */
static unsigned read_segment(const uint8_t *frame, size_t length, bool from_guest, struct net_flow *flow)
{
	const uint8_t *ip = frame + ETHERNET, *tcp, *addresses[2];
	size_t at = length > ETHERNET ? find_tcp(ip, length - ETHERNET, get16(frame + 12), &flow->version) : 0, size;

	if (!at)
		return 0;
	tcp = ip + at;
	size = flow->version == 4 ? 4 : 16;
	addresses[0] = ip + (flow->version == 4 ? 12 : 8);
	addresses[1] = addresses[0] + size;
	memcpy(flow->guest, addresses[!from_guest], size);
	memcpy(flow->remote, addresses[from_guest], size);
	flow->guest_port = get16(tcp + (from_guest ? 0 : 2));
	flow->remote_port = get16(tcp + (from_guest ? 2 : 0));
	return tcp[13];
}

static unsigned find(const struct flows *flows, const struct net_flow *flow)
{
	unsigned i = 0;

	while (i < NET_FLOWS_MAX &&
	       (!flows->list[i].began || memcmp(&flows->list[i].flow, flow, sizeof *flow) != 0))
		i++;
	return i;
}

static unsigned find_room(const struct flows *flows)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < NET_FLOWS_MAX; i++)
		if (flows->list[i].began < flows->list[oldest].began)
			oldest = i;
	return oldest;
}

void flows_note(struct flows *flows, const uint8_t *frame, size_t length, bool from_guest)
{
	struct net_flow flow = {.version = 0};
	unsigned flags = read_segment(frame, length, from_guest, &flow) & (SYN | FIN | RST), i;

	if (!flags)
		return;
	i = find(flows, &flow);
	if (i == NET_FLOWS_MAX && !(flags & SYN))
		return;
	if (i == NET_FLOWS_MAX)
		i = find_room(flows);
	if (flags & SYN) {
		flows->list[i].flow = flow;
		flows->list[i].began = ++flows->clock;
		flows->list[i].ended[0] = flows->list[i].ended[1] = false;
	}
	if (flags & FIN)
		flows->list[i].ended[!from_guest] = true;
	if ((flags & RST) || (flows->list[i].ended[0] && flows->list[i].ended[1]))
		flows->list[i].began = 0;
}

unsigned flows_list(const struct flows *flows, struct net_flow out[NET_FLOWS_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < NET_FLOWS_MAX; i++)
		if (flows->list[i].began)
			out[count++] = flows->list[i].flow;
	return count;
}

bool flows_valid(const struct net_flow *flow)
{
	return (flow->version == 4 || flow->version == 6) && flow->reserved == 0;
}

/* ---- A probe ---- */

static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t folded = packet_fold(sum);

	memcpy(at, &folded, sizeof folded);
}

/* Of a segment without data (RFC 9293, 3.1): addresses, protocol and length count. */
static void put_tcp_sum(const uint8_t *addresses, size_t size, uint8_t *tcp)
{
	const uint8_t pseudo[] = {0, IS_TCP, 0, TCP};

	put_sum(tcp + 16, packet_sum(tcp, TCP, packet_sum(pseudo, sizeof pseudo, packet_sum(addresses, size, 0))));
}

static size_t put_ip(const struct net_flow *flow, uint8_t *ip)
{
	if (flow->version == 4) {
		ip[0] = 0x45;
		put16(ip + 2, IP4 + TCP);
		ip[8] = 64;
		ip[9] = IS_TCP;
		memcpy(ip + 12, flow->remote, 4);
		memcpy(ip + 16, flow->guest, 4);
		put_sum(ip + 10, packet_sum(ip, IP4, 0));
		return IP4;
	}
	ip[0] = 0x60;
	put16(ip + 4, TCP);
	ip[6] = IS_TCP;
	ip[7] = 64;
	memcpy(ip + 8, flow->remote, 16);
	memcpy(ip + 24, flow->guest, 16);
	return IP6;
}

size_t flows_probe(const struct net_flow *flow, const uint8_t guest[NET_MAC_BYTES], const uint8_t from[NET_MAC_BYTES],
		   uint8_t frame[FLOWS_PROBE_MAX])
{
	uint8_t *ip = frame + ETHERNET, *tcp;
	size_t header;

	memset(frame, 0, FLOWS_PROBE_MAX);
	memcpy(frame, guest, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, from, NET_MAC_BYTES);
	put16(frame + 12, flow->version == 4 ? 0x0800 : 0x86dd);
	header = put_ip(flow, ip);
	tcp = ip + header;
	put16(tcp, flow->remote_port);
	put16(tcp + 2, flow->guest_port);
	tcp[12] = TCP / 4 << 4;
	tcp[13] = ACK;
	put_tcp_sum(ip + (flow->version == 4 ? 12 : 8), flow->version == 4 ? 8 : 32, tcp);
	return ETHERNET + header + TCP;
}
