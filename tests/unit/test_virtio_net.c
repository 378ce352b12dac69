#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

#include "base/clock.h"
#include "device/virtio/net_private.h"
#include "net/private.h"
#include "ring_driver.h"

#define RAM        UINT64_C(0x80000000)
#define RAM_SIZE   (8 * MIB)
#define RINGS      RAM
#define BUFFERS    (RAM + MIB)
#define QUEUE_SIZE 64
#define PAIRS      2
#define CONTROL    (2 * PAIRS)
#define HEADER     sizeof(struct packet_header)

static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1}, other_mac[6] = {0x52, 0x54, 0, 0, 0, 2};

static struct rig {
	struct memory memory;
	struct worker *worker;
	struct virtio *virtio;
	struct virtio_net *card;
	struct net *net;
	struct ring rings[2 * PAIRS + 1];
	int peer;          /* the other end of the wire */
	unsigned told;     /* offloads that the back end was told last */
	uint64_t features; /* to leave out */
} rig;

static uint8_t packet[NET_PACKET_MAX];

static int note_offloads(struct net *net, unsigned offloads, struct error *e)
{
	(void)net;
	(void)e;
	rig.told = offloads;
	return 0;
}

static void say_gone(struct net *net, struct error *e)
{
	(void)net;
	(void)error_set(e, ERROR_FAILED, -EPIPE, "the peer is gone");
}

static const struct net_backend backend = {.set_offloads = note_offloads, .ended = say_gone};

static void put(uint64_t offset, uint64_t value)
{
	pthread_mutex_lock(&rig.virtio->device.lock);
	virtio_mmio_ops.write(rig.virtio, offset, value, 4);
	pthread_mutex_unlock(&rig.virtio->device.lock);
}

static uint64_t get(uint64_t offset)
{
	uint64_t value;

	pthread_mutex_lock(&rig.virtio->device.lock);
	value = virtio_mmio_ops.read(rig.virtio, offset, 4);
	pthread_mutex_unlock(&rig.virtio->device.lock);
	return value;
}

static void put_address(uint64_t offset, uint64_t value)
{
	put(offset, value & 0xffffffff);
	put(offset + 4, value >> 32);
}

static void set_queue(unsigned queue, bool packed)
{
	struct ring *ring = &rig.rings[queue];

	ring_init(ring, &rig.memory, packed, false, QUEUE_SIZE, RINGS + queue * ring_bytes(QUEUE_SIZE));
	put(0x030, queue);
	put(0x038, QUEUE_SIZE);
	put_address(0x080, ring->table);
	put_address(0x090, ring->driver);
	put_address(0x0a0, ring->device);
	put(0x044, 1);
	assert_int_equal(get(0x044), 1);
}

/* As a driver does, with all features that are offered but those of rig.features. */
static void start_driver(bool packed)
{
	uint64_t wanted;

	put(0x070, 0);
	put(0x070, 3);
	put(0x014, 0);
	wanted = get(0x010);
	put(0x014, 1);
	wanted |= get(0x010) << 32;
	wanted &= ~(rig.features | VIRTIO_F_EVENT_IDX | (packed ? 0 : VIRTIO_F_RING_PACKED));
	put(0x024, 0);
	put(0x020, wanted & 0xffffffff);
	put(0x024, 1);
	put(0x020, wanted >> 32);
	put(0x070, 11);
	assert_int_equal(get(0x070), 11);
	for (unsigned i = 0; i <= CONTROL; i++)
		set_queue(i, packed);
	put(0x070, 15);
}

static int open_rig(void **state)
{
	struct virtio_net_options options = {.pairs = PAIRS};
	int ends[2];

	(void)state;
	memset(&rig, 0, sizeof rig);
	memory_init(&rig.memory);
	memcpy(options.mac, mac, 6);
	assert_int_equal(memory_add_ram(&rig.memory, gpa(RAM), RAM_SIZE, "ram", NULL), 0);
	assert_int_equal(worker_new(&rig.worker, "test", NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	rig.peer = ends[1];
	rig.net = calloc(1, sizeof *rig.net);
	*rig.net = (struct net){.backend = &backend, .descriptor = ends[0], .control = -1, .mtu = 1500};
	rig.net->offloads = NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
	assert_int_equal(virtio_net_new(&rig.virtio, "net0", rig.worker, rig.net, &options, NULL), 0);
	rig.card = (struct virtio_net *)rig.virtio;
	virtio_mmio_place(rig.virtio, gpa(0x10001000), (struct irq_line){.set = NULL}, &rig.memory);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	device_free(&rig.virtio->device);
	worker_free(rig.worker);
	memory_finish(&rig.memory);
	if (rig.peer >= 0)
		close(rig.peer);
	return 0;
}

static bool wait_used(unsigned queue, uint16_t *id, uint32_t *length)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (ring_used(&rig.rings[queue], id, length))
			return true;
		usleep(1000);
	}
	return false;
}

