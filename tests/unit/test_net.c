#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/packet.h"
#include "net/private.h"

#define WAIT_MS 20000

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3}, other_mac[6] = {0x52, 0x54, 0, 1, 2, 4};
static uint8_t packet[NET_PACKET_MAX];
static uint8_t *const frame = packet + sizeof(struct packet_header);
static char runtime[] = "/tmp/doppel-net-XXXXXX";

static struct net *open_net(struct net_options *options)
{
	struct net *net = NULL;
	struct error e = {.kind = ERROR_NONE};

	if (net_open(&net, options, &e) < 0)
		fail_msg("net_open: %s", e.message);
	return net;
}

/* The next packet's length, 0 at the end, -1 when none comes within `ms`. */
static ssize_t receive(struct net *net, int ms)
{
	struct pollfd waiting = {.fd = net_descriptor(net), .events = POLLIN};

	if (poll(&waiting, 1, ms) != 1)
		return -1;
	return read(net_descriptor(net), packet, sizeof packet);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Sends `payload` bytes, which are in their place already, as UDP over IPv4; checksums are left to the network. */
static void send_udp(struct net *net, const char *source, unsigned source_port, const char *target,
		     unsigned target_port, size_t payload)
{
	struct packet_header header = {.flags = PACKET_NEEDS_CHECKSUM,
				       .checksum_start = le16_put(34),
				       .checksum_offset = le16_put(6)};
	uint8_t tail[4] = {0, 17}, *ip = frame + 14, *udp = frame + 34;
	uint16_t sum;

	memcpy(frame, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(frame + 6, mac, 6);
	put16(frame + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)payload + 28);
	ip[8] = 64;
	ip[9] = 17;
	inet_pton(AF_INET, source, ip + 12);
	inet_pton(AF_INET, target, ip + 16);
	sum = packet_fold(packet_sum(ip, 20, 0));
	memcpy(ip + 10, &sum, 2);
	put16(udp, source_port);
	put16(udp + 2, target_port);
	put16(udp + 4, (unsigned)payload + 8);
	put16(tail + 2, (unsigned)payload + 8);
	sum = (uint16_t)~packet_fold(packet_sum(ip + 12, 8, packet_sum(tail, 4, 0)));
	memcpy(udp + 6, &sum, 2);
	memcpy(packet, &header, sizeof header);
	assert_int_equal(write(net_descriptor(net), packet, sizeof header + 42 + payload),
			 sizeof header + 42 + payload);
}

/* Waits for a UDP packet to `port` and answers ARP for 10.0.2.15 meanwhile; its payload is then in place. */
static size_t await_udp(struct net *net, unsigned port)
{
	static const uint8_t own[4] = {10, 0, 2, 15};

	for (;;) {
		ssize_t size = receive(net, WAIT_MS);

		assert_true(size > 0);
		if (frame[12] == 8 && frame[13] == 6 && frame[21] == 1 && memcmp(frame + 38, own, 4) == 0) {
			memcpy(frame + 32, frame + 22, 10);
			memcpy(frame, frame + 6, 6);
			memcpy(frame + 6, mac, 6);
			memcpy(frame + 22, mac, 6);
			memcpy(frame + 28, own, 4);
			frame[21] = 2;
			memset(packet, 0, sizeof(struct packet_header));
			assert_int_equal(write(net_descriptor(net), packet, 12 + 42), 12 + 42);
			continue;
		}
		if (size > 12 + 42 && frame[12] == 8 && frame[13] == 0 && frame[23] == 17 &&
		    (unsigned)(frame[36] << 8 | frame[37]) == port)
			return (size_t)size - 12 - 42;
	}
}

static void discover(struct net *net)
{
	uint8_t *bootp = frame + 42;

	memset(bootp, 0, 300);
	memcpy(bootp, "\x01\x01\x06\x00\x01\x02\x03\x04", 8);
	memcpy(bootp + 28, mac, 6);
	memcpy(bootp + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
	send_udp(net, "0.0.0.0", 68, "255.255.255.255", 67, 300);
	await_udp(net, 68);
	assert_memory_equal(bootp + 16, "\x0a\x00\x02\x0f", 4);
}

static int bind_udp(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (void *)address, sizeof *address), 0);
	assert_int_equal(getsockname(fd, (void *)address, &length), 0);
	return fd;
}

static void user_gives_addresses_and_reaches_the_host(void **state)
{
	struct net_options options = {.kind = NET_USER};
	struct net *net;
	struct sockaddr_in address, from;
	socklen_t length = sizeof from;
	int server = bind_udp(&address);
	char text[16] = "";

	(void)state;
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	assert_int_equal(net_mtu(net), 65520);
	discover(net);
	memcpy(frame + 42, "ping?", 5);
	send_udp(net, "10.0.2.15", 4000, "10.0.2.2", ntohs(address.sin_port), 5);
	assert_int_equal(recvfrom(server, text, sizeof text, 0, (void *)&from, &length), 5);
	assert_string_equal(text, "ping?");
	assert_int_equal(sendto(server, "pong!", 5, 0, (void *)&from, length), 5);
	assert_int_equal(await_udp(net, 4000), 5);
	assert_memory_equal(frame + 42, "pong!", 5);
	net_close(net);
	close(server);
}

