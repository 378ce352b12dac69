#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"
#include "net/outbox.h"
#include "net/flows.h"
#include "net/packet.h"
#include "net/switch_table.h"

#define ALL (NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN)

static uint8_t frame[PACKET_FRAME_MAX];

/* A TCP frame of `payload` bytes with the checksum of its pseudo header only, as drivers leave it. */
static size_t make_tcp(bool ip6, size_t payload, unsigned options)
{
	size_t network = 14, transport = network + (ip6 ? 40 : 20), start = transport + 20 + options;
	size_t length = start + payload, size = length - transport;
	uint8_t *ip = frame + network, *tcp = frame + transport;
	uint8_t tail[4] = {0, 6, (uint8_t)(size >> 8), (uint8_t)size};
	uint16_t sum;

	memset(frame, 0, sizeof frame);
	memcpy(frame, "\x52\0\0\0\0\x02\x52\0\0\0\0\x01", 12);
	memcpy(frame + 12, ip6 ? "\x86\xdd" : "\x08\x00", 2);
	if (ip6) {
		ip[0] = 0x60;
		ip[4] = tail[2];
		ip[5] = tail[3];
		ip[6] = 6;
		memcpy(ip + 8, "\xfe\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xfe\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 32);
	} else {
		ip[0] = 0x45;
		ip[2] = (uint8_t)((length - network) >> 8);
		ip[3] = (uint8_t)(length - network);
		ip[9] = 6;
		memcpy(ip + 12, "\x0a\0\x02\x0f\x0a\0\x02\x02", 8);
	}
	memcpy(tcp, "\x12\x34\0\x50\x00\x00\xff\xf0", 8);
	tcp[12] = (uint8_t)((5 + options / 4) << 4);
	tcp[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR, ACK, PSH, FIN */
	for (size_t i = 0; i < payload; i++)
		frame[start + i] = (uint8_t)(i * 7 + i / 256);
	sum = (uint16_t)~packet_fold(packet_sum(ip + (ip6 ? 8 : 12), ip6 ? 32 : 8, packet_sum(tail, 4, 0)));
	memcpy(tcp + 16, &sum, 2);
	return length;
}

static struct packet_header tcp_header(bool ip6, uint16_t size)
{
	return (struct packet_header){
		.flags = PACKET_NEEDS_CHECKSUM,
		.segment_kind = size ? (ip6 ? PACKET_TCP6 : PACKET_TCP4) : PACKET_PLAIN,
		.segment_size = le16_put(size),
		.checksum_start = le16_put(ip6 ? 54 : 34),
		.checksum_offset = le16_put(16),
	};
}

/* RFC 1071 by its letter, big-endian words. */
static unsigned plain_sum(const uint8_t *bytes, size_t length)
{
	unsigned long sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (unsigned long)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned)sum;
}

/* The sum over the pseudo header and the segment is all ones when the checksum is right. */
static void assert_tcp_is_right(const uint8_t *f, size_t length, bool ip6)
{
	size_t transport = ip6 ? 54 : 34, size = length - transport;
	unsigned long sum = plain_sum(f + (ip6 ? 22 : 26), ip6 ? 32 : 8);

	sum += 6 + size + plain_sum(f + transport, size);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	if (!ip6)
		assert_int_equal(plain_sum(f + 14, 20), 0xffff);
}

static void sums_agree(void **state)
{
	uint8_t bytes[257];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 73 + 11);
	for (size_t length = 0; length <= sizeof bytes; length++) {
		uint16_t folded = packet_fold(packet_sum(bytes, length, 0));

		assert_int_equal(be16toh(folded), (uint16_t)~plain_sum(bytes, length));
	}
}

static void checksums_are_completed(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 <= 1; ip6++)
		for (size_t payload = 0; payload < 40; payload++) {
			size_t length = make_tcp(ip6, payload, 0);
			struct packet_header header = tcp_header(ip6, 0);
			const char *why;

			frame[24] = (uint8_t)(ip6 ? frame[24] : 0);
			assert_int_equal(packet_check(&header, frame, length, ALL, &why), 0);
			packet_complete_checksum(&header, frame, length);
			assert_int_equal(header.flags, 0);
			if (!ip6) {
				uint16_t sum = packet_fold(packet_sum(frame + 14, 20, 0));

				memcpy(frame + 24, &sum, 2);
			}
			assert_tcp_is_right(frame, length, ip6);
		}
}

