/* Console output: nothing lost, nobody blocked. */
#include "console_bench.h"

#include <pthread.h>
#include <termios.h>

#include "base/log.h"
#include "machine/output.h"

static int ends[2]; /* what the output writes to is ends[1] */
static atomic_int rooms, drains;
static struct output *output;

static void on_room(void *opaque)
{
	atomic_fetch_add((atomic_int *)opaque, 1);
}

static void on_drained(void *opaque)
{
	(void)opaque;
	atomic_fetch_add(&drains, 1);
}

static void open_output(int fd, bool line)
{
	const struct output_hooks hooks = {.room = on_room, .drained = on_drained, .opaque = &rooms};
	struct error e;

	if (output_new(&output, fd, line, &hooks, &e) < 0)
		fail_msg("output: %s", e.message);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&rooms, 0);
	atomic_store(&drains, 0);
	make_pipe(ends);
	open_output(ends[1], false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	output_free(output);
	output = NULL;
	for (unsigned i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return 0;
}

static uint8_t byte_at(size_t index)
{
	return (uint8_t)(index * 7 + (index >> 8) * 13);
}

/* Writes bytes [from, from + length) of the pattern, in pieces; returns what the last call said. */
static bool write_pattern(size_t from, size_t length)
{
	uint8_t piece[1000];
	bool crowded = false;

	for (size_t at = 0; at < length;) {
		size_t now = length - at < sizeof piece ? length - at : sizeof piece;

		for (size_t i = 0; i < now; i++)
			piece[i] = byte_at(from + at + i);
		crowded = output_write(output, piece, now);
		at += now;
	}
	return crowded;
}

static void read_pattern(size_t from, size_t length)
{
	uint8_t piece[4096];

	for (size_t at = 0; at < length;) {
		size_t left = length - at;
		size_t n = read_some(ends[0], piece, left < sizeof piece ? left : sizeof piece);

		for (size_t i = 0; i < n; i++)
			if (piece[i] != byte_at(from + at + i))
				fail_msg("byte %zu is %u instead of %u", from + at + i, piece[i],
					 byte_at(from + at + i));
		at += n;
	}
}

static void test_text(void **state)
{
	(void)state;
	assert_true(output_drained(output));
	assert_false(output_write(output, "hello ", 6));
	assert_false(output_write(output, "world", 5));
	expect(ends[0], "hello world");
	assert_true(output_flush(output, LONG_MS));
}

static void test_crowded(void **state)
{
	size_t total = 3 * MIB;

	(void)state;
	assert_false(write_pattern(0, OUTPUT_CROWDED / 2));
	assert_false(output_crowded(output));
	assert_true(write_pattern(OUTPUT_CROWDED / 2, total - OUTPUT_CROWDED / 2));
	assert_true(output_crowded(output));
	assert_false(output_drained(output));
	assert_int_equal(rooms, 0);
	read_pattern(0, total);
	wait_for(&rooms, 1);
	wait_for(&drains, 1);
	assert_false(output_crowded(output));
	assert_true(output_flush(output, LONG_MS));
	expect_nothing(ends[0]);
}

/* The ring is never empty, so it wraps around. */
static void test_stream(void **state)
{
	const size_t ahead = 3 * MIB, piece = 700 * KIB;
	size_t written = ahead, taken = 0;

	(void)state;
	write_pattern(0, ahead);
	while (taken < 4 * OUTPUT_ROOM) {
		read_pattern(taken, piece);
		write_pattern(written, piece);
		taken += piece;
		written += piece;
	}
	read_pattern(taken, ahead);
	assert_true(output_flush(output, LONG_MS));
}

static void test_overflow(void **state)
{
	char told[512] = "";
	int log[2];

	(void)state;
	make_pipe(log);
	log_set_fd(log[1]);
	assert_true(write_pattern(0, 6 * MIB));
	log_set_fd(2);
	close(log[1]);
	assert_true(read(log[0], told, sizeof told - 1) > 0);
	assert_non_null(strstr(told, "output are lost"));
	close(log[0]);
	read_pattern(0, OUTPUT_ROOM); /* the oldest are kept */
}

static void test_reader_leaves(void **state)
{
	(void)state;
	write_pattern(0, 2 * MIB);
	close(ends[0]);
	ends[0] = -1;
	assert_true(output_flush(output, LONG_MS));
	wait_for(&rooms, 1);
	assert_false(write_pattern(0, 8 * MIB));
	assert_true(output_drained(output));
}

static void test_stuck_reader(void **state)
{
	uint64_t before = clock_host_ns();

	(void)state;
	write_pattern(0, 2 * MIB);
	assert_false(output_flush(output, 50));
	assert_in_range(clock_host_ns() - before, 50 * MS, LONG_MS * MS);
	output_free(output); /* amid a write that blocks */
	output = NULL;
	output_free(NULL);
}

/* Somebody else made the shared descriptor non-blocking. */
static void test_nonblocking(void **state)
{
	(void)state;
	assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	write_pattern(0, MIB);
	read_pattern(0, MIB);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static void test_blocking_stays(void **state)
{
	(void)state;
	write_pattern(0, MIB);
	read_pattern(0, MIB);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
}

static void *write_many(void *arg)
{
	for (unsigned i = 0; i < 20000; i++)
		output_write(output, arg, 1);
	return NULL;
}

static void test_many_writers(void **state)
{
	pthread_t threads[4];
	unsigned counts[4] = {0};
	uint8_t bytes[4096];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &"abcd"[i]), 0);
	for (size_t have = 0; have < 80000;) {
		size_t n = read_some(ends[0], bytes, sizeof bytes);

		for (size_t i = 0; i < n; i++)
			counts[(bytes[i] - 'a') & 3]++;
		have += n;
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(counts[i], 20000);
	}
}

/* A pseudo terminal that nobody has open swallows output; one that is opened gets it. */
static void test_line(void **state)
{
	char path[64];
	int master, slave;
	struct termios modes;

	(void)state;
	output_free(output);
	make_terminal(&master, &slave);
	assert_int_equal(tcgetattr(slave, &modes), 0);
	cfmakeraw(&modes);
	assert_int_equal(tcsetattr(slave, TCSANOW, &modes), 0);
	assert_int_equal(ptsname_r(master, path, sizeof path), 0);
	close(slave);
	open_output(master, true);
	write_pattern(0, 2 * MIB);
	assert_true(output_flush(output, LONG_MS));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	output_write(output, "now", 3);
	expect(slave, "now");
	close(slave);
	write_pattern(0, 2 * MIB);
	assert_true(output_flush(output, LONG_MS));
	output_free(output);
	output = NULL;
	close(master);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_text),
		TEST(test_crowded),
		TEST(test_stream),
		TEST(test_overflow),
		TEST(test_reader_leaves),
		TEST(test_stuck_reader),
		TEST(test_nonblocking),
		TEST(test_blocking_stays),
		TEST(test_many_writers),
		TEST(test_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