static ssize_t receive_at_peer(int ms)
{
	struct pollfd waiting = {.fd = rig.peer, .events = POLLIN};

	if (poll(&waiting, 1, ms) != 1)
		return -1;
	return read(rig.peer, packet, sizeof packet);
}

static void make_frame(uint8_t *at, const uint8_t *to, const uint8_t *from, unsigned type, uint8_t mark, size_t length)
{
	memset(at, mark, length);
	memcpy(at, to, 6);
	memcpy(at + 6, from, 6);
	at[12] = (uint8_t)(type >> 8);
	at[13] = (uint8_t)type;
}

/* A packet from the guest: its header in a buffer of its own, its frame in two. */
static uint16_t send_packet(unsigned queue, const struct packet_header *header, uint64_t address, size_t length)
{
	const struct piece pieces[] = {{address, HEADER, 0},
				       {address + HEADER, 20, 0},
				       {address + HEADER + 20, (uint32_t)length - 20, 0}};
	uint16_t id;

	memcpy(ring_at(&rig.rings[queue], address, HEADER), header, HEADER);
	id = ring_add(&rig.rings[queue], pieces, 3);
	put(0x050, queue);
	return id;
}

static void packets_leave(void **state)
{
	const struct packet_header plain = {.buffers = le16_put(7)}, hostile = {.flags = 1,
										 .checksum_start = le16_put(5000)};
	uint8_t *frame = ring_at(&(struct ring){.memory = &rig.memory}, BUFFERS, 8192);
	uint32_t length;
	uint16_t id;

	for (int packed = 0; packed <= 1; packed++) {
		start_driver(packed);
		make_frame(frame + HEADER, other_mac, mac, 0x88b5, 'a', 1000);
		send_packet(1, &plain, BUFFERS, 1000);
		assert_int_equal(receive_at_peer(5000), HEADER + 1000);
		assert_memory_equal(packet + HEADER, frame + HEADER, 1000);
		assert_int_equal(packet[10] | packet[11], 0);
		assert_true(wait_used(1, &id, &length));
		/* A checksum far outside is dropped, and the queue goes on. */
		send_packet(1, &hostile, BUFFERS, 1000);
		assert_true(wait_used(1, &id, &length));
		assert_int_equal(receive_at_peer(50), -1);
		send_packet(3, &plain, BUFFERS, 60);
		assert_int_equal(receive_at_peer(5000), HEADER + 60);
		assert_true(wait_used(3, &id, &length));
	}
	(void)state;
}

static void send_to_guest(const uint8_t *to, uint8_t mark, size_t length)
{
	memset(packet, 0, HEADER);
	make_frame(packet + HEADER, to, other_mac, 0x88b5, mark, length);
	assert_int_equal(write(rig.peer, packet, HEADER + length), HEADER + length);
}

static void give_buffers(unsigned queue, unsigned count, uint32_t size)
{
	for (unsigned i = 0; i < count; i++) {
		const struct piece piece = {BUFFERS + 0x100000 + i * 0x2000, size, RING_WRITE};

		ring_add(&rig.rings[queue], &piece, 1);
	}
	put(0x050, queue);
}

/* 5000 bytes into buffers of 1500: the driver sees four, at once, and they hold the packet. */
static void large_packets_take_several_buffers(void **state)
{
	static uint8_t whole[8192];

	(void)state;
	for (int packed = 0; packed <= 1; packed++) {
		size_t got = 0;
		uint32_t length;
		uint16_t id;

		start_driver(packed);
		give_buffers(0, 10, 1500);
		send_to_guest(mac, 'b', 5000);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t address = BUFFERS + 0x100000 + i * 0x2000;

			/* Seen with the first: no wait for the others. */
			if (i == 0)
				assert_true(wait_used(0, &id, &length));
			else
				assert_true(ring_used(&rig.rings[0], &id, &length));
			memcpy(whole + got, ring_at(&rig.rings[0], address, length), length);
			got += length;
		}
		assert_int_equal(got, HEADER + 5000);
		assert_int_equal(whole[10] | whole[11] << 8, 4);
		assert_memory_equal(whole + HEADER, packet + HEADER, 5000);
		assert_false(ring_used(&rig.rings[0], &id, &length));
	}
}

