/* From the guest's queues to the back end. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "device/virtio/net_private.h"

#define SPANS_MAX 512 /* of one packet */

static void count(struct virtio_net *card, uint64_t bytes)
{
	virtio_count(&card->virtio.statistics.packets_out, 1);
	virtio_count(&card->virtio.statistics.bytes_out, bytes);
	net_gate_count(&card->transmit_gate, bytes);
}

static int drop(struct virtio_net *card, const char *why)
{
	virtio_count(&card->virtio.statistics.dropped_out, 1);
	log_guest(LOG_DEBUG, "net", "%s: a packet of the guest is dropped: %s", card->virtio.device.name, why);
	return 0;
}

/* 0: sent or dropped; -EAGAIN; -EPIPE. */
static int write_packet(struct virtio_net *card, const struct iovec *spans, int span_count)
{
	ssize_t size;

	do
		size = writev(net_descriptor(card->net), spans, span_count);
	while (size < 0 && errno == EINTR);
	if (size >= 0) {
		count(card, (uint64_t)size - sizeof(struct packet_header));
		return 0;
	}
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
		return -EAGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
	case EBADFD:
		return -EPIPE;
	default: /* a tap that is down says EIO; what it does not like, EINVAL */
		return drop(card, strerror(errno));
	}
}

/* The header is ours when it is judged and stays so; the frame is the guest's, and whoever looks into it looks
 * at a copy of his own. */
static int send_chain(struct virtio_net *card, unsigned queue)
{
	struct virtqueue_chain *chain = &card->chain;
	struct packet_header header;
	struct iovec spans[SPANS_MAX];
	uint8_t peek[PACKET_PEEK];
	uint64_t length;
	const char *why;
	int span_count;

	if (virtqueue_read(chain, 0, &header, sizeof header) != sizeof header)
		return drop(card, "it has no header");
	length = chain->readable_bytes - sizeof header;
	(void)virtqueue_read(chain, sizeof header, peek, sizeof peek);
	header.flags &= PACKET_NEEDS_CHECKSUM;
	header.buffers = le16_put(0);
	if (length > PACKET_FRAME_MAX)
		return drop(card, "it is too long");
	if (packet_check(&header, peek, (size_t)length, net_offloads_out(card), &why) < 0)
		return drop(card, why);
	span_count = virtqueue_slice(chain, false, sizeof header, length, spans + 1, SPANS_MAX - 1);
	if (span_count < 0)
		return drop(card, "it is in too many pieces");
	if (card->pairs > 1)
		card->flows[net_flow(peek, (size_t)length)] = (uint8_t)(queue / 2);
	if (net_descriptor(card->net) < 0)
		return drop(card, "there is no network");
	spans[0] = (struct iovec){&header, sizeof header};
	return write_packet(card, spans, span_count + 1);
}

void net_transmit(struct virtio_net *card, unsigned queue)
{
	struct virtio *virtio = &card->virtio;

	while (net_gate_open(card, &card->transmit_gate) && virtio_next(virtio, queue, &card->chain)) {
		int r = send_chain(card, queue);

		if (r == -EAGAIN) {
			virtqueue_unpop(&virtio->queues[queue], &card->chain);
			card->blocked |= 1u << queue;
			net_watch(card);
			break;
		}
		virtqueue_push(&virtio->queues[queue], &card->chain, 0);
		if (r < 0)
			net_lose(card);
	}
	virtio_notify(virtio, queue);
}
