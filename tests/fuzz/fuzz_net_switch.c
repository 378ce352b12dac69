/* A switch: frames and comings and goings of three ports, as hostile machines make them. Whatever comes, no
 * port gets a frame from an address that is not another port's. */
#include <stdlib.h>
#include <string.h>

#include "net/switch_table.h"

struct world {
	struct switch_table table;
	unsigned from;
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void deliver(void *context, unsigned port, const struct packet_header *header, const uint8_t *frame,
		    size_t length)
{
	const struct world *world = context;

	if (port == world->from || length < PACKET_FRAME_MIN || length > PACKET_FRAME_MAX ||
	    !world->table.ports[port].used || memcmp(frame + 6, world->table.ports[world->from].mac, 6) != 0)
		abort();
	if (header->segment_kind != PACKET_PLAIN && !world->table.ports[port].offloads)
		abort();
}

/* Each step: what, which port, a length, then bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t macs[3][6] = {{2, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
	static struct world world;
	uint64_t now = 0;

	memset(&world, 0, sizeof world);
	for (unsigned i = 0; i < 3; i++)
		if (switch_attach(&world.table, macs[i], i ? 31 : 0, false) != (int)i)
			abort();
	while (size >= 4) {
		unsigned step = bytes[0], port = bytes[1] % 3;
		size_t length = (size_t)(bytes[2] << 8 | bytes[3]);
		struct packet_header header = {.flags = 0};
		uint8_t *frame;

		bytes += 4;
		size -= 4;
		now += (uint64_t)step * 100000;
		if (step % 8 == 7) {
			switch_set_offloads(&world.table, port, (unsigned)length);
			continue;
		}
		if (length > size)
			length = size;
		frame = malloc(length + 1);
		memcpy(frame, bytes, length);
		if (length > sizeof header) {
			memcpy(&header, frame, sizeof header);
			if (step % 8 < 6 && length >= sizeof header + 12)
				memcpy(frame + sizeof header + 6, macs[port], 6);
			world.from = port;
			switch_forward(&world.table, port, &header, frame + sizeof header, length - sizeof header, now,
				       deliver, &world);
		}
		free(frame);
		bytes += length;
		size -= length;
	}
	return 0;
}