static void without_mergeable_buffers_one_must_do(void **state)
{
	uint32_t length;
	uint16_t id;

	(void)state;
	rig.features = NET_F_MRG_RXBUF;
	start_driver(false);
	give_buffers(0, 4, 1500);
	send_to_guest(mac, 'x', 4000);
	send_to_guest(mac, 'c', 1000);
	assert_true(wait_used(0, &id, &length));
	assert_int_equal(length, HEADER + 1000);
	assert_int_equal(*ring_at(&rig.rings[0], BUFFERS + 0x100000 + HEADER + 500, 1), 'c');
	assert_int_equal(atomic_load(&rig.card->virtio.statistics.dropped_in), 1);
}

/* On the worker: whether a packet waits and the wire is not watched, as that would be no reason to wake up. */
static void look_at_starved(void *arg)
{
	*(bool *)arg = rig.card->starved && rig.card->events == 0;
}

static bool is_starved(void)
{
	bool starved = false;

	for (unsigned i = 0; i < 5000 && !starved; i++) {
		usleep(1000);
		worker_call(rig.worker, look_at_starved, &starved);
	}
	return starved;
}

static void packets_wait_for_buffers(void **state)
{
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(true);
	for (unsigned i = 0; i < 5; i++)
		send_to_guest(mac, (uint8_t)('0' + i), 100 + i);
	assert_true(is_starved());
	for (unsigned i = 0; i < 5; i++) {
		give_buffers(0, 1, 1500);
		assert_true(wait_used(0, &id, &length));
		assert_int_equal(length, HEADER + 100 + i);
	}
}

static void packets_wait_for_the_back_end(void **state)
{
	const struct packet_header plain = {.flags = 0};
	const int small = 4096;
	unsigned sent = 0, got = 0, used = 0;
	uint32_t length;
	uint16_t id;

	(void)state;
	setsockopt(net_descriptor(rig.net), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	start_driver(false);
	while (sent < 20) {
		uint64_t address = BUFFERS + sent * 0x2000;

		make_frame(ring_at(&rig.rings[1], address + HEADER, 1000), other_mac, mac, 0x88b5, (uint8_t)sent, 1000);
		send_packet(1, &plain, address, 1000);
		sent++;
	}
	usleep(20000);
	while (ring_used(&rig.rings[1], &id, &length))
		used++;
	assert_true(used < sent);
	while (got < sent && receive_at_peer(5000) == HEADER + 1000) {
		assert_int_equal(packet[HEADER + 500], got);
		got++;
	}
	assert_int_equal(got, sent);
	for (; used < sent; used++)
		assert_true(wait_used(1, &id, &length));
}

/* Sends a command of `size` bytes; the answer. */
static int command(const void *bytes, uint32_t size)
{
	const struct piece pieces[] = {{BUFFERS, 2, 0}, {BUFFERS + 2, size - 2, 0}, {BUFFERS + 4096, 1, RING_WRITE}};
	uint32_t length;
	uint16_t id;

	memcpy(ring_at(&rig.rings[CONTROL], BUFFERS, size), bytes, size);
	*ring_at(&rig.rings[CONTROL], BUFFERS + 4096, 1) = 0xee;
	ring_add(&rig.rings[CONTROL], pieces, 3);
	put(0x050, CONTROL);
	assert_true(wait_used(CONTROL, &id, &length));
	assert_int_equal(length, 1);
	return *ring_at(&rig.rings[CONTROL], BUFFERS + 4096, 1);
}

static void commands_are_carried_out(void **state)
{
	static const uint8_t multicast[6] = {1, 0, 0x5e, 0, 0, 1};
	uint8_t tables[2 + 4 + 6 + 4 + 6] = {1, 0, 1, 0, 0, 0};
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(false);
	give_buffers(0, 8, 1500);
	assert_int_equal(command("\0\0\0", 3), 0); /* promiscuous: off */
	memcpy(tables + 6, "\x52\x54\0\0\0\x09", 6);
	tables[12] = 1;
	memcpy(tables + 16, multicast, 6);
	assert_int_equal(command(tables, sizeof tables), 0);
	send_to_guest(other_mac, 'x', 100);
	send_to_guest((const uint8_t *)"\x01\0\x5e\0\0\x02", 'x', 100);
	send_to_guest(multicast, 'm', 101);
	send_to_guest((const uint8_t *)"\x52\x54\0\0\0\x09", 'u', 102);
	send_to_guest(mac, 'o', 103);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(wait_used(0, &id, &length));
		assert_int_equal(length, HEADER + 101 + i);
	}
	assert_int_equal(command("\1\1\x52\x54\0\0\0\7", 8), 0); /* another address */
	send_to_guest(mac, 'x', 100);
	send_to_guest((const uint8_t *)"\x52\x54\0\0\0\7", 'n', 104);
	assert_true(wait_used(0, &id, &length));
	assert_int_equal(length, HEADER + 104);
	assert_int_equal(rig.told, rig.net->offloads);
	assert_int_equal(command("\5\0\2\0\0\0\0\0\0\0", 10), 0); /* offloads: checksums only */
	assert_int_equal(rig.told, NET_OFFLOAD_CHECKSUM);
	assert_int_equal(command("\4\0\2\0", 4), 0); /* two pairs */
	assert_int_equal(rig.card->pairs, 2);
}

