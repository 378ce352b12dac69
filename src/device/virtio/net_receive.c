/* From the back end to the guest's queues. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "device/virtio/net_private.h"

#define BATCH 128

enum fit { FITS, NO_ROOM_NOW, NEVER_FITS };

static void put_back(struct virtio_net *card, struct virtqueue *queue, unsigned count)
{
	while (count-- > 0) {
		card->chain.head = card->parts[count].head;
		card->chain.descriptors = card->parts[count].descriptors;
		virtqueue_unpop(queue, &card->chain);
	}
}

/* Takes buffers until `size` bytes fit; without mergeable buffers one must do. */
static enum fit gather(struct virtio_net *card, unsigned index, size_t size, unsigned *count)
{
	struct virtqueue *queue = &card->virtio.queues[index];
	bool mergeable = virtio_has(&card->virtio, NET_F_MRG_RXBUF);
	unsigned used = 0, taken = 0;
	uint64_t room = 0;

	while (room < size) {
		struct virtqueue_chain *chain = &card->chain;
		bool full = taken == queue->size || (!mergeable && taken == 1);

		if (full || !virtio_next(&card->virtio, index, chain)) {
			put_back(card, queue, taken);
			return full ? NEVER_FITS : NO_ROOM_NOW;
		}
		card->parts[taken++] = (struct net_part){.head = chain->head,
							 .descriptors = chain->descriptors,
							 .first = used,
							 .count = chain->writable,
							 .bytes = chain->writable_bytes};
		if (chain->writable_bytes < sizeof(struct packet_header) ||
		    chain->writable > ARRAY_SIZE(card->pool) - used) {
			put_back(card, queue, taken);
			return NEVER_FITS;
		}
		memcpy(card->pool + used, chain->spans + chain->readable, chain->writable * sizeof *chain->spans);
		used += chain->writable;
		room += chain->writable_bytes;
	}
	*count = taken;
	return FITS;
}

static void fill(struct virtio_net *card, unsigned index, const uint8_t *bytes, size_t size, unsigned count)
{
	struct virtqueue *queue = &card->virtio.queues[index];

	virtqueue_hold(queue);
	for (unsigned i = 0; i < count; i++) {
		const struct net_part *part = &card->parts[i];
		size_t length = part->bytes < size ? (size_t)part->bytes : size;

		card->chain.head = part->head;
		card->chain.descriptors = part->descriptors;
		card->chain.readable = 0;
		card->chain.writable = part->count;
		memcpy(card->chain.spans, card->pool + part->first, part->count * sizeof *card->pool);
		virtqueue_write(&card->chain, 0, bytes, length);
		virtqueue_push(queue, &card->chain, (uint32_t)length);
		bytes += length;
		size -= length;
	}
	virtqueue_release(queue);
}

/* The packet that waits: whether it is done with. */
static bool deliver(struct virtio_net *card)
{
	unsigned index = 2 * card->pending_pair, count;
	struct packet_header *header = (struct packet_header *)(void *)card->packet;

	switch (gather(card, index, card->pending, &count)) {
	case NO_ROOM_NOW:
		return false;
	case NEVER_FITS:
		virtio_count(&card->virtio.statistics.dropped_in, 1);
		return true;
	case FITS:
		break;
	}
	header->buffers = le16_put((uint16_t)count);
	fill(card, index, card->packet, card->pending, count);
	virtio_notify(&card->virtio, index);
	virtio_count(&card->virtio.statistics.packets_in, 1);
	virtio_count(&card->virtio.statistics.bytes_in, card->pending - sizeof *header);
	net_gate_count(&card->receive_gate, card->pending);
	return true;
}

/* Whether the packet is one for the guest. A back end is no more trusted than a guest. */
static bool is_wanted(struct virtio_net *card, size_t size)
{
	struct packet_header *header = (struct packet_header *)(void *)card->packet;
	const uint8_t *frame = card->packet + sizeof *header;
	unsigned offloads = net_offloads_in(card);
	const char *why;

	if (size < sizeof *header + PACKET_FRAME_MIN)
		return false;
	header->flags &= offloads & NET_OFFLOAD_CHECKSUM ? PACKET_NEEDS_CHECKSUM | PACKET_CHECKSUM_VALID
							 : PACKET_NEEDS_CHECKSUM;
	if (packet_check(header, frame, size - sizeof *header, offloads, &why) < 0)
		return false;
	return net_filter_passes(&card->filter, virtio_has(&card->virtio, NET_F_CTRL_VLAN), frame,
				 size - sizeof *header);
}

/* 1, 0 when there is none, -EPIPE. */
static int fetch(struct virtio_net *card)
{
	ssize_t size = read(net_descriptor(card->net), card->packet, sizeof card->packet);

	if (size < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM))
		return 0;
	if (size <= 0)
		return -EPIPE;
	if (!is_wanted(card, (size_t)size)) {
		virtio_count(&card->virtio.statistics.dropped_in, 1);
		return 1;
	}
	card->pending = (size_t)size;
	card->pending_pair = 0;
	if (card->pairs > 1) {
		const size_t header = sizeof(struct packet_header);

		card->pending_pair = card->flows[net_flow(card->packet + header, card->pending - header)];
		if (card->pending_pair >= card->pairs)
			card->pending_pair = 0;
	}
	return 1;
}

void net_receive(struct virtio_net *card)
{
	int r = 1;

	for (unsigned i = 0; i < BATCH && r > 0 && virtio_live(&card->virtio); i++) {
		if (!card->pending) {
			if (!net_gate_open(card, &card->receive_gate) || net_descriptor(card->net) < 0)
				break;
			r = fetch(card);
		}
		card->starved = card->pending && !deliver(card);
		if (card->starved)
			break;
		card->pending = 0;
	}
	if (r < 0)
		net_lose(card);
	net_watch(card);
}
