/* Which packets a guest wants, and which of its queues they belong to. */
#include <string.h>

#include "device/virtio/net_private.h"

#define TYPE_VLAN 0x8100
#define TYPE_IP4  0x0800
#define TYPE_IP6  0x86dd

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

void net_filter_reset(struct net_filter *filter, const uint8_t mac[NET_MAC_BYTES])
{
	memset(filter, 0, sizeof *filter);
	memcpy(filter->mac, mac, NET_MAC_BYTES);
	filter->promiscuous = true;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)(at[0] << 8 | at[1]);
}

static bool in_table(const struct net_filter *filter, unsigned first, unsigned count, const uint8_t *mac)
{
	for (unsigned i = first; i < first + count; i++)
		if (memcmp(filter->table + (size_t)i * NET_MAC_BYTES, mac, NET_MAC_BYTES) == 0)
			return true;
	return false;
}

static bool wants_vlan(const struct net_filter *filter, const uint8_t *frame, size_t length)
{
	unsigned vlan;

	if (get16(frame + 12) != TYPE_VLAN || length < PACKET_FRAME_MIN + 2)
		return true;
	vlan = get16(frame + 14) & (NET_VLANS - 1);
	return filter->vlans[vlan / 8] >> vlan % 8 & 1;
}

bool net_filter_passes(const struct net_filter *filter, bool vlans, const uint8_t *frame, size_t length)
{
	static const uint8_t all[NET_MAC_BYTES] = {255, 255, 255, 255, 255, 255};

	if (vlans && !wants_vlan(filter, frame, length))
		return false;
	if (filter->promiscuous)
		return true;
	if (memcmp(frame, all, sizeof all) == 0)
		return !filter->no_broadcast;
	if (packet_is_group(frame))
		return !filter->no_multicast &&
		       (filter->all_multicast || filter->any_multicast ||
			in_table(filter, filter->unicast_count, filter->multicast_count, frame));
	return !filter->no_unicast &&
	       (filter->all_unicast || filter->any_unicast || memcmp(frame, filter->mac, NET_MAC_BYTES) == 0 ||
		in_table(filter, 0, filter->unicast_count, frame));
}

static unsigned mix(const uint8_t *bytes, size_t length)
{
	unsigned sum = 0;

	for (size_t i = 0; i < length; i++)
		sum ^= bytes[i];
	return sum;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP;
}

/* Addresses and ports of both ends, in whichever order; of fragments only the first has ports, so none counts. */
unsigned net_flow(const uint8_t *frame, size_t length)
{
	unsigned type = get16(frame + 12);
	size_t ip = PACKET_FRAME_MIN, ports;

	if (type == TYPE_IP4 && length >= ip + 20) {
		ports = ip + (size_t)(frame[ip] & 15) * 4;
		if (length < ports + 4 || (frame[ip + 6] & 0x3f) || frame[ip + 7] || !has_ports(frame[ip + 9]))
			return mix(frame + ip + 12, 8);
		return mix(frame + ip + 12, 8) ^ mix(frame + ports, 4);
	}
	if (type == TYPE_IP6 && length >= ip + 44)
		return mix(frame + ip + 8, 32) ^ (has_ports(frame[ip + 6]) ? mix(frame + ip + 40, 4) : 0);
	return 0;
}