static void wrong_commands_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		uint32_t size;
	} cases[] = {
		{"\0\6\0", 3},                 /* no such switch */
		{"\1\0\xff\xff\xff\xff\0\0", 8}, /* a table that is longer than the command */
		{"\1\1\x52\x54\0\0\0", 7},     /* a short address */
		{"\1\1\x01\0\0\0\0\1", 8},     /* of a group */
		{"\2\0\0\x10", 4},             /* VLAN 4096 */
		{"\3\0\0", 3},                 /* nothing was announced */
		{"\4\0\0\0", 4},               /* no pairs */
		{"\4\0\3\0", 4},               /* more than there are */
		{"\5\0\1\0\0\0\0\0\0\0", 10},  /* not an offload of the guest's */
		{"\6\0\0", 3},                 /* no such class */
		{"\xff\xff\xff", 3},
	};

	(void)state;
	start_driver(true);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (command(cases[i].bytes, cases[i].size) != 1)
			fail_msg("case %zu was carried out", i);
}

static void pairs_keep_their_flows(void **state)
{
	const struct packet_header plain = {.flags = 0};
	uint8_t *frame = ring_at(&(struct ring){.memory = &rig.memory}, BUFFERS + HEADER, 100);
	static const uint8_t ports[2][4] = {{0, 80, 1, 2}, {1, 2, 0, 80}};
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(false);
	assert_int_equal(command("\4\0\2\0", 4), 0);
	give_buffers(0, 4, 1500);
	give_buffers(2, 4, 1500);
	make_frame(frame, other_mac, mac, 0x0800, 0, 100);
	frame[14] = 0x45;
	frame[23] = 6;
	memcpy(frame + 34, ports[0], 4);
	send_packet(3, &plain, BUFFERS, 100);
	assert_int_equal(receive_at_peer(5000), HEADER + 100);
	memcpy(packet + HEADER + 34, ports[1], 4);
	assert_int_equal(write(rig.peer, packet, HEADER + 100), HEADER + 100);
	assert_true(wait_used(2, &id, &length));
	send_to_guest(mac, 'o', 100);
	assert_true(wait_used(0, &id, &length));
}

static unsigned link_status(void)
{
	return (unsigned)(get(0x104) >> 16);
}

static void a_lost_back_end_takes_the_link_down(void **state)
{
	const struct packet_header plain = {.flags = 0};
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(false);
	assert_int_equal(link_status(), NET_LINK_UP);
	close(rig.peer);
	rig.peer = -1;
	for (unsigned i = 0; i < 5000 && link_status(); i++)
		usleep(1000);
	assert_int_equal(link_status(), 0);
	make_frame(ring_at(&rig.rings[1], BUFFERS + HEADER, 100), other_mac, mac, 0x88b5, 1, 100);
	send_packet(1, &plain, BUFFERS, 100);
	assert_true(wait_used(1, &id, &length));
	start_driver(false);
	assert_int_equal(link_status(), 0);
}

static void announcements_wait_for_the_guest(void **state)
{
	(void)state;
	virtio_net_announce(rig.virtio);
	assert_int_equal(link_status(), NET_LINK_UP);
	/* Switches are told at once: a broadcast of RARP by the card. */
	assert_int_equal(read(rig.peer, packet, sizeof packet), HEADER + 60);
	assert_memory_equal(packet + HEADER, "\377\377\377\377\377\377", 6);
	assert_memory_equal(packet + HEADER + 6, mac, 6);
	assert_memory_equal(packet + HEADER + 12, "\x80\x35\0\1\x08\0\6\4\0\3", 10);
	start_driver(false);
	/* Served once: it is live. */
	assert_int_equal(command("\0\0\1", 3), 0);
	virtio_net_announce(rig.virtio);
	assert_int_equal(link_status(), NET_LINK_UP | NET_ANNOUNCE);
	assert_int_equal(command("\3\0\0", 3), 0);
	assert_int_equal(link_status(), NET_LINK_UP);
}

