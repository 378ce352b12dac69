/* The terminal and the channels, each driven by a friendly and by a hostile driver. */
#include "virtio_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device/virtio/console.h"

#define TEXT BENCH_DATA
#define MORE (BENCH_DATA + 64 * KIB)

enum { READY = 0, ADD = 1, PORT_READY = 3, OPEN = 6, NAME = 7 };

static struct virtio_bench bench;

/* Where the terminal writes. */
static struct {
	pthread_mutex_t lock;
	char bytes[8192];
	size_t length;
	bool crowded;
} screen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool show(void *console, const uint8_t *bytes, size_t length)
{
	bool crowded;

	(void)console;
	pthread_mutex_lock(&screen.lock);
	assert_in_range(length, 1, sizeof screen.bytes - screen.length);
	memcpy(screen.bytes + screen.length, bytes, length);
	screen.length += length;
	crowded = screen.crowded;
	pthread_mutex_unlock(&screen.lock);
	return crowded;
}

static void set_crowded(bool crowded)
{
	pthread_mutex_lock(&screen.lock);
	screen.crowded = crowded;
	pthread_mutex_unlock(&screen.lock);
}

static int setup_terminal(void **state)
{
	struct virtio *terminal;

	(void)state;
	screen.length = 0;
	screen.crowded = false;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_terminal_new(&terminal, "terminal0", bench.worker,
					     (struct virtio_terminal_sink){show, NULL}, NULL),
			 0);
	virtio_bench_place(&bench, terminal);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return 0;
}

static void put_text(uint64_t address, const char *text)
{
	memcpy(bench_bytes(&bench, address), text, strlen(text));
}

static void output_is_shown(void **state)
{
	const struct piece pieces[] = {{TEXT, 5, 0}, {TEXT + 100, 6, 0}};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	put_text(TEXT, "hello");
	put_text(TEXT + 100, " world");
	assert_int_equal(bench_transfer(&bench, 1, pieces, 2), 0);
	assert_int_equal(screen.length, 11);
	assert_memory_equal(screen.bytes, "hello world", 11);
}

static void block_worker(void *arg)
{
	pthread_mutex_t *held = arg;

	pthread_mutex_lock(held);
	pthread_mutex_unlock(held);
}

/* A driver that waits in a loop waits for nobody: the kick has served it, whatever the worker does. */
static void output_is_served_at_once(void **state)
{
	const struct piece piece = {TEXT, 5, 0};
	pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
	struct bell bell = {.loop = worker_loop(bench.worker), .fn = block_worker, .arg = &held};
	uint32_t length;
	uint16_t id;
	bool used;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	bench_settle(&bench);
	put_text(TEXT, "hello");
	pthread_mutex_lock(&held);
	bell_ring(&bell);
	ring_add(&bench.rings[1], &piece, 1);
	bench_kick(&bench, 1);
	used = ring_used(&bench.rings[1], &id, &length);
	pthread_mutex_unlock(&held);
	bench_settle(&bench);
	assert_true(used);
	assert_int_equal(screen.length, 5);
}

static void crowded_output_waits(void **state)
{
	const struct piece piece = {TEXT, 4000, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	memset(bench_bytes(&bench, TEXT), 'x', 4000);
	set_crowded(true);
	ring_add(&bench.rings[1], &piece, 1);
	bench_kick(&bench, 1);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[1], &id, &length));
	assert_in_range(screen.length, 1, 3999);
	set_crowded(false);
	virtio_terminal_room(bench.virtio);
	bench_wait_used(&bench, 1, &id, &length);
	assert_int_equal(screen.length, 4000);
}