static void isolated_users_reach_nothing(void **state)
{
	struct net_options options = {.kind = NET_USER, .isolated = true};
	struct net *net;
	struct sockaddr_in address;
	int server = bind_udp(&address);
	struct pollfd waiting = {.fd = server, .events = POLLIN};

	(void)state;
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	discover(net);
	send_udp(net, "10.0.2.15", 4000, "10.0.2.2", ntohs(address.sin_port), 5);
	assert_int_equal(poll(&waiting, 1, 300), 0);
	net_close(net);
	close(server);
}

static void user_publishes_ports(void **state)
{
	struct net_options options = {.kind = NET_USER, .forward_count = 1, .forwards = {{.udp = true, .guest_port = 7}}};
	struct net_options taken = {.kind = NET_USER, .forward_count = 1};
	struct net *net, *second = NULL;
	struct sockaddr_in address;
	struct error e;
	unsigned count;
	int client = bind_udp(&address);

	(void)state;
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	discover(net);
	address.sin_port = htons(net_forwards(net, &count)->host_port);
	assert_int_equal(count, 1);
	assert_int_not_equal(address.sin_port, 0);
	assert_int_equal(sendto(client, "hello", 5, 0, (void *)&address, sizeof address), 5);
	assert_int_equal(await_udp(net, 7), 5);
	assert_memory_equal(frame + 42, "hello", 5);
	taken.forwards[0] = *net_forwards(net, &count);
	assert_int_equal(net_open(&second, &taken, &e), -EADDRINUSE);
	assert_int_equal(e.kind, ERROR_STATE);
	assert_non_null(strstr(e.message, "is taken"));
	net_close(net);
	close(client);
}

static void ports_come_and_go(void **state)
{
	struct net_options options = {.kind = NET_USER};
	struct net_forward forward = {.udp = true, .guest_port = 7}, again, low = {.host_port = 1, .guest_port = 1};
	struct net *net;
	struct sockaddr_in address;
	struct error e = {.kind = ERROR_NONE};
	unsigned count;
	int client = bind_udp(&address);

	(void)state;
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	discover(net);
	if (net_publish(net, &forward, &e) < 0)
		fail_msg("publish: %s", e.message);
	address.sin_port = htons(forward.host_port);
	assert_int_equal(sendto(client, "hello", 5, 0, (void *)&address, sizeof address), 5);
	assert_int_equal(await_udp(net, 7), 5);
	again = forward;
	assert_int_equal(net_publish(net, &again, &e), -EADDRINUSE);
	assert_int_equal(net_publish(net, &low, &e), -EACCES);
	assert_int_equal(net_unpublish(net, &low, &e), -ENOENT);
	assert_int_equal(net_unpublish(net, &forward, &e), 0);
	net_forwards(net, &count);
	assert_int_equal(count, 0);
	assert_int_equal(net_publish(net, &again, &e), 0);
	kill(net->process.pid, SIGKILL);
	assert_int_equal(net_unpublish(net, &again, &e), -EPIPE);
	net_close(net);
	close(client);
}

/* A segment from the guest to `port` of the host. */
static void send_tcp(struct net *net, unsigned port, unsigned flags)
{
	struct packet_header header = {.flags = PACKET_NEEDS_CHECKSUM,
				       .checksum_start = le16_put(34),
				       .checksum_offset = le16_put(16)};
	static const uint8_t addresses[8] = {10, 0, 2, 15, 10, 0, 2, 2};
	uint8_t tail[4] = {0, 6, 0, 20}, *ip = frame + 14, *tcp = frame + 34;
	uint16_t sum;

	memset(frame, 0, 54);
	memcpy(frame, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(frame + 6, mac, 6);
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 40);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, addresses, sizeof addresses);
	sum = packet_fold(packet_sum(ip, 20, 0));
	memcpy(ip + 10, &sum, 2);
	put16(tcp, 4000);
	put16(tcp + 2, port);
	put16(tcp + 6, 77);
	put16(tcp + 10, 99);
	tcp[12] = 0x50;
	tcp[13] = (uint8_t)flags;
	sum = (uint16_t)~packet_fold(packet_sum(ip + 12, 8, packet_sum(tail, 4, 0)));
	memcpy(tcp + 16, &sum, 2);
	memcpy(packet, &header, sizeof header);
	assert_int_equal(write(net_descriptor(net), packet, sizeof header + 54), sizeof header + 54);
}