static void state_is_kept(void **state)
{
	struct state_writer w;
	struct state_reader r;
	struct state_section section;
	struct error e;
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(true);
	assert_int_equal(command("\0\0\0", 3), 0);
	assert_int_equal(command("\4\0\2\0", 4), 0);
	device_pause(&rig.virtio->device);
	state_writer_init(&w);
	device_save(&rig.virtio->device, &w);
	assert_int_equal(w.failed, 0);
	device_resume(&rig.virtio->device);
	put(0x070, 0);
	assert_true(rig.card->filter.promiscuous);
	assert_int_equal(rig.card->pairs, 1);
	device_pause(&rig.virtio->device);
	state_reader_init(&r, w.bytes, w.length);
	assert_int_equal(state_next(&r, &section, &e), 1);
	if (device_load(&rig.virtio->device, &section, &e) < 0)
		fail_msg("%s", e.message);
	device_resume(&rig.virtio->device);
	assert_false(rig.card->filter.promiscuous);
	assert_int_equal(rig.card->pairs, 2);
	send_to_guest(mac, 'o', 100);
	give_buffers(0, 1, 1500);
	assert_true(wait_used(0, &id, &length));
	state_writer_finish(&w);
}

static void rates_are_kept(void **state)
{
	const struct net_limits limits = {.bytes_per_second = 100000, .burst_seconds = 0.01};
	unsigned got = 0;
	uint64_t before;
	uint32_t length;
	uint16_t id;

	(void)state;
	virtio_net_set_limits(rig.virtio, &limits);
	start_driver(false);
	give_buffers(0, 20, 1500);
	before = clock_host_ns();
	for (unsigned i = 0; i < 12; i++)
		send_to_guest(mac, 'r', 1000);
	while (got < 12 && wait_used(0, &id, &length))
		got++;
	assert_int_equal(got, 12);
	/* 12 packets of 1012 bytes, of which one passes at once: at least 0.1 s. */
	assert_in_range(clock_host_ns() - before, 90000000, 30000000000);
}

/* Chains of any shape with any bytes in them, on all queues: each comes back, and then the card still works. */
static void hostile_packets_end_nothing(void **state)
{
	enum { ROUNDS = 4000 };
	const struct packet_header plain = {.flags = 0};
	unsigned seed = 7;
	uint32_t length;
	uint16_t id;

	(void)state;
	start_driver(true);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned queue = i % 3 == 0 ? CONTROL : 1, count = 1 + (unsigned)rand_r(&seed) % 5;
		struct piece pieces[6];

		for (unsigned j = 0; j < count; j++) {
			uint64_t address = BUFFERS + (uint64_t)rand_r(&seed) % 0x10000;

			pieces[j] = (struct piece){address, (uint32_t)rand_r(&seed) % (j ? 3000 : 40) + 1, 0};
			for (uint32_t k = 0; k < pieces[j].length && k < 64; k++)
				*ring_at(&rig.rings[queue], address + k, 1) =
					(uint8_t)(rand_r(&seed) % 3 ? rand_r(&seed) % 7 : rand_r(&seed));
		}
		if (queue == CONTROL)
			pieces[count++] = (struct piece){BUFFERS + 0x20000, (uint32_t)rand_r(&seed) % 4 + 1, RING_WRITE};
		ring_add(&rig.rings[queue], pieces, count);
		put(0x050, queue);
		while (read(rig.peer, packet, sizeof packet) > 0)
			;
		if (!wait_used(queue, &id, &length))
			fail_msg("round %u: the buffer does not come back", i);
	}
	while (read(rig.peer, packet, sizeof packet) > 0)
		;
	make_frame(ring_at(&rig.rings[1], BUFFERS + HEADER, 100), other_mac, mac, 0x88b5, 'z', 100);
	send_packet(1, &plain, BUFFERS, 100);
	assert_int_equal(receive_at_peer(5000), HEADER + 100);
	assert_int_equal(packet[HEADER + 50], 'z');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packets_leave, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(large_packets_take_several_buffers, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(without_mergeable_buffers_one_must_do, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(packets_wait_for_buffers, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(packets_wait_for_the_back_end, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(commands_are_carried_out, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(wrong_commands_are_refused, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(pairs_keep_their_flows, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(a_lost_back_end_takes_the_link_down, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(announcements_wait_for_the_guest, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(state_is_kept, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(rates_are_kept, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(hostile_packets_end_nothing, open_rig, close_rig),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
