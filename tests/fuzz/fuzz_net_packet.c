/* A packet as a guest sends it: header and frame. What passes the check is completed and cut; no result may be
 * larger than a frame, and all of a frame's data must come out. Its connection, if it has one, is remembered. */
#include <stdlib.h>
#include <string.h>

#include "net/flows.h"
#include "net/net.h"
#include "net/packet.h"

#define ALL (NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void count(void *context, const uint8_t *frame, size_t length)
{
	volatile uint8_t last = frame[length - 1];

	(void)last;
	if (length > PACKET_FRAME_MAX)
		abort();
	*(size_t *)context += 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct net_flow known[NET_FLOWS_MAX];
	static struct flows flows;
	struct packet_header header;
	size_t length, segments = 0;
	const char *why;
	uint8_t *frame;

	if (size < sizeof header)
		return 0;
	memcpy(&header, bytes, sizeof header);
	length = size - sizeof header;
	/* Of its true size, so that a read behind its end is seen. */
	frame = malloc(length + 1);
	memcpy(frame, bytes + sizeof header, length);
	if (packet_check(&header, frame, length, ALL, &why) == 0) {
		if (header.segment_kind != PACKET_PLAIN) {
			packet_segment(&header, frame, length, count, &segments);
			if (segments == 0)
				abort();
		}
		packet_complete_checksum(&header, frame, length);
	}
	flows_note(&flows, frame, length, length & 1);
	if (flows_list(&flows, known) > NET_FLOWS_MAX)
		abort();
	free(frame);
	return 0;
}