/* Also what fits into one piece, a buffer after the other. */
static void short_output_waits_too(void **state)
{
	const struct piece piece = {TEXT, 10, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	memset(bench_bytes(&bench, TEXT), 'x', 10);
	set_crowded(true);
	for (unsigned i = 0; i < 8; i++)
		ring_add(&bench.rings[1], &piece, 1);
	bench_kick(&bench, 1);
	bench_settle(&bench);
	assert_int_equal(screen.length, 10);
	device_pause(&bench.virtio->device);
	device_resume(&bench.virtio->device);
	bench_settle(&bench);
	assert_int_equal(screen.length, 10);
	set_crowded(false);
	virtio_terminal_room(bench.virtio);
	for (unsigned i = 0; i < 8; i++)
		bench_wait_used(&bench, 1, &id, &length);
	assert_int_equal(screen.length, 80);
}

/* What is half written when the machine is paused is written to its end, once. */
static void paused_amid_output(void **state)
{
	const struct piece piece = {TEXT, 4000, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	memset(bench_bytes(&bench, TEXT), 'x', 4000);
	set_crowded(true);
	ring_add(&bench.rings[1], &piece, 1);
	bench_kick(&bench, 1);
	bench_settle(&bench);
	device_pause(&bench.virtio->device);
	bench_wait_used(&bench, 1, &id, &length);
	assert_int_equal(screen.length, 4000);
	device_resume(&bench.virtio->device);
	bench_settle(&bench);
	assert_int_equal(screen.length, 4000);
}

static atomic_uint rooms;

static void room_came(void *opaque)
{
	(void)opaque;
	atomic_fetch_add(&rooms, 1);
}

static void input_is_typed(void **state)
{
	static uint8_t typed[VIRTIO_CONSOLE_INPUT + 100];
	const struct piece piece = {MORE, 100, RING_WRITE};
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	virtio_terminal_on_room(bench.virtio, room_came, NULL);
	for (size_t i = 0; i < sizeof typed; i++)
		typed[i] = (uint8_t)(i * 11);
	/* More than waits: the rest is not taken, and asked for later. */
	assert_int_equal(virtio_terminal_receive(bench.virtio, typed, sizeof typed), VIRTIO_CONSOLE_INPUT);
	bench_settle(&bench);
	assert_int_equal(atomic_load(&rooms), 0);
	for (unsigned i = 0; i < 2; i++) {
		ring_add(&bench.rings[0], &piece, 1);
		bench_kick(&bench, 0);
		bench_wait_used(&bench, 0, &id, &length);
		assert_int_equal(length, 100);
		assert_memory_equal(bench_bytes(&bench, MORE), typed + 100 * i, 100);
	}
	bench_settle(&bench);
	assert_int_equal(atomic_load(&rooms), 1);
}

static void the_size_follows(void **state)
{
	(void)state;
	bench_start(&bench, 1, 2, 16);
	virtio_terminal_resize(bench.virtio, 132, 43);
	assert_int_equal(reg_get(&bench, REG_CONFIG), 132 | 43 << 16);
	assert_true(reg_get(&bench, REG_INTERRUPT) & 2);
}

/* A guest that gives a buffer to be written where it should give text, and the other way round. */
static void wrong_directions(void **state)
{
	const struct piece writable = {TEXT, 100, RING_WRITE}, readable = {TEXT, 100, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(bench_transfer(&bench, 1, &writable, 1), 0);
	assert_int_equal(screen.length, 0);
	ring_add(&bench.rings[0], &readable, 1);
	bench_kick(&bench, 0);
	assert_int_equal(virtio_terminal_receive(bench.virtio, (const uint8_t *)"abc", 3), 3);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(length, 0);
}

/* ---- Channels ---- */

static char path[2][64];

static int setup_channels(void **state)
{
	const struct virtio_channel_options options[] = {{"first", path[0]}, {"second", path[1]}};
	struct virtio *channels;
	struct error e;

	(void)state;
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof path[i], "/tmp/doppel-test-channel-%d-%d", (int)getpid(), i);
	virtio_bench_init(&bench);
	if (virtio_channels_new(&channels, "channels0", bench.worker, options, 2, &e) < 0)
		fail_msg("new: %s", e.message);
	virtio_bench_place(&bench, channels);
	return 0;
}

struct wire_control {
	le32_t port;
	le16_t event, value;
};

static void tell(uint32_t port, uint16_t event, uint16_t value)
{
	const struct wire_control control = {le32_put(port), le16_put(event), le16_put(value)};
	const struct piece piece = {TEXT, sizeof control, 0};

	memcpy(bench_bytes(&bench, TEXT), &control, sizeof control);
	assert_int_equal(bench_transfer(&bench, 3, &piece, 1), 0);
}

/* The next control message for the driver; a name's length. */
static uint32_t hears(uint32_t port, uint16_t event, uint16_t value)
{
	const struct piece piece = {MORE, 100, RING_WRITE};
	struct wire_control control;
	uint32_t length;
	uint16_t id;

	ring_add(&bench.rings[2], &piece, 1);
	bench_kick(&bench, 2);
	bench_wait_used(&bench, 2, &id, &length);
	memcpy(&control, bench_bytes(&bench, MORE), sizeof control);
	assert_int_equal(le32_get(control.port), port);
	assert_int_equal(le16_get(control.event), event);
	assert_int_equal(le16_get(control.value), value);
	return length - (uint32_t)sizeof control;
}

/* As Linux does it. */
static void begin_with(uint64_t features)
{
	bench_start(&bench, features | 2, 6, 16);
	tell(UINT32_MAX, READY, 1);
	for (uint32_t port = 0; port < 2; port++) {
		hears(port, ADD, 1);
		tell(port, PORT_READY, 1);
		assert_int_equal(hears(port, NAME, 1), port == 0 ? 5 : 6);
		assert_memory_equal(bench_bytes(&bench, MORE + 8), port == 0 ? "first" : "second", 5);
	}
}

static void begin(void)
{
	begin_with(0);
}

static void connect_with(int fd, int i)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path[i]);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static int connect_channel(int i)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	connect_with(fd, i);
	return fd;
}

