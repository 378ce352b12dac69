/* The disk, driven by a friendly and by a hostile driver, over a raw image. */
#include "virtio_bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "block/store.h"
#include "device/virtio/blk.h"

#define SECTORS 2048
#define F_RO    (UINT64_C(1) << 5)
#define F_FLUSH (UINT64_C(1) << 9)
#define F_WCE   (UINT64_C(1) << 11)
#define F_TRIM  (UINT64_C(1) << 13 | UINT64_C(1) << 14)

/* Where the test keeps the parts of a request. */
#define HEADER  BENCH_DATA
#define STATUS  (BENCH_DATA + 4096)
#define BUFFER  (BENCH_DATA + 8192)
#define BUFFER2 (BENCH_DATA + 1 * MIB)
#define TABLE   (BENCH_DATA + 2 * MIB)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZERO = 13 };

static struct virtio_bench bench;
static char path[] = "/tmp/doppel-test-blk-XXXXXX.raw";

/* A host without room: what is written gets ENOSPC, or EDQUOT. */
static atomic_int no_room;
static atomic_int fulls, rooms;

static int before_store(void *context, const struct store *store, enum store_operation operation, uint64_t offset,
			const struct spans *spans, uint64_t length)
{
	(void)context;
	(void)store;
	(void)offset;
	(void)spans;
	(void)length;
	return operation == STORE_WRITE ? atomic_load(&no_room) : 0;
}

static void full_hook(void *opaque, const char *device)
{
	(void)opaque;
	(void)device;
	atomic_fetch_add(&fulls, 1);
}

static void room_hook(void *opaque, const char *device)
{
	(void)opaque;
	(void)device;
	atomic_fetch_add(&rooms, 1);
}

static struct virtio *open_device(bool read_only)
{
	const struct block_options options = {.path = path, .format = BLOCK_RAW, .read_only = read_only};
	const struct virtio_blk_options more = {
		.queues = 2, .serial = "number one", .hooks = {full_hook, room_hook, NULL, NULL}};
	struct virtio *blk;
	struct block *block;
	struct error e;

	if (block_open(&block, &options, &e) < 0)
		fail_msg("open: %s", e.message);
	if (virtio_blk_new(&blk, "disk0", bench.worker, block, &more, &e) < 0)
		fail_msg("new: %s", e.message);
	return blk;
}

static void make_device(bool read_only)
{
	virtio_bench_init(&bench);
	virtio_bench_place(&bench, open_device(read_only));
}

static int make_file(void)
{
	int fd;

	strcpy(path + sizeof path - 11, "XXXXXX.raw");
	fd = mkstemps(path, 4);
	if (fd < 0 || ftruncate(fd, SECTORS * BLOCK_SECTOR) < 0)
		return -1;
	return close(fd);
}

static int setup(void **state)
{
	(void)state;
	if (make_file() < 0)
		return -1;
	make_device(false);
	return 0;
}

static int setup_read_only(void **state)
{
	(void)state;
	if (make_file() < 0)
		return -1;
	make_device(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return unlink(path);
}

static void put_header(uint32_t type, uint64_t sector)
{
	uint8_t *at = bench_bytes(&bench, HEADER);
	le32_t wire_type = le32_put(type);
	le64_t wire_sector = le64_put(sector);

	memset(at, 0, 16);
	memcpy(at, &wire_type, sizeof wire_type);
	memcpy(at + 8, &wire_sector, sizeof wire_sector);
	*bench_bytes(&bench, STATUS) = 0xee;
}

static int status_of(void)
{
	return *bench_bytes(&bench, STATUS);
}

/* A request with one span of data; the status. */
static int request(uint32_t type, uint64_t sector, uint64_t address, uint32_t length)
{
	struct piece pieces[3] = {{HEADER, 16, 0}, {address, length, type == IN || type == GET_ID ? RING_WRITE : 0}};
	unsigned count = length ? 2 : 1;

	pieces[count++] = (struct piece){STATUS, 1, RING_WRITE};
	put_header(type, sector);
	(void)bench_transfer(&bench, 0, pieces, count);
	return status_of();
}

static void file_has(uint64_t offset, const void *bytes, size_t length)
{
	uint8_t found[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, found, length, (off_t)offset), length);
	close(fd);
	assert_memory_equal(found, bytes, length);
}

