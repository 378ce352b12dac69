/* The control queue (Virtio 1.2, 5.1.6.5): one command a buffer, answered with one byte at its end. */
#include <string.h>

#include "device/virtio/net_private.h"

enum { ANSWER_OK = 0, ANSWER_ERROR = 1 };
enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_OFFLOADS };

#define COMMAND_BYTES 2

#define GUEST_OFFLOADS (NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN)

struct command {
	uint8_t class, number;
	const uint8_t *data;
	size_t length;     /* of data that was copied */
	uint64_t all;      /* of the data there is */
	const struct virtqueue_chain *chain;
};

static bool set_switch(struct virtio_net *card, const struct command *command)
{
	bool *const switches[] = {&card->filter.promiscuous, &card->filter.all_multicast,
				  &card->filter.all_unicast, &card->filter.no_multicast,
				  &card->filter.no_unicast,  &card->filter.no_broadcast};

	if (command->number >= ARRAY_SIZE(switches) || command->length < 1)
		return false;
	*switches[command->number] = command->data[0] != 0;
	return true;
}

static uint32_t get32(const uint8_t *at)
{
	le32_t value;

	memcpy(&value, at, sizeof value);
	return le32_get(value);
}

/* One of the two tables, at `offset` of the data; more addresses than we keep mean all. *offset: behind it. */
static bool read_table(struct virtio_net *card, const struct command *command, uint64_t *offset, unsigned first,
		       uint16_t *count, bool *all)
{
	uint8_t head[4];
	uint32_t wanted;

	if (virtqueue_read(command->chain, COMMAND_BYTES + *offset, head, sizeof head) != sizeof head)
		return false;
	wanted = get32(head);
	*offset += sizeof head;
	if ((uint64_t)wanted * NET_MAC_BYTES > command->all - *offset)
		return false;
	*count = 0;
	*all = wanted > NET_TABLE_MAX - first;
	if (!*all) {
		size_t size = (size_t)wanted * NET_MAC_BYTES;

		*count = (uint16_t)wanted;
		if (virtqueue_read(command->chain, COMMAND_BYTES + *offset, card->filter.table + first * NET_MAC_BYTES,
				   size) != size)
			return false;
	}
	*offset += (uint64_t)wanted * NET_MAC_BYTES;
	return true;
}

static bool set_tables(struct virtio_net *card, const struct command *command)
{
	struct net_filter old = card->filter, *filter = &card->filter;
	uint64_t offset = 0;

	if (!read_table(card, command, &offset, 0, &filter->unicast_count, &filter->any_unicast) ||
	    !read_table(card, command, &offset, filter->unicast_count, &filter->multicast_count,
			&filter->any_multicast)) {
		card->filter = old;
		return false;
	}
	return true;
}

static bool set_address(struct virtio_net *card, const struct command *command)
{
	if (command->number == 0)
		return set_tables(card, command);
	if (command->number != 1 || command->length < NET_MAC_BYTES || net_mac_is_fixed(card->net) ||
	    packet_is_group(command->data))
		return false;
	memcpy(card->filter.mac, command->data, NET_MAC_BYTES);
	return true;
}

static bool set_vlan(struct virtio_net *card, const struct command *command)
{
	unsigned vlan;

	if (command->number > 1 || command->length < 2)
		return false;
	vlan = (unsigned)(command->data[0] | command->data[1] << 8);
	if (vlan >= NET_VLANS)
		return false;
	if (command->number == 0)
		card->filter.vlans[vlan / 8] |= (uint8_t)(1u << vlan % 8);
	else
		card->filter.vlans[vlan / 8] &= (uint8_t)~(1u << vlan % 8);
	return true;
}

static bool acknowledge(struct virtio_net *card, const struct command *command)
{
	if (command->number != 0 || !card->announcing)
		return false;
	card->announcing = false;
	net_show_status(card);
	return true;
}

static bool set_pairs(struct virtio_net *card, const struct command *command)
{
	unsigned pairs;

	if (command->number != 0 || command->length < 2)
		return false;
	pairs = (unsigned)(command->data[0] | command->data[1] << 8);
	if (pairs < 1 || pairs > card->pairs_max)
		return false;
	card->pairs = (uint16_t)pairs;
	return true;
}

static bool set_offloads(struct virtio_net *card, const struct command *command)
{
	uint64_t wanted;
	le64_t value;

	if (command->number != 0 || command->length < sizeof value)
		return false;
	memcpy(&value, command->data, sizeof value);
	wanted = le64_get(value);
	if (wanted & ~(card->virtio.driver_features & GUEST_OFFLOADS))
		return false;
	card->guest_offloads = wanted;
	net_tell_offloads(card);
	return true;
}

static const struct {
	uint64_t feature;
	bool (*run)(struct virtio_net *card, const struct command *command);
} classes[] = {
	[CLASS_RX] = {NET_F_CTRL_RX, set_switch},
	[CLASS_MAC] = {NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR, set_address},
	[CLASS_VLAN] = {NET_F_CTRL_VLAN, set_vlan},
	[CLASS_ANNOUNCE] = {NET_F_GUEST_ANNOUNCE, acknowledge},
	[CLASS_MQ] = {NET_F_MQ, set_pairs},
	[CLASS_OFFLOADS] = {NET_F_CTRL_GUEST_OFFLOADS, set_offloads},
};

uint8_t net_execute(struct virtio_net *card)
{
	uint8_t bytes[COMMAND_BYTES + 8] = {0};
	size_t got = virtqueue_read(&card->chain, 0, bytes, sizeof bytes);
	struct command command = {.class = bytes[0],
				  .number = bytes[1],
				  .data = bytes + COMMAND_BYTES,
				  .length = got - COMMAND_BYTES,
				  .all = card->chain.readable_bytes - COMMAND_BYTES,
				  .chain = &card->chain};

	if (got < COMMAND_BYTES || command.class >= ARRAY_SIZE(classes) ||
	    !virtio_has(&card->virtio, classes[command.class].feature))
		return ANSWER_ERROR;
	return classes[command.class].run(card, &command) ? ANSWER_OK : ANSWER_ERROR;
}

void net_control(struct virtio_net *card)
{
	unsigned queue = net_control_queue(card);

	while (virtio_next(&card->virtio, queue, &card->chain)) {
		uint64_t room = card->chain.writable_bytes;
		uint8_t answer = net_execute(card);

		if (room > 0)
			virtqueue_write(&card->chain, room - 1, &answer, 1);
		virtqueue_push(&card->virtio.queues[queue], &card->chain, (uint32_t)room);
	}
	virtio_notify(&card->virtio, queue);
}