/* Until a segment from `port` comes; its flags. */
static unsigned await_tcp(struct net *net, unsigned port)
{
	do
		assert_true(receive(net, WAIT_MS) > 0);
	while (frame[12] != 8 || frame[13] != 0 || frame[23] != 6 || (unsigned)(frame[34] << 8 | frame[35]) != port);
	return frame[47];
}

/* A connection of one network; and another that never knew it resets it for the guest. */
static void connections_are_told_and_reset(void **state)
{
	struct net_options options = {.kind = NET_USER};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	static struct net_flow flows[NET_FLOWS_MAX];
	struct net *net, *later;
	struct error e;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(bind(server, (void *)&address, sizeof address), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (void *)&address, &length), 0);
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	later = open_net(&options);
	discover(net);
	assert_int_equal(net_flows(net, flows, &e), 0);
	send_tcp(net, ntohs(address.sin_port), 2);
	assert_int_equal(await_tcp(net, ntohs(address.sin_port)), 0x12);
	assert_int_equal(net_flows(net, flows, &e), 1);
	assert_int_equal(flows[0].guest_port, 4000);
	assert_int_equal(flows[0].remote_port, ntohs(address.sin_port));
	discover(later);
	assert_int_equal(net_reset_flows(later, flows, 1, &e), 0);
	assert_int_equal(await_tcp(later, ntohs(address.sin_port)), 0x10);
	send_tcp(later, ntohs(address.sin_port), 0x10);
	assert_int_equal(await_tcp(later, ntohs(address.sin_port)), 4);
	/* Where the guest said it waits: 99. */
	assert_int_equal(frame[40] << 8 | frame[41], 99);
	net_close(net);
	net_close(later);
	close(server);
}

static void only_user_networks_publish(void **state)
{
	struct net_options isolated = {.kind = NET_USER, .isolated = true}, none = {.kind = NET_NONE};
	struct net_forward forward = {.guest_port = 7};
	struct net *net;
	struct error e;

	(void)state;
	net = open_net(&isolated);
	assert_int_equal(net_publish(net, &forward, &e), -EOPNOTSUPP);
	net_close(net);
	net = open_net(&none);
	assert_int_equal(net_publish(net, &forward, &e), -EOPNOTSUPP);
	assert_int_equal(net_unpublish(net, &forward, &e), -EOPNOTSUPP);
	net_close(net);
}

static void a_hostile_guest_ends_nothing(void **state)
{
	struct net_options options = {.kind = NET_USER};
	struct net *net;
	unsigned seed = 1;

	(void)state;
	memcpy(options.mac, mac, 6);
	net = open_net(&options);
	for (unsigned i = 0; i < 2000; i++) {
		size_t size = (size_t)rand_r(&seed) % 300;

		for (size_t j = 0; j < size; j++)
			packet[j] = (uint8_t)rand_r(&seed);
		if (i % 2 && size > 60) {
			memset(packet, 0, 12);
			memcpy(frame + 12, i % 4 == 1 ? "\x08\x00\x45" : "\x86\xdd\x60", 3);
		}
		if (size > 0)
			(void)!write(net_descriptor(net), packet, size);
		while (receive(net, 0) > 0)
			;
	}
	discover(net);
	net_close(net);
}

static void a_killed_process_is_told(void **state)
{
	struct net_options options = {.kind = NET_USER};
	struct error e = {.kind = ERROR_NONE};
	struct net *net;

	(void)state;
	net = open_net(&options);
	kill(net->process.pid, SIGKILL);
	while (receive(net, WAIT_MS) > 0)
		;
	assert_int_equal(receive(net, WAIT_MS), 0);
	net_ended(net, &e);
	assert_string_equal(e.message, "the process of the user network was killed by SIGKILL");
	assert_int_equal(net_descriptor(net), -1);
	net_close(net);
}

static struct net *open_switch(const uint8_t address[6], int expected)
{
	struct net_options options = {.kind = NET_SWITCH, .name = "test"};
	struct net *net = NULL;
	struct error e = {.kind = ERROR_NONE};
	int r;

	memcpy(options.mac, address, 6);
	r = net_open(&net, &options, &e);
	if (r != expected)
		fail_msg("net_open: %d %s", r, e.message);
	return net;
}

static void send_frame(struct net *net, const uint8_t *to, const uint8_t *from, char text)
{
	memset(packet, 0, 12 + 60);
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	put16(frame + 12, 0x88b5);
	frame[14] = (uint8_t)text;
	assert_int_equal(write(net_descriptor(net), packet, 12 + 60), 12 + 60);
}