static void both_directions(void **state)
{
	const struct piece text = {TEXT, 7, 0}, room = {MORE, 100, RING_WRITE};
	char bytes[16];
	uint32_t length;
	uint16_t id;
	int fd;

	(void)state;
	begin();
	fd = connect_channel(1);
	hears(1, OPEN, 1);
	tell(1, OPEN, 1);
	put_text(TEXT, "to host");
	assert_int_equal(bench_transfer(&bench, 5, &text, 1), 0);
	assert_int_equal(read(fd, bytes, sizeof bytes), 7);
	assert_memory_equal(bytes, "to host", 7);
	assert_int_equal(write(fd, "to guest", 8), 8);
	ring_add(&bench.rings[4], &room, 1);
	bench_kick(&bench, 4);
	bench_wait_used(&bench, 4, &id, &length);
	assert_int_equal(length, 8);
	assert_memory_equal(bench_bytes(&bench, MORE), "to guest", 8);
	close(fd);
	hears(1, OPEN, 0);
}

/* Bytes for a port that nobody has open in the guest wait with their sender. */
static void closed_in_the_guest(void **state)
{
	const struct piece room = {MORE, 100, RING_WRITE};
	uint32_t length;
	uint16_t id;
	int fd;

	(void)state;
	begin();
	fd = connect_channel(0);
	hears(0, OPEN, 1);
	assert_int_equal(write(fd, "early", 5), 5);
	ring_add(&bench.rings[0], &room, 1);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
	tell(0, OPEN, 1);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(length, 5);
	close(fd);
}

static void nobody_on_the_host(void **state)
{
	const struct piece text = {TEXT, 7, 0};

	(void)state;
	begin();
	assert_int_equal(bench_transfer(&bench, 1, &text, 1), 0);
}

