/* Sockets between guest and host: the guest's packets are the test's own, friendly and hostile; the host's ends are real. */
#include "virtio_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/virtio/vsock_private.h"

#define CID     7
#define RECEIVE BENCH_DATA               /* buffers for the guest, 4 KiB each */
#define SEND    (BENCH_DATA + 2 * MIB)
#define BUFFERS 8

static struct virtio_bench bench;
static char folder[] = "/tmp/doppel-test-vsock-XXXXXX";
static uint64_t address_of[RING_MAX]; /* of a receive buffer, by id */

static const char *in_folder(const char *name)
{
	static char path[100];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void give_buffer(uint64_t address)
{
	const struct piece piece = {address, 4096, RING_WRITE};

	address_of[ring_add(&bench.rings[0], &piece, 1)] = address;
}

static int setup(void **state)
{
	struct virtio *vsock;
	struct error e;

	(void)state;
	strcpy(folder + sizeof folder - 7, "XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	virtio_bench_init(&bench);
	if (virtio_vsock_new(&vsock, "vsock0", bench.worker, CID, folder, &e) < 0)
		fail_msg("new: %s", e.message);
	virtio_bench_place(&bench, vsock);
	bench_start(&bench, 0, 3, 64);
	for (unsigned i = 0; i < BUFFERS; i++)
		give_buffer(RECEIVE + i * 4096);
	bench_kick(&bench, 0);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	virtio_bench_finish(&bench);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static struct vsock_header header_of(enum vsock_operation operation, uint32_t guest_port, uint32_t host_port)
{
	return (struct vsock_header){
		.source_cid = le64_put(CID),
		.destination_cid = le64_put(2),
		.source_port = le32_put(guest_port),
		.destination_port = le32_put(host_port),
		.type = le16_put(VSOCK_STREAM),
		.operation = le16_put((uint16_t)operation),
		.buffer = le32_put(65536),
	};
}

static void send_packet(const struct vsock_header *header, const void *data, size_t length)
{
	const struct piece piece = {SEND, (uint32_t)(sizeof *header + length), 0};

	memcpy(bench_bytes(&bench, SEND), header, sizeof *header);
	if (length)
		memcpy(bench_bytes(&bench, SEND + sizeof *header), data, length);
	assert_int_equal(bench_transfer(&bench, 1, &piece, 1), 0);
}

static void tell(enum vsock_operation operation, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_header header = header_of(operation, guest_port, host_port);

	send_packet(&header, NULL, 0);
}

static void say(uint32_t guest_port, uint32_t host_port, const void *data, size_t length)
{
	struct vsock_header header = header_of(VSOCK_DATA, guest_port, host_port);

	header.length = le32_put((uint32_t)length);
	send_packet(&header, data, length);
}

/* The next packet for the guest; its data goes to *data. The buffer is given again after the next call. */
static struct vsock_header hear(const uint8_t **data)
{
	static uint64_t last;
	struct vsock_header header;
	uint32_t length;
	uint16_t id;

	bench_wait_used(&bench, 0, &id, &length);
	assert_in_range(length, sizeof header, 4096);
	last = address_of[id];
	memcpy(&header, bench_bytes(&bench, last), sizeof header);
	if (data)
		*data = bench_bytes(&bench, last) + sizeof header;
	assert_int_equal(le32_get(header.length), length - sizeof header);
	assert_int_equal(le64_get(header.destination_cid), CID);
	give_buffer(last);
	bench_kick(&bench, 0);
	return header;
}

static void hears(enum vsock_operation operation, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_header header = hear(NULL);

	assert_int_equal(le16_get(header.operation), operation);
	assert_int_equal(le32_get(header.destination_port), guest_port);
	assert_int_equal(le32_get(header.source_port), host_port);
}

static void hears_nothing(void)
{
	uint16_t id;
	uint32_t length;

	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
}

static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", in_folder(name));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", in_folder(name));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void host_reads(int fd, const void *expected, size_t length)
{
	uint8_t bytes[256];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	size_t at = 0;

	while (at < length) {
		ssize_t got;

		assert_int_equal(poll(&ready, 1, 5000), 1);
		got = read(fd, bytes + at, length - at);
		assert_true(got > 0);
		at += (size_t)got;
	}
	assert_memory_equal(bytes, expected, length);
}

static void host_sees_the_end(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_true(read(fd, &byte, 1) <= 0);
}

/* A connection from the guest's port to "500" of the host; the host's descriptor. */
static int connected(uint32_t guest_port, int listener)
{
	int fd;

	tell(VSOCK_REQUEST, guest_port, 500);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	hears(VSOCK_RESPONSE, guest_port, 500);
	return fd;
}

static void guest_to_host(void **state)
{
	int listener = listen_at("500"), fd = connected(1000, listener);
	const uint8_t *data;
	struct vsock_header header;

	(void)state;
	say(1000, 500, "hello", 5);
	host_reads(fd, "hello", 5);
	assert_int_equal(write(fd, "good day", 8), 8);
	header = hear(&data);
	assert_int_equal(le16_get(header.operation), VSOCK_DATA);
	assert_int_equal(le32_get(header.length), 8);
	assert_memory_equal(data, "good day", 8);
	assert_int_equal(le32_get(header.forwarded), 5);
	close(fd);
	header = hear(NULL);
	assert_int_equal(le16_get(header.operation), VSOCK_SHUTDOWN);
	assert_int_equal(le32_get(header.flags), VSOCK_NO_RECEIVE | VSOCK_NO_SEND);
	tell(VSOCK_RESET, 1000, 500);
	hears_nothing();
	close(listener);
}

static void the_guest_ends(void **state)
{
	int listener = listen_at("500"), fd = connected(1000, listener);
	struct vsock_header header = header_of(VSOCK_SHUTDOWN, 1000, 500);

	(void)state;
	say(1000, 500, "last", 4);
	header.flags = le32_put(VSOCK_NO_SEND);
	send_packet(&header, NULL, 0);
	host_reads(fd, "last", 4);
	host_sees_the_end(fd);
	/* The other direction still works. */
	assert_int_equal(write(fd, "x", 1), 1);
	header = hear(NULL);
	assert_int_equal(le16_get(header.operation), VSOCK_DATA);
	header = header_of(VSOCK_SHUTDOWN, 1000, 500);
	header.flags = le32_put(VSOCK_NO_SEND | VSOCK_NO_RECEIVE);
	send_packet(&header, NULL, 0);
	hears(VSOCK_RESET, 1000, 500);
	close(fd);
	close(listener);
}

static void host_to_guest(void **state)
{
	int fd = connect_to("guest");
	struct vsock_header header;
	char line[32];
	uint32_t port;

	(void)state;
	/* What follows the line at once is data. */
	assert_int_equal(write(fd, "CONNECT 22\nhi", 13), 13);
	header = hear(NULL);
	assert_int_equal(le16_get(header.operation), VSOCK_REQUEST);
	assert_int_equal(le32_get(header.destination_port), 22);
	port = le32_get(header.source_port);
	tell(VSOCK_RESPONSE, 22, port);
	snprintf(line, sizeof line, "OK %u\n", port);
	host_reads(fd, line, strlen(line));
	header = hear(NULL);
	assert_int_equal(le16_get(header.operation), VSOCK_DATA);
	assert_int_equal(le32_get(header.length), 2);
	say(22, port, "answer", 6);
	host_reads(fd, "answer", 6);
	tell(VSOCK_RESET, 22, port);
	host_sees_the_end(fd);
	close(fd);
}

static void nobody_listens(void **state)
{
	struct vsock_header header;
	int fd;

	(void)state;
	tell(VSOCK_REQUEST, 1000, 501);
	hears(VSOCK_RESET, 1000, 501);
	fd = connect_to("guest");
	assert_int_equal(write(fd, "CONNECT 23\n", 11), 11);
	header = hear(NULL);
	tell(VSOCK_RESET, 23, le32_get(header.source_port));
	host_sees_the_end(fd);
	close(fd);
}

static void nonsense_for_a_greeting(void **state)
{
	static const char *const lines[] = {"\n", "CONNECT\n", "CONNECT x\n", "CONNECT 1 2\n", "GET / HTTP/1.1\n",
					    "CONNECT 99999999999999999999999999999999\n",
					    "CONNECT 4294967296\n", "CONNECT -1\n", "CONNECT  5\n", "CONNECT 5 \n",
					    "CONNECT 00000000000000000000000000000001"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = connect_to("guest");

		assert_int_equal(write(fd, lines[i], strlen(lines[i])), strlen(lines[i]));
		host_sees_the_end(fd);
		close(fd);
	}
	hears_nothing();
}

static void credit_of_the_guest_is_kept(void **state)
{
	int listener = listen_at("500"), fd;
	struct vsock_header header = header_of(VSOCK_REQUEST, 1000, 500);
	uint32_t came = 0;

	(void)state;
	header.buffer = le32_put(1000);
	send_packet(&header, NULL, 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	hears(VSOCK_RESPONSE, 1000, 500);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(write(fd, (char[100]){0}, 100), 100);
	while (came < 1000)
		came += le32_get(hear(NULL).length);
	assert_int_equal(came, 1000);
	hears_nothing();
	header = header_of(VSOCK_CREDIT_UPDATE, 1000, 500);
	header.buffer = le32_put(1000);
	header.forwarded = le32_put(700);
	send_packet(&header, NULL, 0);
	while (came < 1700)
		came += le32_get(hear(NULL).length);
	assert_int_equal(came, 1700);
	hears_nothing();
	close(fd);
	close(listener);
}

/* Whether a packet came that is no credit update. */
static bool heard(struct vsock_header *header)
{
	uint16_t id;
	uint32_t length;

	bench_settle(&bench);
	if (!ring_used(&bench.rings[0], &id, &length))
		return false;
	memcpy(header, bench_bytes(&bench, address_of[id]), sizeof *header);
	give_buffer(address_of[id]);
	return le16_get(header->operation) != VSOCK_CREDIT_UPDATE;
}

/* The host's program does not read: the guest may send what the device has room for, and is cut off when it goes on. */
static void credit_of_the_device_is_enforced(void **state)
{
	static uint8_t bytes[64 * 1024];
	int listener = listen_at("500"), fd = connected(1000, listener);
	struct vsock_header header;
	unsigned packets = 0;

	(void)state;
	do
		say(1000, 500, bytes, sizeof bytes);
	while (++packets < 100 && !heard(&header));
	assert_in_range(packets, VSOCK_BUFFER / sizeof bytes, 99);
	assert_int_equal(le16_get(header.operation), VSOCK_RESET);
	close(fd);
	close(listener);
}

static void packets_that_lie(void **state)
{
	int listener = listen_at("500"), fd = connected(1000, listener);
	struct vsock_header header = header_of(VSOCK_DATA, 1000, 500);
	const struct piece stub = {SEND, 43, 0};

	(void)state;
	/* Too short for a header, another CID, another destination: nobody's. */
	assert_int_equal(bench_transfer(&bench, 1, &stub, 1), 0);
	header.source_cid = le64_put(CID + 1);
	send_packet(&header, NULL, 0);
	header = header_of(VSOCK_DATA, 1000, 500);
	header.destination_cid = le64_put(1);
	send_packet(&header, NULL, 0);
	hears_nothing();
	/* Another type; longer than the packet is; an operation that does not exist. */
	header = header_of(VSOCK_DATA, 1001, 500);
	header.type = le16_put(2);
	send_packet(&header, NULL, 0);
	hears(VSOCK_RESET, 1001, 500);
	header = header_of(VSOCK_DATA, 1000, 500);
	header.length = le32_put(UINT32_MAX);
	send_packet(&header, "abc", 3);
	hears(VSOCK_RESET, 1000, 500);
	host_sees_the_end(fd);
	close(fd);
	fd = connected(1002, listener);
	tell(77, 1002, 500);
	hears(VSOCK_RESET, 1002, 500);
	/* Of connections that are not there. */
	tell(VSOCK_DATA, 1003, 500);
	hears(VSOCK_RESET, 1003, 500);
	tell(VSOCK_RESET, 1003, 500);
	hears_nothing();
	close(fd);
	close(listener);
}

/* Refusals that the guest does not take are bounded: the device stops taking packets, and goes on later. */
static void refusals_wait_for_the_guest(void **state)
{
	struct vsock_header header = header_of(VSOCK_DATA, 1, 2);
	const struct piece piece = {SEND, sizeof header, 0};
	unsigned sent = 0, resets = 0;
	uint16_t id;
	uint32_t length;

	(void)state;
	memcpy(bench_bytes(&bench, SEND), &header, sizeof header);
	for (; sent < 400; sent++) {
		ring_add(&bench.rings[1], &piece, 1);
		bench_kick(&bench, 1);
		bench_settle(&bench);
		if (!ring_used(&bench.rings[1], &id, &length))
			break;
	}
	assert_int_equal(sent, BUFFERS + RESETS_MAX);
	while (resets < sent + 1) {
		hears(VSOCK_RESET, 1, 2);
		resets++;
	}
	bench_wait_used(&bench, 1, &id, &length);
	hears_nothing();
}

static void a_small_buffer_breaks_the_device(void **state)
{
	const struct piece small = {RECEIVE, 43, RING_WRITE};

	(void)state;
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, 0, 3, 64);
	ring_add(&bench.rings[0], &small, 1);
	tell(VSOCK_REQUEST, 1000, 501);
	bench_settle(&bench);
	assert_true(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET);
	/* It is as new after the reset. */
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, 0, 3, 64);
	give_buffer(RECEIVE);
	tell(VSOCK_REQUEST, 1000, 501);
	hears(VSOCK_RESET, 1000, 501);
}

/* Room for a header alone does for what is told, not for data: nothing would ever come of it. */
static void a_buffer_without_room_for_data(void **state)
{
	const struct piece small = {RECEIVE, 44, RING_WRITE};
	int listener = listen_at("500"), fd;

	(void)state;
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, 0, 3, 64);
	address_of[ring_add(&bench.rings[0], &small, 1)] = RECEIVE;
	bench_kick(&bench, 0);
	tell(VSOCK_REQUEST, 1000, 500);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	bench_settle(&bench);
	assert_false(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET);
	address_of[ring_add(&bench.rings[0], &small, 1)] = RECEIVE;
	bench_kick(&bench, 0);
	assert_int_equal(write(fd, "x", 1), 1);
	for (unsigned i = 0; i < 2000 && !(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(reg_get(&bench, REG_STATUS) & VIRTIO_NEEDS_RESET);
	close(fd);
	close(listener);
}

/* Programs of the host that give up before the guest takes anything leave nothing behind. */
static void gone_before_the_guest_knew(void **state)
{
	struct pollfd ready;
	int fd;

	(void)state;
	reg_put(&bench, REG_STATUS, 0);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX + 100; i++) {
		fd = connect_to("guest");
		assert_int_equal(send(fd, "CONNECT 5\n", 10, MSG_NOSIGNAL), 10);
		bench_settle(&bench);
		close(fd);
	}
	fd = connect_to("guest");
	ready = (struct pollfd){.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 200), 0);
	close(fd);
}

