/* Random hostile chains against the devices without a back end: a million each in the thorough form (DOPPEL_LONG). */
#include "hostile_driver.h"

#include "device/virtio/balloon.h"
#include "device/virtio/rng.h"

static struct virtio_bench bench;

static void the_entropy_device(void **state)
{
	const struct piece piece = {BENCH_DATA, 64, RING_WRITE};
	struct virtio *rng;
	struct hostile h;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_rng_new(&rng, "rng0", bench.worker, NULL), 0);
	virtio_bench_place(&bench, rng);
	virtio_rng_set_rate(rng, 0);
	hostile_init(&h, &bench, 1);
	hostile_run(&h, hostile_count());
	assert_int_not_equal(h.broken, 0);
	bench_start(&bench, 0, 1, 16);
	assert_int_equal(bench_transfer(&bench, 0, &piece, 1), 64);
	virtio_bench_finish(&bench);
}

/* Page numbers around the guest's RAM, so that some are in it. */
static void fill_numbers(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	(void)queue;
	for (uint32_t i = 0; i + 4 <= length; i += 4) {
		uint64_t page = (BENCH_DATA >> GUEST_PAGE_SHIFT) + hostile_random(h) % (HOSTILE_SPACE / GUEST_PAGE_SIZE);
		le32_t number = le32_put((uint32_t)page);

		memcpy(bytes + i, &number, sizeof number);
	}
}

static void the_balloon(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};
	struct balloon_statistics statistics;
	struct virtio *balloon;
	struct hostile h;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_balloon_new(&balloon, "balloon0", bench.worker, NULL), 0);
	virtio_bench_place(&bench, balloon);
	hostile_init(&h, &bench, 5);
	h.fill = fill_numbers;
	h.longest = 12288; /* longer lists break the rules */
	hostile_run(&h, hostile_count());
	assert_int_not_equal(h.broken, 0);
	virtio_balloon_get_statistics(balloon, &statistics);
	assert_int_not_equal(statistics.inflated_bytes, 0);
	assert_int_not_equal(statistics.reported_bytes, 0);
	assert_int_not_equal(statistics.refused_pages, 0);
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(bench_transfer(&bench, 0, &list, 1), 0);
	virtio_bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_entropy_device),
		cmocka_unit_test(the_balloon),
	};

	return cmocka_run_group_tests_name("virtio-hostile", tests, NULL, NULL);
}