struct segments {
	bool ip6;
	unsigned count;
	size_t bytes, header, total;
};

static void check_segment(void *context, const uint8_t *f, size_t length)
{
	struct segments *s = context;
	size_t transport = s->ip6 ? 54 : 34, payload = length - s->header;
	bool last = s->bytes + payload == s->total;
	uint32_t sequence;

	assert_tcp_is_right(f, length, s->ip6);
	assert_int_equal(s->ip6 ? f[18] << 8 | f[19] : f[16] << 8 | f[17], length - (s->ip6 ? 54 : 14));
	if (!s->ip6)
		assert_int_equal(f[18] << 8 | f[19], s->count);
	memcpy(&sequence, f + transport + 4, 4);
	assert_int_equal(be32toh(sequence), (uint32_t)(0xfff0 + s->bytes));
	assert_int_equal(f[transport + 13], 0x10 | (last ? 0x09 : 0) | (s->count == 0 ? 0x80 : 0));
	assert_memory_equal(f + s->header, frame + s->header + s->bytes, payload);
	s->bytes += payload;
	s->count++;
}

static void segments_are_cut(void **state)
{
	static const struct {
		bool ip6;
		size_t payload;
		unsigned options;
		uint16_t size;
		unsigned count;
	} cases[] = {
		{false, 4000, 0, 1000, 4}, {false, 4001, 12, 1000, 5}, {true, 65000, 12, 1440, 46},
		{true, 64, 0, 64, 1},      {false, 65, 0, 64, 2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = make_tcp(cases[i].ip6, cases[i].payload, cases[i].options);
		struct packet_header header = tcp_header(cases[i].ip6, cases[i].size);
		struct segments s = {.ip6 = cases[i].ip6,
				     .header = length - cases[i].payload,
				     .total = cases[i].payload};
		const char *why = "";

		if (packet_check(&header, frame, length, ALL, &why) < 0)
			fail_msg("case %zu: %s", i, why);
		packet_segment(&header, frame, length, check_segment, &s);
		assert_int_equal(s.count, cases[i].count);
		assert_int_equal(s.bytes, cases[i].payload);
	}
}

static void hostile_headers_are_refused(void **state)
{
	static const struct {
		struct packet_header header;
		size_t length; /* 0: all */
		unsigned offloads;
		const char *why;
	} cases[] = {
		{{.flags = 0}, 13, ALL, "a frame without an Ethernet header"},
		{{.flags = 0}, PACKET_FRAME_MAX + 1, ALL, "a frame that is too long"},
		{{.flags = 1, .checksum_start = {34}, .checksum_offset = {16}}, 0, 0,
		 "a partial checksum that was not negotiated"},
		{{.flags = 1, .checksum_start = {13}, .checksum_offset = {16}}, 0, ALL, "a checksum outside the frame"},
		{{.flags = 1, .checksum_start = {34}, .checksum_offset = {19}}, 54, ALL, "a checksum outside the frame"},
		{{.flags = 1, .checksum_start = {65535}, .checksum_offset = {65535}}, 0, ALL,
		 "a checksum outside the frame"},
		{{.flags = 1, .segment_kind = 2}, 0, ALL, "a checksum outside the frame"},
		{{.flags = 1, .segment_kind = 2, .checksum_start = {34}}, 0, ALL, "segments of an unknown kind"},
		{{.flags = 1, .segment_kind = 3, .checksum_start = {34}}, 0, ALL, "segments of an unknown kind"},
		{{.segment_kind = 1, .segment_size = {1000}}, 0, ALL, "segments without a place for their checksum"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {1000}, .checksum_start = {34},
		  .checksum_offset = {16}},
		 0, NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO6, "segments that were not negotiated"},
		{{.flags = 1, .segment_kind = 0x81, .segment_size = {1000}, .checksum_start = {34},
		  .checksum_offset = {16}},
		 0, ALL & ~(unsigned)NET_OFFLOAD_ECN, "segments that were not negotiated"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {0}, .checksum_start = {34}, .checksum_offset = {16}},
		 0, ALL, "segments that are too small"},
		{{.flags = 1, .segment_kind = 4, .segment_size = {1000}, .checksum_start = {34},
		  .checksum_offset = {16}},
		 0, ALL, "segments of another protocol than the frame's"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {1000}, .checksum_start = {35},
		  .checksum_offset = {16}},
		 0, ALL, "segments that are not TCP over IPv4"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {1000}, .checksum_start = {33},
		  .checksum_offset = {16}},
		 0, ALL, "segments whose TCP header is not in the frame"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {1000}, .checksum_start = {190},
		  .checksum_offset = {16}},
		 0, ALL, "segments whose TCP header is not in the frame"},
		{{.flags = 1, .segment_kind = 1, .segment_size = {1000}, .checksum_start = {34},
		  .checksum_offset = {16}},
		 54, ALL, "segments without data"},
	};
	size_t whole = make_tcp(false, 3000, 0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = "";
		size_t length = cases[i].length ? cases[i].length : whole;

		assert_int_equal(packet_check(&cases[i].header, frame, length, cases[i].offloads, &why), -EBADMSG);
		if (strcmp(why, cases[i].why) != 0)
			fail_msg("case %zu: \"%s\" is not \"%s\"", i, why, cases[i].why);
	}
}

