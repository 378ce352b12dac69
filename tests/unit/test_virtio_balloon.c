/* The balloon and the entropy device, each driven by a friendly and by a hostile driver. */
#include "virtio_bench.h"

#include "device/virtio/balloon.h"
#include "device/virtio/rng.h"

#define F_STATISTICS (UINT64_C(1) << 1)
#define F_REPORTING  (UINT64_C(1) << 5)
#define PAGES        64
#define LIST         BENCH_DATA                 /* page numbers, statistics */
#define VICTIMS      (BENCH_RAM + 8 * MIB)      /* pages that are given */

static struct virtio_bench bench;

static int setup_balloon(void **state)
{
	struct virtio *balloon;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_balloon_new(&balloon, "balloon0", bench.worker, NULL), 0);
	virtio_bench_place(&bench, balloon);
	return 0;
}

static int setup_rng(void **state)
{
	struct virtio *rng;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_rng_new(&rng, "rng0", bench.worker, NULL), 0);
	virtio_bench_place(&bench, rng);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return 0;
}

static void fill_pages(void)
{
	for (uint64_t page = 0; page < PAGES; page++)
		memset(bench_bytes(&bench, VICTIMS + page * GUEST_PAGE_SIZE), 0x55, GUEST_PAGE_SIZE);
}

static bool is_given(uint64_t page)
{
	const uint8_t *bytes = bench_bytes(&bench, VICTIMS + page * GUEST_PAGE_SIZE);

	return bytes[0] == 0 && bytes[GUEST_PAGE_SIZE - 1] == 0;
}

static struct balloon_statistics statistics(void)
{
	struct balloon_statistics s;

	virtio_balloon_get_statistics(bench.virtio, &s);
	return s;
}

static void put_number(unsigned index, uint64_t address)
{
	le32_t number = le32_put((uint32_t)(address >> GUEST_PAGE_SHIFT));

	memcpy(bench_bytes(&bench, LIST + 4 * index), &number, sizeof number);
}

/* Up, down, alone and twice: all of them and no others. */
static void inflated_pages_are_given(void **state)
{
	static const unsigned pages[] = {3, 4, 5, 20, 19, 18, 40, 4, 50};
	const struct piece list = {LIST, 4 * ARRAY_SIZE(pages), 0};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	fill_pages();
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		put_number(i, VICTIMS + pages[i] * GUEST_PAGE_SIZE);
	assert_int_equal(bench_transfer(&bench, 0, &list, 1), 0);
	for (unsigned page = 0; page < PAGES; page++) {
		bool wanted = false;

		for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
			wanted |= pages[i] == page;
		if (is_given(page) != wanted)
			fail_msg("page %u is %sgiven", page, wanted ? "not " : "");
	}
	assert_int_equal(statistics().inflated_bytes, ARRAY_SIZE(pages) * GUEST_PAGE_SIZE);
	/* Deflating touches nothing. */
	fill_pages();
	assert_int_equal(bench_transfer(&bench, 1, &list, 1), 0);
	assert_false(is_given(3));
}

static void hostile_page_numbers(void **state)
{
	static const uint64_t bad[] = {0, BENCH_RAM - GUEST_PAGE_SIZE, BENCH_RAM + BENCH_RAM_SIZE,
				       UINT64_C(0xffffffff) << GUEST_PAGE_SHIFT};
	const struct piece list = {LIST, 4 * (ARRAY_SIZE(bad) + 1) + 3, 0};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	fill_pages();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		put_number(i, bad[i]);
	put_number(ARRAY_SIZE(bad), VICTIMS);
	assert_int_equal(bench_transfer(&bench, 0, &list, 1), 0);
	assert_true(is_given(0));
	assert_int_equal(statistics().refused_pages, ARRAY_SIZE(bad));
	assert_int_equal(statistics().inflated_bytes, GUEST_PAGE_SIZE);
	assert_int_equal(reg_get(&bench, REG_STATUS), 15);
}

static void a_list_without_end_is_refused(void **state)
{
	const struct piece list = {LIST, 1 * MIB, 0};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	ring_add(&bench.rings[0], &list, 1);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_int_equal(reg_get(&bench, REG_STATUS), 15 | VIRTIO_NEEDS_RESET);
}