static void a_reset_ends_connections(void **state)
{
	int listener = listen_at("500"), fd = connected(1000, listener);

	(void)state;
	reg_put(&bench, REG_STATUS, 0);
	host_sees_the_end(fd);
	close(fd);
	close(listener);
}

static void one_folder_one_machine(void **state)
{
	struct virtio *second = NULL;
	struct error e;

	(void)state;
	assert_int_equal(virtio_vsock_new(&second, "vsock1", bench.worker, 9, folder, &e), -EADDRINUSE);
	assert_int_equal(virtio_vsock_new(&second, "vsock1", bench.worker, 2, "/tmp/doppel-test-none", &e), -EINVAL);
	assert_null(second);
}

/* Whatever ends it: what stands goes on, what the guest asks for is refused, and programs of the host still come in. */
static void without_the_process_that_connects(void **state)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)bench.virtio;
	int listener = listen_at("500"), fd = connected(1000, listener);
	siginfo_t ended;

	(void)state;
	assert_int_equal(kill(vsock->host.pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)vsock->host.pid, &ended, WEXITED | WNOWAIT), 0);
	tell(VSOCK_REQUEST, 1001, 500);
	hears(VSOCK_RESET, 1001, 500);
	tell(VSOCK_REQUEST, 1002, 500);
	hears(VSOCK_RESET, 1002, 500);
	say(1000, 500, "hello", 5);
	host_reads(fd, "hello", 5);
	close(fd);
	close(listener);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(guest_to_host),
		CASE(the_guest_ends),
		CASE(host_to_guest),
		CASE(nobody_listens),
		CASE(nonsense_for_a_greeting),
		CASE(credit_of_the_guest_is_kept),
		CASE(credit_of_the_device_is_enforced),
		CASE(packets_that_lie),
		CASE(refusals_wait_for_the_guest),
		CASE(a_small_buffer_breaks_the_device),
		CASE(a_buffer_without_room_for_data),
		CASE(gone_before_the_guest_knew),
		CASE(a_reset_ends_connections),
		CASE(one_folder_one_machine),
		CASE(without_the_process_that_connects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