static void macs_are_parsed(void **state)
{
	static const char *const bad[] = {"",
					  "52:54:00:12:34",
					  "52:54:00:12:34:5",
					  "52:54:00:12:34:567",
					  "52-54-00-12-34-56",
					  "5g:54:00:12:34:56",
					  "01:00:5e:00:00:01",
					  "00:00:00:00:00:00",
					  "ff:ff:ff:ff:ff:ff"};
	uint8_t mac[6], other[6];

	(void)state;
	assert_int_equal(net_parse_mac("52:54:00:aB:34:56", mac, NULL), 0);
	assert_memory_equal(mac, "\x52\x54\x00\xab\x34\x56", 6);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(net_parse_mac(bad[i], mac, NULL), -EINVAL);
	net_make_mac("web", 0, mac);
	net_make_mac("web", 1, other);
	assert_int_equal(mac[0] & 3, 2);
	assert_memory_not_equal(mac, other, 6);
	net_make_mac("web", 0, other);
	assert_memory_equal(mac, other, 6);
}

static void forwards_are_parsed(void **state)
{
	static const struct {
		const char *text;
		struct net_forward is;
	} good[] = {
		{"8080:80", {false, "", 8080, 80}},
		{"tcp:0:22", {false, "", 0, 22}},
		{"udp:53:5353", {true, "", 53, 5353}},
		{"0.0.0.0:8080:80", {false, "0.0.0.0", 8080, 80}},
		{"udp:[::1]:8080:80", {true, "::1", 8080, 80}},
	};
	static const char *const bad[] = {"",        "80",          ":80",         "80:",      "80:0",
					  "65536:1", "1:65536",     "a:1",         "1:b",      "localhost:1:2",
					  "::1:1:2", "[::g]:1:2",   "1.2.3:1:2",   "sctp:1:2", "[]:1:2",
					  ":1:2",    "1.2.3.4:1",   "+1:2",        " 1:2",     "000001:2"};
	struct net_forward forward;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(net_parse_forward(good[i].text, &forward, &e), 0);
		assert_string_equal(forward.address, good[i].is.address);
		assert_int_equal(forward.udp, good[i].is.udp);
		assert_int_equal(forward.host_port, good[i].is.host_port);
		assert_int_equal(forward.guest_port, good[i].is.guest_port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (net_parse_forward(bad[i], &forward, &e) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void an_outbox_keeps_order_and_drops_the_newest(void **state)
{
	const int small = 4096;
	struct outbox outbox;
	unsigned read_ones = 0, number = 0, sent = 0;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	outbox_init(&outbox, ends[0], 100 * sizeof sent);
	while (outbox.dropped == 0) {
		const struct iovec part = {&sent, sizeof sent};

		assert_int_equal(outbox_send(&outbox, &part, 1), 0);
		sent++;
	}
	assert_true(outbox_waits(&outbox));
	assert_int_equal(outbox.bytes, 100 * sizeof sent);
	while (read(ends[1], &number, sizeof number) == sizeof number) {
		assert_int_equal(number, read_ones);
		read_ones++;
		assert_int_equal(outbox_flush(&outbox), 0);
	}
	assert_int_equal(read_ones, sent - 1);
	assert_false(outbox_waits(&outbox));
	close(ends[1]);
	assert_int_equal(outbox_send(&outbox, &(struct iovec){&sent, sizeof sent}, 1), -EPIPE);
	outbox_finish(&outbox);
	close(ends[0]);
}

static const uint8_t first_mac[6] = {0x52, 0, 0, 0, 0, 1}, second_mac[6] = {0x52, 0, 0, 0, 0, 2},
		     third_mac[6] = {0x52, 0, 0, 0, 0, 3};
static struct switch_table table;

struct got {
	unsigned count[SWITCH_PORTS_MAX];
	struct packet_header header;
	size_t length;
};

static void note(void *context, unsigned port, const struct packet_header *header, const uint8_t *bytes, size_t length)
{
	struct got *got = context;

	(void)bytes;
	got->count[port]++;
	got->header = *header;
	got->length = length;
}

static int make_table(void **state)
{
	(void)state;
	memset(&table, 0, sizeof table);
	assert_int_equal(switch_attach(&table, first_mac, ALL, false), 0);
	assert_int_equal(switch_attach(&table, second_mac, ALL, false), 1);
	assert_int_equal(switch_attach(&table, third_mac, 0, false), 2);
	return 0;
}

static void send_from(unsigned port, struct packet_header header, size_t length, uint64_t now, struct got *got)
{
	switch_forward(&table, port, &header, frame, length, now, note, got);
}

static void addresses_are_bound_to_ports(void **state)
{
	struct got got = {.length = 0};
	const struct packet_header plain = {.flags = 0};

	(void)state;
	assert_int_equal(switch_attach(&table, second_mac, 0, false), -EADDRINUSE);
	assert_int_equal(switch_attach(&table, (const uint8_t *)"\x01\0\0\0\0\x01", 0, false), -EINVAL);
	make_tcp(false, 100, 0);
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[1], 1);
	assert_int_equal(got.count[2], 0);
	/* From another's address, and to nobody's. */
	send_from(2, plain, 154, 0, &got);
	assert_int_equal(got.count[1], 1);
	assert_int_equal(table.ports[2].dropped, 1);
	frame[5] = 9;
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[1] + got.count[2], 1);
	/* To itself. */
	frame[5] = 1;
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[0], 0);
	/* An ARP request that lies about who asks. */
	memset(frame, 0xff, 6);
	memcpy(frame + 12, "\x08\x06", 2);
	memcpy(frame + 22, second_mac, 6);
	send_from(0, plain, 60, 0, &got);
	assert_int_equal(got.count[1] + got.count[2], 1);
	memcpy(frame + 22, first_mac, 6);
	send_from(0, plain, 60, 0, &got);
	assert_int_equal(got.count[1] + got.count[2], 3);
	assert_int_equal(got.count[0], 0);
	/* A port that left is free again, also its address. */
	switch_detach(&table, 1);
	assert_int_equal(switch_attach(&table, second_mac, 0, false), 1);
	for (unsigned i = 3; i < SWITCH_PORTS_MAX; i++)
		assert_int_equal(switch_attach(&table, (const uint8_t[]){2, 0, 0, 0, 1, (uint8_t)i}, 0, false), i);
	assert_int_equal(switch_attach(&table, (const uint8_t *)"\x02\0\0\0\x02\0", 0, false), -ENOSPC);
}

