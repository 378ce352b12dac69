/*
 * Random hostile chains against the devices that lead somewhere: a disk, a network, sockets, a folder. What is behind them
 * is alive and answers meanwhile. A million each in the thorough form (DOPPEL_LONG).
 */
#include "hostile_driver.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device/virtio/blk.h"
#include "device/virtio/console.h"
#include "device/virtio/fs.h"
#include "device/virtio/net_private.h"
#include "device/virtio/vsock_private.h"
#include "net/private.h"

#define DISK_BYTES (4 * MIB)
#define VSOCK_CID  5

static struct virtio_bench bench;
static char folder[] = "/tmp/doppel-test-hostile-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[100];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder + sizeof folder - 7, "XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", folder, folder);
	return system(command);
}

/* The host's end of a device: one descriptor, on which a thread writes what it likes and reads what comes. */
struct far_end {
	pthread_t thread;
	atomic_bool stop;
	atomic_ulong came, went;
	char path[100];
	const char *greeting;
	int fd; /* -1: to be made by connecting to `path` */
};

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Few packets: the driver is what is tested. */
static void far_end_turn(struct far_end *end, unsigned *seed)
{
	static uint8_t bytes[65536];
	ssize_t got;
	size_t length = 12 + (size_t)rand_r(seed) % 1500;

	memset(bytes, rand_r(seed), length);
	memset(bytes, 0, 12);
	if (send(end->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		atomic_fetch_add(&end->went, 1);
	for (unsigned i = 0; i < 200 && (got = recv(end->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0; i++)
		atomic_fetch_add(&end->came, (unsigned long)got);
}

static void *far_end_run(void *opaque)
{
	struct far_end *end = opaque;
	unsigned seed = 3;

	while (!atomic_load(&end->stop)) {
		if (end->fd < 0 && end->path[0]) {
			end->fd = connect_to(end->path);
			if (end->fd >= 0 && end->greeting)
				(void)!send(end->fd, end->greeting, strlen(end->greeting), MSG_NOSIGNAL);
		}
		if (end->fd >= 0)
			far_end_turn(end, &seed);
		/* Clients leave and come back. */
		if (end->path[0] && end->fd >= 0 && rand_r(&seed) % 50 == 0) {
			close(end->fd);
			end->fd = -1;
		}
		nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
	}
	return NULL;
}

static void far_end_start(struct far_end *end)
{
	assert_int_equal(pthread_create(&end->thread, NULL, far_end_run, end), 0);
}

static void far_end_finish(struct far_end *end)
{
	atomic_store(&end->stop, true);
	pthread_join(end->thread, NULL);
	if (end->fd >= 0)
		close(end->fd);
}

/* Types of requests and sectors of which most are on the disk. */
static void fill_disk(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	static const uint32_t types[] = {0, 1, 0, 1, 4, 8, 11, 13, 7};
	const struct {
		le32_t type, reserved;
		le64_t sector;
	} header = {le32_put(types[hostile_random(h) % ARRAY_SIZE(types)]), le32_put(0),
		    le64_put(hostile_random(h) % (DISK_BYTES / BLOCK_SECTOR + 4))};
	/* What discard and write zeroes carry. */
	const struct {
		le64_t sector;
		le32_t sectors, flags;
	} range = {header.sector, le32_put((uint32_t)(hostile_random(h) % 300)), le32_put((uint32_t)(hostile_random(h) % 3))};

	(void)queue;
	memset(bytes, (int)hostile_random(h), length);
	if (hostile_chance(h, 200))
		memcpy(bytes, &range, length < sizeof range ? length : sizeof range);
	else
		memcpy(bytes, &header, length < sizeof header ? length : sizeof header);
}

static void hostile_disk(enum block_format format, const char *name)
{
	const struct block_create_options create = {.format = format, .size = DISK_BYTES};
	const struct block_options options = {.path = in_folder(name), .format = format};
	const struct virtio_blk_options more = {.queues = 2};
	const struct piece flush[] = {{BENCH_DATA, 16, 0}, {BENCH_DATA + 4096, 1, RING_WRITE}};
	struct block_check_result check;
	struct virtio *blk;
	struct block *block;
	struct hostile h;
	struct error e;

	if (block_create(options.path, &create, &e) < 0)
		fail_msg("%s", e.message);
	if (block_open(&block, &options, &e) < 0)
		fail_msg("%s", e.message);
	virtio_bench_init(&bench);
	assert_int_equal(virtio_blk_new(&blk, "disk0", bench.worker, block, &more, NULL), 0);
	virtio_bench_place(&bench, blk);
	hostile_init(&h, &bench, 2);
	h.fill = fill_disk;
	hostile_run(&h, hostile_count());
	assert_int_not_equal(h.broken, 0);
	bench_start(&bench, UINT64_C(1) << 9, 2, 16);
	memset(bench_bytes(&bench, BENCH_DATA), 0, 16);
	*bench_bytes(&bench, BENCH_DATA) = 4;
	assert_int_equal(bench_transfer(&bench, 1, flush, 2), 1);
	assert_int_equal(*bench_bytes(&bench, BENCH_DATA + 4096), 0);
	virtio_bench_finish(&bench);
	if (block_check(in_folder(name), format, false, &check, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(check.corruptions, 0);
}

static void the_raw_disk(void **state)
{
	(void)state;
	hostile_disk(BLOCK_RAW, "disk.raw");
}

static void the_qcow2_disk(void **state)
{
	(void)state;
	hostile_disk(BLOCK_QCOW2, "disk.qcow2");
}

static int take_offloads(struct net *net, unsigned offloads, struct error *e)
{
	(void)net;
	(void)offloads;
	(void)e;
	return 0;
}

static void say_gone(struct net *net, struct error *e)
{
	(void)net;
	(void)error_set(e, ERROR_FAILED, -EPIPE, "the peer is gone");
}

static const struct net_backend wire = {.set_offloads = take_offloads, .ended = say_gone};

/* Headers of packets and commands that are nearly right. */
static void fill_packet(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		bytes[i] = hostile_chance(h, 700) ? (uint8_t)(hostile_random(h) % 6) : (uint8_t)hostile_random(h);
	if (queue % 2 == 0 || hostile_chance(h, 100) || length < 26)
		return;
	memset(bytes, 0, 12);
	memcpy(bytes + 12, "\x52\x54\0\0\0\2\x52\x54\0\0\0\1\x08\0", 14);
}

static void the_network_card(void **state)
{
	const struct virtio_net_options options = {.mac = {0x52, 0x54, 0, 0, 0, 1}, .pairs = 2};
	const struct piece packet = {BENCH_DATA, 12 + 60, 0};
	struct far_end end = {.fd = -1};
	struct net *net = calloc(1, sizeof *net);
	struct virtio *card;
	struct hostile h;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*net = (struct net){.backend = &wire, .descriptor = ends[0], .control = -1, .mtu = 1500,
			    .offloads = NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6};
	end.fd = ends[1];
	virtio_bench_init(&bench);
	assert_int_equal(virtio_net_new(&card, "net0", bench.worker, net, &options, NULL), 0);
	virtio_bench_place(&bench, card);
	far_end_start(&end);
	hostile_init(&h, &bench, 5);
	h.fill = fill_packet;
	hostile_run(&h, hostile_count());
	assert_int_not_equal(atomic_load(&end.came), 0);
	assert_int_not_equal(atomic_load(&end.went), 0);
	bench_start(&bench, 0, 2, 16);
	memset(bench_bytes(&bench, BENCH_DATA), 0, 72);
	fill_packet(&h, 1, bench_bytes(&bench, BENCH_DATA), 72);
	assert_int_equal(bench_transfer(&bench, 1, &packet, 1), 0);
	virtio_bench_finish(&bench);
	far_end_finish(&end);
}

/* A sink that is crowded now and then, until the test says that it has room. */
static atomic_ulong shown;

static bool show(void *console, const uint8_t *bytes, size_t length)
{
	(void)console;
	(void)bytes;
	return (atomic_fetch_add(&shown, length) + length) % 5 == 0;
}

static void *type_something(void *opaque)
{
	struct far_end *end = opaque;
	const uint8_t bytes[700] = {'x'};

	while (!atomic_load(&end->stop)) {
		(void)virtio_terminal_receive(bench.virtio, bytes, sizeof bytes);
		virtio_terminal_room(bench.virtio);
		virtio_terminal_resize(bench.virtio, 80, 25);
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	}
	return NULL;
}

static void the_terminal(void **state)
{
	const struct piece text = {BENCH_DATA, 100, 0};
	struct far_end typist = {.fd = -1};
	struct virtio *terminal;
	struct hostile h;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_terminal_new(&terminal, "terminal0", bench.worker,
					     (struct virtio_terminal_sink){show, NULL}, NULL), 0);
	virtio_bench_place(&bench, terminal);
	assert_int_equal(pthread_create(&typist.thread, NULL, type_something, &typist), 0);
	hostile_init(&h, &bench, 2);
	hostile_run(&h, hostile_count());
	assert_int_not_equal(atomic_load(&shown), 0);
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(bench_transfer(&bench, 1, &text, 1), 0);
	far_end_finish(&typist);
	virtio_bench_finish(&bench);
}

/* Messages of a port that is there, mostly. */
static void fill_control(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	memset(bytes, 0, length);
	if (queue != 3 || length < 8) {
		memset(bytes, (int)hostile_random(h), length);
		return;
	}
	bytes[0] = (uint8_t)(hostile_random(h) % 3);
	bytes[4] = (uint8_t)(hostile_random(h) % 9);
	bytes[6] = (uint8_t)(hostile_random(h) % 4 ? 1 : 0);
}

static void the_channels(void **state)
{
	char paths[2][100];
	const struct virtio_channel_options channels[] = {{"one", paths[0]}, {"two", paths[1]}};
	const struct piece ready = {BENCH_DATA, 8, 0};
	struct far_end ends[2] = {{.fd = -1}, {.fd = -1}};
	struct virtio *device;
	struct hostile h;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(paths[i], sizeof paths[i], "%s", in_folder(i ? "two" : "one"));
		memcpy(ends[i].path, paths[i], sizeof paths[i]);
	}
	virtio_bench_init(&bench);
	assert_int_equal(virtio_channels_new(&device, "channels0", bench.worker, channels, 2, NULL), 0);
	virtio_bench_place(&bench, device);
	far_end_start(&ends[0]);
	far_end_start(&ends[1]);
	hostile_init(&h, &bench, 6);
	h.fill = fill_control;
	hostile_run(&h, hostile_count());
	assert_int_not_equal(atomic_load(&ends[0].went), 0);
	bench_start(&bench, 0, 4, 16);
	memset(bench_bytes(&bench, BENCH_DATA), 0, 8);
	assert_int_equal(bench_transfer(&bench, 3, &ready, 1), 0);
	far_end_finish(&ends[0]);
	far_end_finish(&ends[1]);
	virtio_bench_finish(&bench);
}

/* Few ports, so that packets meet connections that are there. */
static void fill_socket(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	const struct vsock_header header = {
		.source_cid = le64_put(hostile_chance(h, 950) ? VSOCK_CID : hostile_random(h)),
		.destination_cid = le64_put(hostile_chance(h, 950) ? 2 : hostile_random(h)),
		.source_port = le32_put((uint32_t)(1000 + hostile_random(h) % 20)),
		.destination_port = le32_put((uint32_t)(500 + hostile_random(h) % 3)),
		.length = le32_put(length > sizeof header && hostile_chance(h, 800) ? length - (uint32_t)sizeof header
										     : (uint32_t)(hostile_random(h) % 300)),
		.type = le16_put(hostile_chance(h, 950) ? VSOCK_STREAM : (uint16_t)hostile_random(h)),
		.operation = le16_put((uint16_t)(hostile_random(h) % 9)),
		.flags = le32_put((uint32_t)(hostile_random(h) % 4)),
		.buffer = le32_put((uint32_t)(hostile_random(h) % 100000)),
		.forwarded = le32_put((uint32_t)(hostile_chance(h, 700) ? 0 : hostile_random(h))),
	};

	(void)queue;
	memset(bytes, (int)hostile_random(h), length);
	memcpy(bytes, &header, length < sizeof header ? length : sizeof header);
}

/* A service on the host, which takes who comes and reads for a while. */
static void *serve(void *opaque)
{
	struct far_end *end = opaque;
	int client = -1;
	unsigned seed = 5;

	while (!atomic_load(&end->stop)) {
		static uint8_t bytes[65536];
		ssize_t got = client >= 0 ? recv(client, bytes, sizeof bytes, MSG_DONTWAIT) : 0;

		if (got > 0)
			(void)!send(client, bytes, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (got == 0 || rand_r(&seed) % 100 == 0) {
			if (client >= 0)
				close(client);
			client = accept4(end->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			atomic_fetch_add(&end->came, client >= 0);
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	if (client >= 0)
		close(client);
	return NULL;
}

static void start_service(struct far_end *end, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	end->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(end->fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(end->fd, 100), 0);
	assert_int_equal(pthread_create(&end->thread, NULL, serve, end), 0);
}

static void the_sockets(void **state)
{
	struct far_end service = {.fd = -1}, client = {.fd = -1, .greeting = "CONNECT 1003\n"};
	const struct piece piece = {BENCH_DATA, sizeof(struct vsock_header), 0};
	struct virtio *vsock;
	struct hostile h;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_vsock_new(&vsock, "vsock0", bench.worker, VSOCK_CID, folder, NULL), 0);
	virtio_bench_place(&bench, vsock);
	start_service(&service, in_folder("500"));
	snprintf(client.path, sizeof client.path, "%s", in_folder("guest"));
	far_end_start(&client);
	hostile_init(&h, &bench, 3);
	h.fill = fill_socket;
	hostile_run(&h, hostile_count());
	assert_int_not_equal(atomic_load(&service.came), 0);
	assert_int_not_equal(atomic_load(&client.went), 0);
	bench_start(&bench, 0, 3, 16);
	fill_socket(&h, 1, bench_bytes(&bench, BENCH_DATA), sizeof(struct vsock_header));
	assert_int_equal(bench_transfer(&bench, 1, &piece, 1), 0);
	far_end_finish(&client);
	far_end_finish(&service);
	virtio_bench_finish(&bench);
}

/* The head of any request, on the folder itself or on one of the first nodes; behind it small numbers, or a name. Some are
 * likely to make a folder, so that the far end is surely reached. */
static void fill_request(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	struct fuse_in_header head = {.len = length, .opcode = (uint32_t)(1 + hostile_random(h) % 52),
				      .unique = hostile_random(h), .nodeid = 1 + hostile_random(h) % 5};
	size_t at = sizeof head;

	(void)queue;
	if (hostile_chance(h, 100)) {
		head.opcode = FUSE_MKDIR;
		head.nodeid = FUSE_ROOT_ID;
	}
	memset(bytes, 0, length);
	memcpy(bytes, &head, length < sizeof head ? length : sizeof head);
	if (hostile_chance(h, 500))
		for (size_t i = at; i + 4 <= length; i += 4)
			bytes[i] = (uint8_t)(hostile_random(h) % 200);
	/* Names come behind structures of 8 or 16 bytes, or at once. */
	at += 8 * (hostile_random(h) % 3);
	for (unsigned i = 0; i < 2 && at + 4 < length; i++, at += 3) {
		bytes[at] = (uint8_t)('a' + hostile_random(h) % 4);
		bytes[at + 1] = hostile_chance(h, 100) ? '/' : '.';
		bytes[at + 2] = 0;
	}
}

/* Tells of what the guest's requests make there, though others take it away again. */
static int watch_folder(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	assert_true(fd >= 0 && inotify_add_watch(fd, folder, IN_CREATE) >= 0);
	return fd;
}

static bool was_made(int watch)
{
	uint8_t events[4096];
	bool any = read(watch, events, sizeof events) > 0;

	close(watch);
	return any;
}

static void the_folder(void **state)
{
	const struct share_options options = {.folder = folder};
	const struct fuse_in_header destroy = {.len = sizeof destroy, .opcode = FUSE_DESTROY};
	const struct piece pieces[] = {{BENCH_DATA, sizeof destroy, 0}, {BENCH_DATA + 4096, 16, RING_WRITE}};
	struct share *share;
	struct virtio *fs;
	struct hostile h;
	struct error e;
	int watch = watch_folder();

	(void)state;
	if (share_open(&share, &options, &e) < 0)
		fail_msg("%s", e.message);
	virtio_bench_init(&bench);
	assert_int_equal(virtio_fs_new(&fs, "fs0", bench.worker, "share", share, NULL), 0);
	virtio_bench_place(&bench, fs);
	hostile_init(&h, &bench, 2);
	h.fill = fill_request;
	hostile_run(&h, hostile_count());
	if (!was_made(watch))
		fail_msg("no request of the guest's made anything in the folder");
	bench_start(&bench, 0, 2, 16);
	memcpy(bench_bytes(&bench, BENCH_DATA), &destroy, sizeof destroy);
	assert_int_equal(bench_transfer(&bench, 1, pieces, 2), sizeof(struct fuse_out_header));
	virtio_bench_finish(&bench);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: a process is forked. */
		WITH_FOLDER(the_folder),       WITH_FOLDER(the_raw_disk), WITH_FOLDER(the_qcow2_disk),
		WITH_FOLDER(the_network_card), WITH_FOLDER(the_terminal), WITH_FOLDER(the_channels),
		WITH_FOLDER(the_sockets),
	};

	return cmocka_run_group_tests_name("virtio-hostile-ends", tests, NULL, NULL);
}
