#include "net/packet.h"

#include <errno.h>
#include <string.h>

#include "net/net.h"

#define ETHER_TYPE       12
#define TYPE_VLAN        0x8100
#define TYPE_IP4         0x0800
#define TYPE_IP6         0x86dd
#define IP4_HEADER       20u
#define IP6_HEADER       40u
#define TCP_HEADER       20u
#define TCP_CHECKSUM     16u
#define TCP_HEADER_MAX   60u
#define PROTOCOL_TCP     6
#define SEGMENT_SIZE_MIN 64u
#define TCP_FIN          0x01
#define TCP_PSH          0x08
#define TCP_CWR          0x80

/* Where a checked TCP frame's headers are. */
struct layout {
	size_t network, transport, payload;
	bool ip6;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

/* In host order all the way: the sum of swapped words is the swapped sum. */
uint64_t packet_sum(const uint8_t *bytes, size_t length, uint64_t sum)
{
	uint64_t first = sum, second = 0;
	uint32_t words[4];

	for (; length >= sizeof words; bytes += sizeof words, length -= sizeof words) {
		memcpy(words, bytes, sizeof words);
		first += (uint64_t)words[0] + words[1];
		second += (uint64_t)words[2] + words[3];
	}
	first += second;
	for (; length >= 2; bytes += 2, length -= 2) {
		uint16_t word;

		memcpy(&word, bytes, sizeof word);
		first += word;
	}
	if (length > 0)
		first += htole16(*bytes);
	return first;
}

uint16_t packet_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put_checksum(uint8_t *at, uint64_t sum)
{
	uint16_t folded = packet_fold(sum);

	memcpy(at, &folded, sizeof folded);
}

static int refuse(const char **why, const char *reason)
{
	*why = reason;
	return -EBADMSG;
}

static size_t network_offset(const uint8_t *frame, uint16_t *type)
{
	*type = get16(frame + ETHER_TYPE);
	if (*type != TYPE_VLAN)
		return PACKET_FRAME_MIN;
	*type = get16(frame + ETHER_TYPE + 4);
	return PACKET_FRAME_MIN + 4;
}

/* The header says where TCP starts; IP must agree. `seen`: bytes of the frame that are there. */
static int find_headers(const struct packet_header *header, const uint8_t *frame, size_t seen, struct layout *out,
			const char **why)
{
	uint16_t type;

	out->network = network_offset(frame, &type);
	out->transport = le16_get(header->checksum_start);
	out->ip6 = (header->segment_kind & ~PACKET_ECN) == PACKET_TCP6;
	if (type != (out->ip6 ? TYPE_IP6 : TYPE_IP4))
		return refuse(why, "segments of another protocol than the frame's");
	if (out->transport + TCP_HEADER > seen || out->transport < out->network + (out->ip6 ? IP6_HEADER : IP4_HEADER))
		return refuse(why, "segments whose TCP header is not in the frame");
	if (!out->ip6 && (out->transport != out->network + (size_t)(frame[out->network] & 15) * 4 ||
			  frame[out->network + 9] != PROTOCOL_TCP))
		return refuse(why, "segments that are not TCP over IPv4");
	out->payload = out->transport + (size_t)(frame[out->transport + 12] >> 4) * 4;
	if (out->payload < out->transport + TCP_HEADER)
		return refuse(why, "segments with a short TCP header");
	return 0;
}

static int check_segments(const struct packet_header *header, const uint8_t *frame, size_t length, unsigned offloads,
			  const char **why)
{
	size_t seen = length < PACKET_PEEK ? length : PACKET_PEEK;
	unsigned kind = header->segment_kind & ~(unsigned)PACKET_ECN, size = le16_get(header->segment_size);
	struct layout layout;
	int r;

	if (kind != PACKET_TCP4 && kind != PACKET_TCP6)
		return refuse(why, "segments of an unknown kind");
	if (!(offloads & (kind == PACKET_TCP4 ? NET_OFFLOAD_TSO4 : NET_OFFLOAD_TSO6)) ||
	    ((header->segment_kind & PACKET_ECN) && !(offloads & NET_OFFLOAD_ECN)))
		return refuse(why, "segments that were not negotiated");
	if (!(header->flags & PACKET_NEEDS_CHECKSUM) || le16_get(header->checksum_offset) != TCP_CHECKSUM)
		return refuse(why, "segments without a place for their checksum");
	if (size < SEGMENT_SIZE_MIN)
		return refuse(why, "segments that are too small");
	r = find_headers(header, frame, seen, &layout, why);
	if (r == 0 && layout.payload >= length)
		return refuse(why, "segments without data");
	return r;
}

int packet_check(const struct packet_header *header, const uint8_t *frame, size_t length, unsigned offloads,
		 const char **why)
{
	size_t start = le16_get(header->checksum_start), offset = le16_get(header->checksum_offset);

	if (length < PACKET_FRAME_MIN)
		return refuse(why, "a frame without an Ethernet header");
	if (length > PACKET_FRAME_MAX)
		return refuse(why, "a frame that is too long");
	if (header->flags & PACKET_NEEDS_CHECKSUM) {
		if (!(offloads & NET_OFFLOAD_CHECKSUM))
			return refuse(why, "a partial checksum that was not negotiated");
		if (start < PACKET_FRAME_MIN || start + offset + 2 > length)
			return refuse(why, "a checksum outside the frame");
	}
	return header->segment_kind == PACKET_PLAIN ? 0 : check_segments(header, frame, length, offloads, why);
}

void packet_complete_checksum(struct packet_header *header, uint8_t *frame, size_t length)
{
	size_t start = le16_get(header->checksum_start);
	uint8_t *at = frame + start + le16_get(header->checksum_offset);

	if (header->flags & PACKET_NEEDS_CHECKSUM) {
		put_checksum(at, packet_sum(frame + start, length - start, 0));
		/* For UDP a zero says that there is none (RFC 768); for TCP both zeros are the same. */
		if (at[0] == 0 && at[1] == 0)
			at[0] = at[1] = 0xff;
	}
	memset(header, 0, sizeof *header);
}

static void put_network_header(uint8_t *frame, const struct layout *layout, size_t length, uint16_t index)
{
	uint8_t *ip = frame + layout->network;

	if (layout->ip6) {
		put16(ip + 4, (uint16_t)(length - layout->network - IP6_HEADER));
		return;
	}
	put16(ip + 2, (uint16_t)(length - layout->network));
	put16(ip + 4, (uint16_t)(get16(ip + 4) + index));
	put16(ip + 10, 0);
	put_checksum(ip + 10, packet_sum(ip, layout->transport - layout->network, 0));
}

static void put_tcp_checksum(uint8_t *frame, const struct layout *layout, size_t length)
{
	const uint8_t *ip = frame + layout->network;
	uint8_t *tcp = frame + layout->transport;
	uint8_t tail[4] = {0, PROTOCOL_TCP};
	size_t size = length - layout->transport;
	uint64_t sum;

	put16(tail + 2, (uint16_t)size);
	sum = packet_sum(tail, sizeof tail, 0);
	sum = layout->ip6 ? packet_sum(ip + 8, 32, sum) : packet_sum(ip + 12, 8, sum);
	put16(tcp + TCP_CHECKSUM, 0);
	put_checksum(tcp + TCP_CHECKSUM, packet_sum(tcp, size, sum));
}

/* What only the first or only the last segment carries (RFC 3168 for CWR). */
static void put_tcp_header(uint8_t *tcp, size_t done, bool last)
{
	put32(tcp + 4, get32(tcp + 4) + (uint32_t)done);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (done > 0)
		tcp[13] &= (uint8_t)~TCP_CWR;
}

void packet_segment(const struct packet_header *header, const uint8_t *frame, size_t length, packet_emit_fn *emit,
		    void *context)
{
	static _Thread_local uint8_t out[PACKET_FRAME_MAX];
	size_t size = le16_get(header->segment_size), done = 0, total;
	struct layout layout = {.payload = 0};
	uint16_t index = 0;
	const char *why;

	if (find_headers(header, frame, length, &layout, &why) < 0 || layout.payload >= length)
		return;
	for (total = length - layout.payload; done < total; done += size, index++) {
		size_t part = total - done < size ? total - done : size, whole = layout.payload + part;

		memcpy(out, frame, layout.payload);
		memcpy(out + layout.payload, frame + layout.payload + done, part);
		put_network_header(out, &layout, whole, index);
		put_tcp_header(out + layout.transport, done, done + part == total);
		put_tcp_checksum(out, &layout, whole);
		emit(context, out, whole);
	}
}