static void addresses_pass_to_who_succeeds(void **state)
{
	struct got got = {.length = 0};
	const struct packet_header plain = {.flags = 0};

	(void)state;
	assert_int_equal(switch_attach(&table, second_mac, ALL, true), 3);
	assert_int_equal(switch_attach(&table, second_mac, ALL, true), -EADDRINUSE);
	make_tcp(false, 100, 0);
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[1], 1);
	assert_int_equal(got.count[3], 0);
	/* It speaks. */
	memset(frame, 0xff, 6);
	memcpy(frame + 6, second_mac, 6);
	send_from(3, plain, 60, 0, &got);
	assert_int_equal(got.count[0], 1);
	assert_int_equal(got.count[1], 1);
	make_tcp(false, 100, 0);
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[1], 1);
	assert_int_equal(got.count[3], 1);
	/* The other one goes on after all. */
	switch_detach(&table, 3);
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[1], 2);
	assert_int_equal(got.count[3], 1);
	assert_int_equal(switch_attach(&table, third_mac, ALL, true), 3);
	switch_detach(&table, 2);
	memset(frame, 0xff, 6);
	send_from(0, plain, 154, 0, &got);
	assert_int_equal(got.count[3], 2);
}

static void floods_are_limited(void **state)
{
	const struct packet_header plain = {.flags = 0};
	struct got got = {.length = 0};

	(void)state;
	make_tcp(false, 100, 0);
	memset(frame, 0xff, 6);
	for (unsigned i = 0; i < 2 * SWITCH_FLOOD_BURST; i++)
		send_from(0, plain, 154, 1000000000, &got);
	assert_int_equal(got.count[1], SWITCH_FLOOD_BURST);
	send_from(0, plain, 154, 1010000000, &got);
	assert_int_equal(got.count[1], SWITCH_FLOOD_BURST + 1);
	/* Its own fault only. */
	memcpy(frame + 6, second_mac, 6);
	send_from(1, plain, 154, 1000000000, &got);
	assert_int_equal(got.count[2], SWITCH_FLOOD_BURST + 2);
	/* Never forwarded: addresses of the link itself. */
	memcpy(frame, "\x01\x80\xc2\0\0\x0e", 6);
	send_from(1, plain, 154, 1000000000, &got);
	assert_int_equal(got.count[2], SWITCH_FLOOD_BURST + 2);
}