static void machines_meet_on_a_switch(void **state)
{
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
	struct net *a = open_switch(mac, 0), *b = open_switch(other_mac, 0);
	int status;

	(void)state;
	assert_true(net_mac_is_fixed(a));
	open_switch(mac, -EADDRINUSE);
	send_frame(a, other_mac, mac, '1');
	assert_int_equal(receive(b, WAIT_MS), 72);
	assert_int_equal(frame[14], '1');
	send_frame(b, mac, mac, '2'); /* a lie about the sender */
	send_frame(b, mac, other_mac, '3');
	assert_int_equal(receive(a, WAIT_MS), 72);
	assert_int_equal(frame[14], '3');
	send_frame(b, all, other_mac, '4');
	assert_int_equal(receive(a, WAIT_MS), 72);
	assert_int_equal(frame[14], '4');
	net_close(a);
	a = open_switch(mac, 0);
	send_frame(b, mac, other_mac, '5');
	assert_int_equal(receive(a, WAIT_MS), 72);
	net_close(a);
	net_close(b);
	/* The last is gone, and the switch with it: we are its reaper, as it outlived who started it. */
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
}

/* Several start the same switch at once, and leave at once, again and again. */
static void a_switch_is_started_once(void **state)
{
	enum { MACHINES = 4, ROUNDS = 20 };
	pid_t children[MACHINES];
	int status;

	(void)state;
	for (unsigned i = 0; i < MACHINES; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct net_options options = {.kind = NET_SWITCH, .name = "race", .mac = {2, 0, 0, 0, 0, (uint8_t)i}};

			for (unsigned round = 0; round < ROUNDS; round++) {
				struct net *net;

				if (net_open(&net, &options, NULL) < 0)
					_exit(1);
				net_close(net);
			}
			_exit(0);
		}
	}
	for (unsigned i = 0; i < MACHINES; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
}

/* In a network namespace of its own, where a tap is allowed to whoever may have one. */
static void a_tap_is_opened(void **state)
{
	struct net_options options = {.kind = NET_TAP, .name = "doppel0"};
	struct net *net;
	struct error e;
	int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)state;
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0 || unshare(CLONE_NEWNET) < 0) {
		close(before);
		skip();
	}
	assert_int_equal(net_open(&net, &options, &e), -ENODEV);
	assert_non_null(strstr(e.message, "ip tuntap add doppel0 mode tap"));
	assert_int_not_equal(system("ip link show doppel0 >/dev/null 2>&1"), 0);
	assert_int_equal(system("ip tuntap add doppel0 mode tap"), 0);
	net = open_net(&options);
	assert_int_equal(net_mtu(net), 1500);
	assert_int_equal(net_offloads(net),
			 NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN);
	assert_int_equal(net_set_offloads(net, NET_OFFLOAD_CHECKSUM, NULL), 0);
	assert_int_equal(system("ip link set doppel0 up"), 0);
	/* The host's kernel looks for neighbours at once. */
	assert_true(receive(net, WAIT_MS) > 12 + 14);
	net_close(net);
	assert_int_equal(setns(before, CLONE_NEWNET), 0);
	close(before);
}

static void bad_options_are_refused(void **state)
{
	struct net_options options = {.kind = NET_TAP, .name = "far-too-long-a-name"};
	struct net *net = NULL;
	struct error e;

	(void)state;
	assert_int_equal(net_open(&net, &options, &e), -EINVAL);
	options = (struct net_options){.kind = NET_SWITCH, .name = "../escape"};
	assert_int_equal(net_open(&net, &options, &e), -EINVAL);
	options = (struct net_options){.kind = NET_USER, .hostname = NULL, .forward_count = 1};
	options.forwards[0] = (struct net_forward){.address = "192.0.2.77", .host_port = 0, .guest_port = 1};
	assert_true(net_open(&net, &options, &e) < 0);
	assert_null(net);
	options = (struct net_options){.kind = NET_NONE};
	assert_int_equal(net_open(&net, &options, &e), 0);
	assert_int_equal(net_descriptor(net), -1);
	net_close(net);
	net_close(NULL);
}

static int make_runtime(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(runtime));
	assert_int_equal(setenv("XDG_RUNTIME_DIR", runtime, 1), 0);
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static int remove_runtime(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", runtime);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_gives_addresses_and_reaches_the_host),
		cmocka_unit_test(isolated_users_reach_nothing),
		cmocka_unit_test(user_publishes_ports),
		cmocka_unit_test(ports_come_and_go),
		cmocka_unit_test(connections_are_told_and_reset),
		cmocka_unit_test(only_user_networks_publish),
		cmocka_unit_test(a_hostile_guest_ends_nothing),
		cmocka_unit_test(a_killed_process_is_told),
		cmocka_unit_test(machines_meet_on_a_switch),
		cmocka_unit_test(a_switch_is_started_once),
		cmocka_unit_test(a_tap_is_opened),
		cmocka_unit_test(bad_options_are_refused),
	};

	return cmocka_run_group_tests(tests, make_runtime, remove_runtime);
}
