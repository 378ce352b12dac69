#include "net/switch_table.h"

#include <errno.h>
#include <string.h>

#define TYPE_ARP      0x0806
#define ARP_SENDER    (PACKET_FRAME_MIN + 8)
#define OFFLOADS      (NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN)

/* Frames that a bridge never forwards (IEEE 802.1D, 7.12.6): 01:80:c2:00:00:00 to 0f. */
static const uint8_t link_local[] = {0x01, 0x80, 0xc2, 0x00, 0x00};

static bool has_address(const struct switch_port *port, const uint8_t mac[NET_MAC_BYTES])
{
	return port->used && memcmp(port->mac, mac, NET_MAC_BYTES) == 0;
}

int switch_attach(struct switch_table *table, const uint8_t mac[NET_MAC_BYTES], unsigned offloads, bool succeeds)
{
	struct switch_port *place = NULL;
	unsigned holders = 0;

	if (packet_is_group(mac))
		return -EINVAL;
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		struct switch_port *port = &table->ports[i];

		holders += has_address(port, mac);
		if (!port->used && !place)
			place = port;
	}
	if (holders > succeeds)
		return -EADDRINUSE;
	if (!place)
		return -ENOSPC;
	*place = (struct switch_port){.used = true,
				      .silent = holders > 0,
				      .offloads = offloads & OFFLOADS,
				      .flood_tokens = SWITCH_FLOOD_BURST};
	memcpy(place->mac, mac, NET_MAC_BYTES);
	return (int)(place - table->ports);
}

void switch_detach(struct switch_table *table, unsigned port)
{
	table->ports[port].used = false;
	/* The address is whose it was left to. */
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		if (has_address(&table->ports[i], table->ports[port].mac))
			table->ports[i].silent = false;
}

/* Whoever of the two spoke last is where the machine is. */
static void take_address(struct switch_table *table, struct switch_port *sender)
{
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		if (has_address(&table->ports[i], sender->mac))
			table->ports[i].silent = &table->ports[i] != sender;
}

void switch_set_offloads(struct switch_table *table, unsigned port, unsigned offloads)
{
	table->ports[port].offloads = offloads & OFFLOADS;
}

static bool is_honest(const struct switch_port *from, const uint8_t *frame, size_t length)
{
	if (memcmp(frame + NET_MAC_BYTES, from->mac, NET_MAC_BYTES) != 0)
		return false;
	/* ARP says once more whose frame it is. */
	if (frame[12] == TYPE_ARP >> 8 && frame[13] == (TYPE_ARP & 0xff))
		return length >= ARP_SENDER + NET_MAC_BYTES &&
		       memcmp(frame + ARP_SENDER, from->mac, NET_MAC_BYTES) == 0;
	return true;
}

static bool may_flood(struct switch_port *from, uint64_t now_ns)
{
	uint64_t passed = now_ns - from->flood_ns, more;

	more = passed > NS_PER_SECOND ? SWITCH_FLOOD_BURST : passed * SWITCH_FLOOD_RATE / NS_PER_SECOND;
	if (more > 0) {
		from->flood_tokens += more;
		from->flood_ns = now_ns;
		if (from->flood_tokens > SWITCH_FLOOD_BURST)
			from->flood_tokens = SWITCH_FLOOD_BURST;
	}
	if (from->flood_tokens == 0)
		return false;
	from->flood_tokens--;
	return true;
}

static unsigned needed(const struct packet_header *header)
{
	static const unsigned kinds[] = {[PACKET_TCP4] = NET_OFFLOAD_TSO4, [PACKET_TCP6] = NET_OFFLOAD_TSO6};
	unsigned kind = header->segment_kind & ~(unsigned)PACKET_ECN;

	return (header->flags & PACKET_NEEDS_CHECKSUM ? NET_OFFLOAD_CHECKSUM : 0) |
	       (kind < ARRAY_SIZE(kinds) ? kinds[kind] : 0) |
	       (header->segment_kind & PACKET_ECN ? NET_OFFLOAD_ECN : 0);
}

struct delivery {
	struct switch_table *table;
	switch_deliver_fn *deliver;
	void *context;
	unsigned port;
};

static void deliver_segment(void *context, const uint8_t *frame, size_t length)
{
	static const struct packet_header plain;
	struct delivery *delivery = context;

	delivery->deliver(delivery->context, delivery->port, &plain, frame, length);
}

/* In the form that the port takes. A checksum once completed is right for all that follow. */
static void give(struct delivery *delivery, unsigned port, struct packet_header *header, uint8_t *frame,
		 size_t length)
{
	unsigned lacks = needed(header) & ~delivery->table->ports[port].offloads;

	delivery->port = port;
	delivery->table->ports[port].received++;
	if (lacks & ~(unsigned)NET_OFFLOAD_CHECKSUM || (lacks && header->segment_kind != PACKET_PLAIN)) {
		packet_segment(header, frame, length, deliver_segment, delivery);
		return;
	}
	if (lacks)
		packet_complete_checksum(header, frame, length);
	delivery->deliver(delivery->context, port, header, frame, length);
}

static void flood(struct delivery *delivery, unsigned from, struct packet_header *header, uint8_t *frame,
		  size_t length)
{
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		if (i != from && delivery->table->ports[i].used && !delivery->table->ports[i].silent)
			give(delivery, i, header, frame, length);
}

static bool is_link_local(const uint8_t *frame)
{
	return memcmp(frame, link_local, sizeof link_local) == 0 && frame[5] < 0x10;
}

void switch_forward(struct switch_table *table, unsigned from, struct packet_header *header, uint8_t *frame,
		    size_t length, uint64_t now_ns, switch_deliver_fn *deliver, void *context)
{
	struct delivery delivery = {.table = table, .deliver = deliver, .context = context};
	struct switch_port *sender = &table->ports[from];
	const char *why;

	header->buffers = le16_put(0);
	header->flags &= PACKET_NEEDS_CHECKSUM;
	if (packet_check(header, frame, length, OFFLOADS, &why) < 0 || !is_honest(sender, frame, length) ||
	    is_link_local(frame) || (packet_is_group(frame) && !may_flood(sender, now_ns))) {
		sender->dropped++;
		return;
	}
	if (sender->silent)
		take_address(table, sender);
	if (packet_is_group(frame)) {
		flood(&delivery, from, header, frame, length);
		return;
	}
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		if (i != from && !table->ports[i].silent && has_address(&table->ports[i], frame))
			give(&delivery, i, header, frame, length);
}