static void fill(uint64_t address, size_t length, unsigned seed)
{
	uint8_t *at = bench_bytes(&bench, address);

	for (size_t i = 0; i < length; i++)
		at[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
}

static void written_and_read(uint64_t features)
{
	bench_start(&bench, features, 2, 16);
	fill(BUFFER, 4096, 1);
	assert_int_equal(request(OUT, 8, BUFFER, 4096), 0);
	assert_int_equal(request(FLUSH, 0, 0, 0), 0);
	file_has(8 * BLOCK_SECTOR, bench_bytes(&bench, BUFFER), 4096);
	assert_int_equal(request(IN, 8, BUFFER2, 4096), 0);
	assert_memory_equal(bench_bytes(&bench, BUFFER), bench_bytes(&bench, BUFFER2), 4096);
	assert_int_equal(request(IN, SECTORS - 1, BUFFER2, 512), 0);
}

static void split_ring(void **state)
{
	(void)state;
	written_and_read(F_FLUSH);
}

static void packed_ring(void **state)
{
	(void)state;
	written_and_read(F_FLUSH | VIRTIO_F_RING_PACKED);
}

static void write_through(void **state)
{
	(void)state;
	/* Without FLUSH, and with the cache mode turned off. */
	written_and_read(0);
	reg_put(&bench, REG_STATUS, 0);
	bench_start(&bench, F_FLUSH | F_WCE, 1, 16);
	config_put(&bench, 32, 0, 1);
	fill(BUFFER, 512, 9);
	assert_int_equal(request(OUT, 0, BUFFER, 512), 0);
	file_has(0, bench_bytes(&bench, BUFFER), 512);
}

static void the_length_counts_what_was_written(void **state)
{
	const struct piece pieces[] = {{HEADER, 16, 0}, {BUFFER, 1024, RING_WRITE}, {STATUS, 1, RING_WRITE}};

	(void)state;
	bench_start(&bench, 0, 1, 16);
	put_header(IN, 0);
	assert_int_equal(bench_transfer(&bench, 0, pieces, 3), 1025);
}

static void identity(void **state)
{
	(void)state;
	bench_start(&bench, 0, 1, 16);
	assert_int_equal(request(GET_ID, 0, BUFFER, 20), 0);
	assert_string_equal((char *)bench_bytes(&bench, BUFFER), "number one");
	assert_int_equal(reg_get(&bench, REG_CONFIG), SECTORS);
}

struct wire_range {
	le64_t sector;
	le32_t sectors, flags;
};

static int trim(uint32_t type, const struct wire_range *ranges, unsigned count)
{
	memcpy(bench_bytes(&bench, BUFFER), ranges, count * sizeof *ranges);
	return request(type, 0, BUFFER, (uint32_t)(count * sizeof *ranges));
}

static void ranges_are_zeroed(void **state)
{
	static const uint8_t zeroes[512];
	const struct wire_range two[] = {{le64_put(0), le32_put(1), le32_put(1)}, {le64_put(3), le32_put(2), le32_put(0)}};

	(void)state;
	bench_start(&bench, F_TRIM, 1, 16);
	fill(BUFFER2, 4096, 5);
	assert_int_equal(request(OUT, 0, BUFFER2, 4096), 0);
	assert_int_equal(trim(ZERO, two, 2), 0);
	file_has(0, zeroes, 512);
	file_has(512, bench_bytes(&bench, BUFFER2 + 512), 1024);
	file_has(3 * 512, zeroes, 512);
	file_has(5 * 512, bench_bytes(&bench, BUFFER2 + 5 * 512), 512);
}

static void wrong_ranges(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t sectors, flags;
		int status;
	} cases[] = {
		{SECTORS, 1, 0, 1}, {SECTORS - 1, 2, 0, 1}, {UINT64_MAX, 1, 0, 1}, {0, 0, 0, 1},
		{0, UINT32_MAX, 0, 1}, {0, 1, 2, 2}, {0, 1, UINT32_MAX, 2}, {UINT64_MAX / 512 + 1, 1, 0, 1},
	};

	(void)state;
	bench_start(&bench, F_TRIM, 1, 16);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct wire_range range = {le64_put(cases[i].sector), le32_put(cases[i].sectors),
						 le32_put(cases[i].flags)};

		if (trim(ZERO, &range, 1) != cases[i].status)
			fail_msg("case %zu: status %d", i, status_of());
	}
	/* 5.2.6.2: a discard has no flags, not even the one of the other. */
	assert_int_equal(trim(DISCARD, &(struct wire_range){le64_put(0), le32_put(1), le32_put(1)}, 1), 2);
	assert_int_equal(request(ZERO, 0, BUFFER, 15), 1);
	assert_int_equal(request(DISCARD, 0, BUFFER, 65 * 16), 1);
}