/* Only whole pages of what is reported; the queue's number depends on what was negotiated. */
static void reported_pages_are_given(void **state)
{
	static const struct {
		uint64_t features;
		unsigned queue;
	} cases[] = {{F_REPORTING, 2}, {F_REPORTING | F_STATISTICS, 3}, {F_REPORTING | F_STATISTICS, 4}};
	const struct piece pieces[2] = {{VICTIMS + 100, 3 * GUEST_PAGE_SIZE, RING_WRITE},
					{VICTIMS + 10 * GUEST_PAGE_SIZE, 2 * GUEST_PAGE_SIZE, RING_WRITE}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = statistics().reported_bytes;

		bench_start(&bench, cases[i].features, 5, 16);
		fill_pages();
		assert_int_equal(bench_transfer(&bench, cases[i].queue, pieces, 2), 0);
		for (unsigned page = 0; page < 16; page++)
			assert_int_equal(is_given(page), page == 1 || page == 2 || page == 10 || page == 11);
		assert_int_equal(statistics().reported_bytes - before, 4 * GUEST_PAGE_SIZE);
	}
	/* What was not negotiated is not done. */
	bench_start(&bench, F_STATISTICS, 5, 16);
	fill_pages();
	ring_add(&bench.rings[3], pieces, 2);
	bench_kick(&bench, 3);
	bench_settle(&bench);
	assert_false(is_given(1));
}

static void given_pages_are_dirty(void **state)
{
	const struct piece list = {LIST, 4, 0};
	uint64_t bitmap[BENCH_RAM_SIZE / GUEST_PAGE_SIZE / 64], page = (VICTIMS - BENCH_RAM) >> GUEST_PAGE_SHIFT;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(memory_dirty_start(&bench.memory, NULL), 0);
	put_number(0, VICTIMS);
	assert_int_equal(bench_transfer(&bench, 0, &list, 1), 0);
	memory_dirty_collect(&bench.memory, 0, bitmap);
	assert_true(bitmap[page / 64] >> (page % 64) & 1);
	assert_false(bitmap[page / 64] >> ((page + 1) % 64) & 1);
	assert_int_equal(memory_discard(&bench.memory, gpa(VICTIMS + 1), GUEST_PAGE_SIZE), -EINVAL);
	assert_int_equal(memory_discard(&bench.memory, gpa(VICTIMS), 100), -EINVAL);
	assert_int_equal(memory_discard(&bench.memory, gpa(0), GUEST_PAGE_SIZE), -EFAULT);
	assert_int_equal(memory_discard(&bench.memory, gpa(BENCH_RAM), BENCH_RAM_SIZE + GUEST_PAGE_SIZE), -EFAULT);
}

static void targets_reach_the_driver(void **state)
{
	(void)state;
	virtio_balloon_set_target(bench.virtio, 5 * GUEST_PAGE_SIZE + 1);
	assert_int_equal(reg_get(&bench, REG_CONFIG), 5);
	assert_int_equal(statistics().target_bytes, 5 * GUEST_PAGE_SIZE);
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(reg_get(&bench, REG_INTERRUPT), 0);
	virtio_balloon_set_target(bench.virtio, UINT64_MAX);
	assert_int_equal(reg_get(&bench, REG_CONFIG), UINT32_MAX);
	assert_int_equal(reg_get(&bench, REG_INTERRUPT), 2);
	/* The driver writes what it has given, and nothing else. */
	reg_put(&bench, REG_CONFIG + 4, 7);
	reg_put(&bench, REG_CONFIG, 9);
	assert_int_equal(reg_get(&bench, REG_CONFIG), UINT32_MAX);
	assert_int_equal(statistics().actual_bytes, 7 * GUEST_PAGE_SIZE);
	reg_put(&bench, REG_STATUS, 0);
	assert_int_equal(statistics().actual_bytes, 0);
}

static void put_statistic(unsigned index, unsigned tag, uint64_t value)
{
	le16_t t = le16_put((uint16_t)tag);
	le64_t v = le64_put(value);
	uint8_t *at = bench_bytes(&bench, LIST + 10 * index);

	memcpy(at, &t, sizeof t);
	memcpy(at + 2, &v, sizeof v);
}