static void ports_get_what_they_take(void **state)
{
	struct got got = {.length = 0};
	size_t length = make_tcp(false, 4000, 0);

	(void)state;
	send_from(0, tcp_header(false, 1000), length, 0, &got);
	assert_int_equal(got.count[1], 1);
	assert_int_equal(got.length, length);
	assert_int_equal(got.header.segment_kind, PACKET_TCP4);
	memcpy(frame, third_mac, 6);
	send_from(0, tcp_header(false, 1000), length, 0, &got);
	assert_int_equal(got.count[2], 4);
	assert_int_equal(got.header.flags, 0);
	assert_int_equal(got.length, 1054);
	switch_set_offloads(&table, 2, NET_OFFLOAD_CHECKSUM);
	send_from(0, tcp_header(false, 0), length, 0, &got);
	assert_int_equal(got.count[2], 5);
	assert_int_equal(got.header.flags, PACKET_NEEDS_CHECKSUM);
	switch_set_offloads(&table, 2, 0);
	send_from(0, tcp_header(false, 0), length, 0, &got);
	assert_int_equal(got.count[2], 6);
	assert_int_equal(got.header.flags, 0);
}

/* ---- Connections ---- */

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

/* make_tcp's connection is the guest's port 0x1234 with port 80 of the other side; `port` is another of the guest. */
static void tell(struct flows *flows, bool ip6, unsigned port, unsigned flags, bool from_guest)
{
	size_t length = make_tcp(ip6, 0, 0), network = ip6 ? 54 : 34, addresses = ip6 ? 22 : 26, size = ip6 ? 16 : 4;
	uint8_t other[16], ports[2];

	frame[network] = (uint8_t)(port >> 8);
	frame[network + 1] = (uint8_t)port;
	frame[network + 13] = (uint8_t)flags;
	if (!from_guest) {
		memcpy(other, frame + addresses, size);
		memcpy(frame + addresses, frame + addresses + size, size);
		memcpy(frame + addresses + size, other, size);
		memcpy(ports, frame + network, 2);
		memcpy(frame + network, frame + network + 2, 2);
		memcpy(frame + network + 2, ports, 2);
	}
	flows_note(flows, frame, length, from_guest);
}

static void assert_flows(const struct flows *flows, unsigned expected)
{
	static struct net_flow list[NET_FLOWS_MAX];

	assert_int_equal(flows_list(flows, list), expected);
}