static void outside_of_the_disk(void **state)
{
	(void)state;
	bench_start(&bench, 0, 1, 16);
	assert_int_equal(request(IN, SECTORS, BUFFER, 512), 1);
	assert_int_equal(request(IN, SECTORS - 1, BUFFER, 1024), 1);
	assert_int_equal(request(OUT, UINT64_MAX, BUFFER, 512), 1);
	assert_int_equal(request(OUT, UINT64_MAX / 512, BUFFER, 1024), 1);
	assert_int_equal(request(IN, 0, BUFFER, 511), 1);
	assert_int_equal(request(IN, 0, 0, 0), 1);
}

static void unknown_and_unoffered(void **state)
{
	(void)state;
	bench_start(&bench, 0, 1, 16);
	assert_int_equal(request(99, 0, BUFFER, 512), 2);
	assert_int_equal(request(ZERO, 0, BUFFER, 16), 2);
}

/* No place for a status, or no whole header: it is given back, and the next request works. */
static void misshapen(void **state)
{
	const struct piece no_status[] = {{HEADER, 16, 0}, {BUFFER, 512, 0}};
	const struct piece short_header[] = {{HEADER, 15, 0}, {STATUS, 1, RING_WRITE}};
	const struct piece only_status[] = {{STATUS, 1, RING_WRITE}};

	(void)state;
	bench_start(&bench, 0, 1, 16);
	put_header(IN, 0);
	assert_int_equal(bench_transfer(&bench, 0, no_status, 2), 0);
	put_header(IN, 0);
	assert_int_equal(bench_transfer(&bench, 0, short_header, 2), 1);
	assert_int_equal(status_of(), 1);
	assert_int_equal(bench_transfer(&bench, 0, only_status, 1), 1);
	assert_int_equal(request(IN, 0, BUFFER, 512), 0);
}

/* 2.7.4.2: neither the header nor the status need a span of their own. */
static void any_layout(void **state)
{
	const struct piece pieces[] = {{HEADER, 3, 0},           {HEADER + 3, 13, 0},
				       {BUFFER, 100, RING_WRITE}, {BUFFER + 100, 412 + 1, RING_WRITE}};
	uint8_t *end = bench_bytes(&bench, BUFFER + 512);

	(void)state;
	bench_start(&bench, 0, 1, 16);
	put_header(IN, 0);
	*end = 0xee;
	assert_int_equal(bench_transfer(&bench, 0, pieces, 4), 513);
	assert_int_equal(*end, 0);
}

static void a_read_only_disk(void **state)
{
	const struct wire_range range = {le64_put(0), le32_put(1), le32_put(0)};

	(void)state;
	assert_true(bench_offered(&bench) & F_RO);
	assert_false(bench_offered(&bench) & F_TRIM);
	bench_start(&bench, F_RO, 1, 16);
	assert_int_equal(request(OUT, 0, BUFFER, 512), 1);
	assert_int_equal(trim(ZERO, &range, 1), 2);
	assert_int_equal(request(IN, 0, BUFFER, 512), 0);
}

static void many_at_once(void **state)
{
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 2, 256);
	put_header(IN, 0);
	for (unsigned i = 0; i < 80; i++) {
		const struct piece pieces[] = {
			{HEADER, 16, 0}, {BUFFER + i * 512, 512, RING_WRITE}, {STATUS, 1, RING_WRITE}};

		ring_add(&bench.rings[i % 2], pieces, 3);
	}
	bench_kick(&bench, 0);
	bench_kick(&bench, 1);
	for (unsigned i = 0; i < 80; i++)
		bench_wait_used(&bench, i % 2, &id, &length);
}

/* Paused amid requests: all are answered, none later; and goes on afterwards. */
static void paused(void **state)
{
	uint16_t id;
	uint32_t length;

	(void)state;
	bench_start(&bench, 0, 1, 256);
	put_header(IN, 0);
	for (unsigned i = 0; i < 60; i++) {
		const struct piece pieces[] = {{HEADER, 16, 0}, {BUFFER, 512, RING_WRITE}, {STATUS, 1, RING_WRITE}};

		ring_add(&bench.rings[0], pieces, 3);
	}
	bench_kick(&bench, 0);
	device_pause(&bench.virtio->device);
	*bench_bytes(&bench, STATUS) = 0xee;
	bench_settle(&bench);
	assert_int_equal(status_of(), 0xee);
	device_resume(&bench.virtio->device);
	for (unsigned i = 0; i < 60; i++)
		bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(request(IN, 0, BUFFER, 512), 0);
}

