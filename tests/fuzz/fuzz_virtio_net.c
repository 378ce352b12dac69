/* The control queue of a network card, and the filter that it sets: commands as a hostile driver makes them, in
 * any number of pieces, then packets judged by what came of them. */
#include <stdlib.h>
#include <string.h>

#include "device/virtio/net_private.h"
#include "net/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct net_backend backend;

/* Cuts the command into readable pieces and one writable byte; each piece is memory of its own. */
static unsigned cut(struct virtqueue_chain *chain, const uint8_t *bytes, size_t size, unsigned piece)
{
	unsigned count = 0;

	chain->readable_bytes = size;
	while (size > 0 && count < 64) {
		size_t part = size < piece || count == 63 ? size : piece;

		chain->spans[count].iov_base = malloc(part);
		chain->spans[count].iov_len = part;
		memcpy(chain->spans[count++].iov_base, bytes, part);
		bytes += part;
		size -= part;
	}
	chain->readable = count;
	chain->writable = 0;
	return count;
}

static void check(const struct virtio_net *card)
{
	static const uint8_t frame[64] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x81, 0, 0x0f, 0xff};

	if (card->pairs < 1 || card->pairs > card->pairs_max ||
	    card->filter.unicast_count + card->filter.multicast_count > NET_TABLE_MAX ||
	    (card->filter.mac[0] & 1) || (card->guest_offloads & ~card->virtio.driver_features))
		abort();
	(void)net_filter_passes(&card->filter, true, frame, sizeof frame);
	if (net_flow(frame, sizeof frame) >= sizeof card->flows)
		abort();
}

/* Four bytes of features, then commands: a length, a size of pieces, bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
	static struct virtio_net card;
	struct net net = {.backend = &backend, .descriptor = -1, .control = -1};
	uint32_t features;

	if (size < sizeof features)
		return 0;
	memset(&card, 0, sizeof card);
	pthread_mutex_init(&card.virtio.device.lock, NULL);
	memcpy(&features, bytes, sizeof features);
	bytes += sizeof features;
	size -= sizeof features;
	card.virtio.driver_features = features;
	card.virtio.config_size = NET_CONFIG_SIZE;
	card.net = &net;
	card.pairs = 1;
	card.pairs_max = 4;
	net_filter_reset(&card.filter, mac);
	while (size >= 3) {
		size_t length = (size_t)(bytes[0] | bytes[1] << 8);
		unsigned piece = bytes[2] + 1u, count;

		bytes += 3;
		size -= 3;
		length = length < size ? length : size;
		count = cut(&card.chain, bytes, length, piece);
		(void)net_execute(&card);
		check(&card);
		while (count-- > 0)
			free(card.chain.spans[count].iov_base);
		bytes += length;
		size -= length;
	}
	pthread_mutex_destroy(&card.virtio.device.lock);
	return 0;
}