static void one_after_the_other(void **state)
{
	int first, second;
	struct pollfd ready;
	char byte;

	(void)state;
	begin();
	tell(0, OPEN, 1);
	first = connect_channel(0);
	hears(0, OPEN, 1);
	second = connect_channel(0);
	close(first);
	hears(0, OPEN, 0);
	hears(0, OPEN, 1);
	put_text(TEXT, "x");
	bench_transfer(&bench, 1, &(struct piece){TEXT, 1, 0}, 1);
	ready = (struct pollfd){.fd = second, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(read(second, &byte, 1), 1);
	close(second);
}

/* A client that goes while the device holds a buffer for its bytes: the buffer is the next one's, whole. */
static void a_buffer_outlives_its_client(void **state)
{
	const struct piece halves[] = {{MORE + 4096, 2, RING_WRITE}, {MORE + 8192, 98, RING_WRITE}};
	const struct piece control = {MORE, 100, RING_WRITE};
	uint32_t length;
	uint16_t id, used;
	int fd;

	(void)state;
	begin_with(VIRTIO_F_RING_PACKED);
	fd = connect_channel(0);
	hears(0, OPEN, 1);
	tell(0, OPEN, 1);
	id = ring_add(&bench.rings[0], halves, 2);
	bench_kick(&bench, 0);
	ring_add(&bench.rings[2], &control, 1);
	bench_kick(&bench, 2);
	bench_settle(&bench);
	close(fd);
	bench_wait_used(&bench, 2, &used, &length);
	fd = connect_channel(0);
	hears(0, OPEN, 1);
	assert_int_equal(write(fd, "abc", 3), 3);
	bench_wait_used(&bench, 0, &used, &length);
	assert_int_equal(used, id);
	assert_int_equal(length, 3);
	assert_memory_equal(bench_bytes(&bench, MORE + 4096), "ab", 2);
	assert_memory_equal(bench_bytes(&bench, MORE + 8192), "c", 1);
	close(fd);
}

/* It can not take the client's bytes, which go to the next one. */
static void a_buffer_without_room(void **state)
{
	const struct piece none = {MORE, 100, 0}, room = {MORE, 100, RING_WRITE};
	uint32_t length;
	uint16_t id;
	int fd;

	(void)state;
	begin();
	fd = connect_channel(0);
	hears(0, OPEN, 1);
	tell(0, OPEN, 1);
	ring_add(&bench.rings[0], &none, 1);
	ring_add(&bench.rings[0], &room, 1);
	bench_kick(&bench, 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(length, 0);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(length, 3);
	close(fd);
}

static uint64_t processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A client that can not be taken for want of descriptors waits, and the worker does not spin meanwhile. */
static void without_descriptors(void **state)
{
	struct rlimit limit, none;
	uint64_t before;
	int fd;

	(void)state;
	begin();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	before = processor_ns();
	connect_with(fd, 0);
	nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
	before = processor_ns() - before;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_in_range(before, 0, 30000000);
	hears(0, OPEN, 1);
	close(fd);
}

static void control_that_lies(void **state)
{
	const struct piece short_one = {TEXT, 7, 0};

	(void)state;
	begin();
	tell(2, PORT_READY, 1);
	tell(UINT32_MAX, OPEN, 1);
	tell(0, 99, 1);
	tell(0, OPEN, 77);
	tell(0, READY, 0);
	tell(0, PORT_READY, 1);
	assert_int_equal(bench_transfer(&bench, 3, &short_one, 1), 0);
	tell(0, READY, 1);
	hears(0, ADD, 1);
	assert_int_equal(reg_get(&bench, REG_STATUS), 15);
}

/* A buffer too small for a name is given back empty. */
static void little_room_for_control(void **state)
{
	const struct piece small = {MORE, 7, RING_WRITE};
	uint32_t length;
	uint16_t id;

	(void)state;
	bench_start(&bench, 2, 6, 16);
	ring_add(&bench.rings[2], &small, 1);
	tell(UINT32_MAX, READY, 1);
	bench_wait_used(&bench, 2, &id, &length);
	assert_int_equal(length, 0);
	hears(1, ADD, 1);
}

static void names_and_paths(void **state)
{
	static const char *const bad[] = {"", "with space", "a/b", "..x\n"};
	struct virtio *channels = NULL;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct virtio_channel_options options = {bad[i], "/tmp/doppel-test-channel"};

		assert_int_equal(virtio_channels_new(&channels, "c", bench.worker, &options, 1, &e), -EINVAL);
	}
	assert_int_equal(virtio_channels_new(&channels, "c", bench.worker,
					     &(struct virtio_channel_options){"first", path[0]}, 1, &e),
			 -EADDRINUSE);
	assert_null(channels);
}

#define TERMINAL(function) cmocka_unit_test_setup_teardown(function, setup_terminal, teardown)
#define CHANNELS(function) cmocka_unit_test_setup_teardown(function, setup_channels, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TERMINAL(output_is_shown),
		TERMINAL(output_is_served_at_once),
		TERMINAL(crowded_output_waits),
		TERMINAL(short_output_waits_too),
		TERMINAL(paused_amid_output),
		TERMINAL(input_is_typed),
		TERMINAL(the_size_follows),
		TERMINAL(wrong_directions),
		CHANNELS(both_directions),
		CHANNELS(closed_in_the_guest),
		CHANNELS(nobody_on_the_host),
		CHANNELS(one_after_the_other),
		CHANNELS(a_buffer_outlives_its_client),
		CHANNELS(a_buffer_without_room),
		CHANNELS(without_descriptors),
		CHANNELS(control_that_lies),
		CHANNELS(little_room_for_control),
		CHANNELS(names_and_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