static atomic_int resized = 1;

static void resize_done(void *opaque, int result, const struct error *e)
{
	(void)opaque;
	(void)e;
	atomic_store(&resized, result);
}

static void grown_while_it_runs(void **state)
{
	uint32_t generation;

	(void)state;
	bench_start(&bench, 0, 1, 16);
	generation = reg_get(&bench, REG_GENERATION);
	assert_int_equal(request(IN, SECTORS, BUFFER, 512), 1);
	assert_int_equal(virtio_blk_resize(bench.virtio, 2 * SECTORS * BLOCK_SECTOR, false, resize_done, NULL), 0);
	for (unsigned i = 0; i < 20000 && atomic_load(&resized) == 1; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	bench_settle(&bench);
	assert_int_equal(atomic_load(&resized), 0);
	assert_int_equal(reg_get(&bench, REG_CONFIG), 2 * SECTORS);
	assert_int_not_equal(reg_get(&bench, REG_GENERATION), generation);
	assert_true(reg_get(&bench, REG_INTERRUPT) & 2);
	assert_int_equal(request(IN, SECTORS, BUFFER, 512), 0);
}

static void only_the_cache_mode_can_be_configured(void **state)
{
	(void)state;
	bench_start(&bench, F_WCE, 1, 16);
	for (uint64_t at = 0; at < 60; at += 4)
		reg_put(&bench, REG_CONFIG + at, UINT32_MAX);
	assert_int_equal(reg_get(&bench, REG_CONFIG), SECTORS);
	assert_int_equal(request(IN, SECTORS, BUFFER, 512), 1);
}

static int setup_full(void **state)
{
	static const struct store_hook hook = {before_store, NULL};

	store_set_hook(&hook);
	atomic_store(&no_room, -ENOSPC);
	atomic_store(&fulls, 0);
	atomic_store(&rooms, 0);
	return setup(state);
}

static int teardown_full(void **state)
{
	int r;

	atomic_store(&no_room, 0);
	r = teardown(state);
	store_set_hook(NULL);
	return r;
}

static void await_full(int count)
{
	for (unsigned i = 0; i < 20000 && atomic_load(&fulls) < count; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(atomic_load(&fulls), count);
}

/* A write that finds no room, and behind it on the same queue a read, which is answered. */
static uint16_t write_without_room(uint64_t features)
{
	const struct piece write[] = {
		{HEADER, 16, 0}, {BUFFER, 1024, 0}, {BUFFER2, 512, 0}, {STATUS, 1, RING_WRITE}};
	const struct piece read[] = {
		{HEADER + 64, 16, 0}, {BUFFER + 8192, 512, RING_WRITE}, {STATUS + 64, 1, RING_WRITE}};
	uint16_t written, other, id = 0;
	uint32_t length;

	bench_start(&bench, features | F_FLUSH, 2, 16);
	fill(BUFFER, 1024, 3);
	fill(BUFFER2, 512, 9);
	put_header(OUT, 4);
	memset(bench_bytes(&bench, HEADER + 64), 0, 16);
	if (features & VIRTIO_F_INDIRECT_DESC) {
		const struct piece table = ring_table(&bench.rings[0], TABLE, write, 4);

		written = ring_add(&bench.rings[0], &table, 1);
	} else {
		written = ring_add(&bench.rings[0], write, 4);
	}
	other = ring_add(&bench.rings[0], read, 3);
	bench_kick(&bench, 0);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(id, other);
	await_full(1);
	return written;
}

static void is_written_once_there_is_room(uint16_t written)
{
	uint16_t id = 0;
	uint32_t length;

	assert_int_equal(status_of(), 0xee);
	atomic_store(&no_room, 0);
	bench_wait_used(&bench, 0, &id, &length);
	assert_int_equal(id, written);
	assert_int_equal(status_of(), 0);
	file_has(4 * BLOCK_SECTOR, bench_bytes(&bench, BUFFER), 1024);
	file_has(6 * BLOCK_SECTOR, bench_bytes(&bench, BUFFER2), 512);
	/* The ring goes on as it was. */
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(request(OUT, 20, BUFFER, 512), 0);
}

static const uint64_t rings[] = {0, VIRTIO_F_RING_PACKED, VIRTIO_F_INDIRECT_DESC,
				 VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC};

static void waits_for_room(void **state)
{
	uint16_t written = write_without_room(*(const uint64_t *)*state);

	atomic_store(&no_room, -EDQUOT);
	is_written_once_there_is_room(written);
	assert_int_equal(atomic_load(&fulls), 1);
	assert_int_equal(atomic_load(&rooms), 1);
}

static void waits_on_across_a_pause(void **state)
{
	uint16_t written = write_without_room(*(const uint64_t *)*state);

	for (int i = 0; i < 3; i++) {
		device_pause(&bench.virtio->device);
		assert_int_equal(atomic_load(&rooms), i + 1);
		device_resume(&bench.virtio->device);
		await_full(i + 2);
	}
	is_written_once_there_is_room(written);
}

/* The driver of the one goes on with the other, whose disk has room or has none yet. */
static void waits_on_in_a_saved_state(void **state)
{
	uint16_t written = write_without_room(*(const uint64_t *)*state);
	struct virtio *other, *first = bench.virtio;
	struct state_section section;
	struct state_reader r;
	struct state_writer w;
	struct error e = {.message = ""};

	device_pause(&first->device);
	state_writer_init(&w);
	device_save(&first->device, &w);
	assert_int_equal(w.failed, 0);
	device_reset(&first->device);
	virtio_bench_remove(&bench);
	other = open_device(false);
	virtio_bench_place(&bench, other);
	device_pause(&other->device);
	state_reader_init(&r, w.bytes, w.length);
	assert_int_equal(state_next(&r, &section, NULL), 1);
	if (device_load(&other->device, &section, &e) < 0)
		fail_msg("%s", e.message);
	state_writer_finish(&w);
	device_resume(&other->device);
	await_full(2);
	is_written_once_there_is_room(written);
}

static void forgotten_by_a_reset(void **state)
{
	(void)write_without_room(*(const uint64_t *)*state);
	reg_put(&bench, REG_STATUS, 0);
	assert_int_equal(atomic_load(&rooms), 1);
	atomic_store(&no_room, 0);
	bench_start(&bench, *(const uint64_t *)*state | F_FLUSH, 1, 16);
	assert_int_equal(request(IN, 4, BUFFER, 512), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(*bench_bytes(&bench, BUFFER + i), 0);
}

static void forgotten_with_its_queue(void **state)
{
	(void)write_without_room(*(const uint64_t *)*state | VIRTIO_F_RING_RESET);
	reg_put(&bench, REG_QUEUE_SELECT, 0);
	reg_put(&bench, REG_QUEUE_RESET, 1);
	atomic_store(&no_room, 0);
	assert_true(bench_queue(&bench, 0, 16));
	assert_int_equal(request(IN, 4, BUFFER, 512), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(*bench_bytes(&bench, BUFFER + i), 0);
}

#define CASE(function)      cmocka_unit_test_setup_teardown(function, setup, teardown)
#define CASE_READ(function) cmocka_unit_test_setup_teardown(function, setup_read_only, teardown)
#define CASE_FULL(function, ring)                                                                          \
	{#function "(" #ring ")", function, setup_full, teardown_full, (void *)(uintptr_t)&rings[ring]}
#define CASES_FULL(function) CASE_FULL(function, 0), CASE_FULL(function, 1), CASE_FULL(function, 2), CASE_FULL(function, 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(split_ring),
		CASE(packed_ring),
		CASE(write_through),
		CASE(the_length_counts_what_was_written),
		CASE(identity),
		CASE(ranges_are_zeroed),
		CASE(wrong_ranges),
		CASE(outside_of_the_disk),
		CASE(unknown_and_unoffered),
		CASE(misshapen),
		CASE(any_layout),
		CASE_READ(a_read_only_disk),
		CASE(many_at_once),
		CASE(paused),
		CASE(grown_while_it_runs),
		CASE(only_the_cache_mode_can_be_configured),
		CASE_FULL(waits_for_room, 0),
		CASE_FULL(waits_for_room, 3),
		CASES_FULL(waits_on_across_a_pause),
		CASES_FULL(waits_on_in_a_saved_state),
		CASES_FULL(forgotten_by_a_reset),
		CASES_FULL(forgotten_with_its_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