static void wait_for_statistics(uint64_t after)
{
	for (unsigned i = 0; statistics().at_ns <= after; i++) {
		if (i == 5000)
			fail_msg("no statistics");
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* The device keeps a buffer, also over a pause, and gives it back when it is asked for news. */
static void statistics_are_told(void **state)
{
	const struct piece told = {LIST, 33, 0};
	uint16_t id = 0;
	uint32_t length = 0;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		uint64_t at;

		bench_start(&bench, F_STATISTICS | (round ? VIRTIO_F_RING_PACKED : VIRTIO_F_EVENT_IDX), 3, 16);
		put_statistic(0, BALLOON_FREE, 1000);
		put_statistic(1, 77, 1);
		put_statistic(2, BALLOON_TOTAL, 2000 + round);
		ring_add(&bench.rings[2], &told, 1);
		bench_kick(&bench, 2);
		wait_for_statistics(0);
		assert_int_equal(statistics().valid, 1 << BALLOON_FREE | 1 << BALLOON_TOTAL);
		assert_int_equal(statistics().values[BALLOON_TOTAL], 2000 + round);
		assert_false(ring_used(&bench.rings[2], &id, &length));
		device_pause(&bench.virtio->device);
		device_resume(&bench.virtio->device);
		bench_settle(&bench);
		at = statistics().at_ns;
		virtio_balloon_ask_statistics(bench.virtio);
		bench_wait_used(&bench, 2, &id, &length);
		assert_int_equal(length, 0);
		put_statistic(0, BALLOON_FREE, 900);
		ring_add(&bench.rings[2], &told, 1);
		bench_kick(&bench, 2);
		wait_for_statistics(at);
		assert_int_equal(statistics().values[BALLOON_FREE], 900);
		reg_put(&bench, REG_STATUS, 0);
	}
}

static void random_bytes_are_given(void **state)
{
	const struct piece pieces[2] = {{BENCH_DATA, 1000, RING_WRITE}, {BENCH_DATA + 4096, 3000, RING_WRITE}};
	unsigned counts[256] = {0};

	(void)state;
	bench_start(&bench, VIRTIO_F_IN_ORDER | VIRTIO_F_RING_PACKED, 1, 16);
	assert_int_equal(bench_transfer(&bench, 0, pieces, 2), 4000);
	for (unsigned i = 0; i < 3000; i++)
		counts[bench_bytes(&bench, BENCH_DATA + 4096)[i]]++;
	for (unsigned i = 0; i < 256; i++)
		if (counts[i] > 60)
			fail_msg("byte 0x%x came %u times in 3000", i, counts[i]);
	assert_int_equal(bench_bytes(&bench, BENCH_DATA)[1000], 0);
}

/* Buffers of gigabytes in all are answered with a part, and no faster than the rate. */
static void a_greedy_driver_waits(void **state)
{
	struct piece pieces[8];
	uint64_t given = 0;
	uint32_t length;
	uint16_t id;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		pieces[i] = (struct piece){BENCH_DATA, 8 * MIB, RING_WRITE};
	bench_start(&bench, VIRTIO_F_IN_ORDER, 1, 16);
	for (unsigned i = 0; i < 2; i++)
		ring_add(&bench.rings[0], pieces, 8);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	while (ring_used(&bench.rings[0], &id, &length))
		given += length;
	assert_in_range(given, 1, 2 * VIRTIO_RNG_BURST);
	/* What was owed comes later, by itself. */
	if (given <= VIRTIO_RNG_BURST)
		bench_wait_used(&bench, 0, &id, &length);
	/* A pause does not wait for the rate. */
	ring_add(&bench.rings[0], pieces, 8);
	bench_kick(&bench, 0);
	device_pause(&bench.virtio->device);
	device_resume(&bench.virtio->device);
	bench_wait_used(&bench, 0, &id, &length);
}

int main(void)
{
#define WITH_BALLOON(f) cmocka_unit_test_setup_teardown(f, setup_balloon, teardown)
#define WITH_RNG(f)     cmocka_unit_test_setup_teardown(f, setup_rng, teardown)
	const struct CMUnitTest tests[] = {
		WITH_BALLOON(inflated_pages_are_given),
		WITH_BALLOON(hostile_page_numbers),
		WITH_BALLOON(a_list_without_end_is_refused),
		WITH_BALLOON(reported_pages_are_given),
		WITH_BALLOON(given_pages_are_dirty),
		WITH_BALLOON(targets_reach_the_driver),
		WITH_BALLOON(statistics_are_told),
		WITH_RNG(random_bytes_are_given),
		WITH_RNG(a_greedy_driver_waits),
	};

	return cmocka_run_group_tests_name("virtio-balloon", tests, NULL, NULL);
}