static void connections_are_known(void **state)
{
	static struct flows flows;
	static struct net_flow list[NET_FLOWS_MAX];

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		memset(&flows, 0, sizeof flows);
		tell(&flows, ip6, 1000, TCP_ACK, true);
		tell(&flows, ip6, 1000, TCP_FIN, true);
		assert_flows(&flows, 0);
		tell(&flows, ip6, 1000, TCP_SYN, true);
		tell(&flows, ip6, 1000, TCP_SYN | TCP_ACK, false);
		tell(&flows, ip6, 1001, TCP_SYN, false);
		assert_int_equal(flows_list(&flows, list), 2);
		assert_int_equal(list[0].version, ip6 ? 6 : 4);
		assert_int_equal(list[0].guest_port, 1000);
		assert_int_equal(list[0].remote_port, 80);
		assert_memory_equal(list[0].guest, ip6 ? "\xfe\xc0" : "\x0a\0", 2);
		assert_int_equal(list[0].guest[ip6 ? 15 : 3], ip6 ? 1 : 15);
		assert_int_equal(list[0].remote[ip6 ? 15 : 3], 2);
		tell(&flows, ip6, 1000, TCP_FIN | TCP_ACK, true);
		assert_flows(&flows, 2);
		tell(&flows, ip6, 1000, TCP_FIN | TCP_ACK, false);
		assert_flows(&flows, 1);
		tell(&flows, ip6, 1001, TCP_RST, false);
		assert_flows(&flows, 0);
	}
	/* Whichever began first makes room. */
	for (unsigned port = 1; port <= NET_FLOWS_MAX + 1; port++)
		tell(&flows, false, port, TCP_SYN, true);
	assert_int_equal(flows_list(&flows, list), NET_FLOWS_MAX);
	for (unsigned i = 0; i < NET_FLOWS_MAX; i++)
		assert_int_not_equal(list[i].guest_port, 1);
}

static void what_is_no_segment_is_no_connection(void **state)
{
	static struct flows flows;
	size_t length;

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		length = make_tcp(ip6, 0, 0);
		frame[(ip6 ? 54 : 34) + 13] = TCP_SYN;
		for (size_t cut = 0; cut < length; cut++) {
			uint8_t *exact = malloc(cut ? cut : 1);

			memcpy(exact, frame, cut);
			flows_note(&flows, exact, cut, true);
			free(exact);
		}
		frame[ip6 ? 20 : 23] = 17;
		flows_note(&flows, frame, length, true);
		frame[ip6 ? 20 : 23] = 6;
		frame[12] = 0x81;
		flows_note(&flows, frame, length, true);
	}
	length = make_tcp(false, 0, 0);
	frame[34 + 13] = TCP_SYN;
	frame[21] = 1; /* a later fragment */
	flows_note(&flows, frame, length, true);
	assert_flows(&flows, 0);
}

static void a_probe_is_a_right_segment(void **state)
{
	static const uint8_t guest[6] = {0x52, 1, 2, 3, 4, 5}, own[6] = {0x52, 0x55, 10, 0, 2, 2};
	struct net_flow flow = {.guest_port = 4000, .remote_port = 80};
	uint8_t probe[FLOWS_PROBE_MAX];

	(void)state;
	memset(flow.guest, 1, 16);
	memset(flow.remote, 2, 16);
	for (unsigned version = 4; version <= 6; version += 2) {
		size_t length, transport = version == 4 ? 34 : 54;

		flow.version = (uint8_t)version;
		assert_true(flows_valid(&flow));
		length = flows_probe(&flow, guest, own, probe);
		assert_int_equal(length, transport + 20);
		assert_tcp_is_right(probe, length, version == 6);
		assert_memory_equal(probe, guest, 6);
		assert_int_equal(probe[transport] << 8 | probe[transport + 1], 80);
		assert_int_equal(probe[transport + 2] << 8 | probe[transport + 3], 4000);
		assert_int_equal(probe[transport + 13], TCP_ACK);
	}
	flow.version = 5;
	assert_false(flows_valid(&flow));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_agree),
		cmocka_unit_test(checksums_are_completed),
		cmocka_unit_test(segments_are_cut),
		cmocka_unit_test(hostile_headers_are_refused),
		cmocka_unit_test(macs_are_parsed),
		cmocka_unit_test(connections_are_known),
		cmocka_unit_test(what_is_no_segment_is_no_connection),
		cmocka_unit_test(a_probe_is_a_right_segment),
		cmocka_unit_test(forwards_are_parsed),
		cmocka_unit_test(an_outbox_keeps_order_and_drops_the_newest),
		cmocka_unit_test_setup(addresses_are_bound_to_ports, make_table),
		cmocka_unit_test_setup(addresses_pass_to_who_succeeds, make_table),
		cmocka_unit_test_setup(floods_are_limited, make_table),
		cmocka_unit_test_setup(ports_get_what_they_take, make_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
