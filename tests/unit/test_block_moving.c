/* A disk that is copied along: what its parts hold, put elsewhere, and which of them change meanwhile. */
#include "block_bench.h"

#define SIZE (4 * MIB)
#define PART BLOCK_TRACK_PART

static const struct {
	const char *name;
	enum block_format format;
} formats[] = {{"disk.raw", BLOCK_RAW}, {"disk.qcow2", BLOCK_QCOW2}};

static void open_new(struct bench *bench, const char *name, enum block_format format)
{
	const struct block_create_options create = {.format = format, .size = SIZE};
	struct error e;

	bench_init(bench);
	bench_check(block_create(bench_path(bench, name), &create, &e), &e, "create");
	bench_open(bench, &(struct block_options){.path = bench_path(bench, name), .format = format});
}

static void assert_zeroes(struct bench *bench, uint64_t offset)
{
	static uint8_t bytes[PART], zeroes[PART];
	int r;

	memset(bytes, 0x5a, sizeof bytes);
	r = block_peek(bench->block, offset, bytes, sizeof bytes);
	assert_in_range(r, 0, 1);
	/* What is known to be zeroes is not written. */
	memset(zeroes, r ? 0x5a : 0, sizeof zeroes);
	bench_compare(bytes, zeroes, sizeof bytes, "zeroes");
}

static void peek_and_poke(size_t format)
{
	static uint8_t bytes[PART], back[PART];
	struct bench bench;
	uint64_t state = 11;

	open_new(&bench, formats[format].name, formats[format].format);
	assert_int_equal(block_peek(bench.block, PART, back, sizeof back), 1);
	bench_fill(bytes, sizeof bytes, &state);
	assert_int_equal(block_poke(bench.block, PART, bytes, sizeof bytes), 0);
	assert_int_equal(block_peek(bench.block, PART, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "what was put there");
	/* Half of it: a part that is not all zeroes. */
	assert_int_equal(block_poke(bench.block, PART, NULL, PART / 2), 0);
	memset(bytes, 0, PART / 2);
	assert_int_equal(block_peek(bench.block, PART, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "half of it");
	assert_int_equal(block_poke(bench.block, PART, NULL, PART), 0);
	assert_zeroes(&bench, PART);
	assert_int_equal(block_sync(bench.block), 0);
	bench_finish(&bench);
}

static void test_peek_and_poke(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		peek_and_poke(i);
}

/* Zeroes over a base are not the base's bytes. */
static void test_over_a_base(void **state)
{
	static uint8_t bytes[PART], back[PART];
	struct bench bench;
	uint64_t seed = 13;

	(void)state;
	open_new(&bench, "disk.raw", BLOCK_RAW);
	bench_fill(bytes, sizeof bytes, &seed);
	assert_int_equal(block_poke(bench.block, 0, bytes, sizeof bytes), 0);
	assert_int_equal(block_poke(bench.block, PART, bytes, sizeof bytes), 0);
	bench_close(&bench);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "disk.raw"), .format = BLOCK_RAW, .overlay = true});
	assert_int_equal(block_peek(bench.block, 0, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "the base's");
	assert_int_equal(block_peek(bench.block, 2 * PART, back, sizeof back), 1);
	assert_int_equal(block_poke(bench.block, 0, NULL, PART), 0);
	assert_zeroes(&bench, 0);
	assert_int_equal(block_peek(bench.block, PART, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "the next part");
	bench_finish(&bench);
}

static void test_changes_are_counted(void **state)
{
	static uint8_t bytes[4096];
	struct bench bench;
	struct error e;
	uint64_t found[SIZE / PART / 64 + 1] = {0};

	(void)state;
	open_new(&bench, "disk.qcow2", BLOCK_QCOW2);
	assert_in_range(block_track_words(bench.block), 1, ARRAY_SIZE(found));
	bench_check(block_track_begin(bench.block, &e), &e, "track");
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, 3 * PART - 2048, bytes, sizeof bytes), 0);
	assert_int_equal(bench_do(&bench, BLOCK_DISCARD, 9 * PART, NULL, 512), 0);
	assert_int_equal(bench_do(&bench, BLOCK_READ, 20 * PART, bytes, sizeof bytes), 0);
	block_track_collect(bench.block, found);
	assert_int_equal(found[0], 1 << 2 | 1 << 3 | 1 << 9);
	block_track_collect(bench.block, found);
	assert_int_equal(found[0], 0);
	block_track_end(bench.block);
	bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peek_and_poke),
		cmocka_unit_test(test_over_a_base),
		cmocka_unit_test(test_changes_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
