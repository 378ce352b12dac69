#include "device_bench.h"

#include <pthread.h>

#define BASE         UINT64_C(0xc000000)
#define PRIORITY(s)  (BASE + 4 * (uint64_t)(s))
#define PENDING(w)   (BASE + 0x1000 + 4 * (uint64_t)(w))
#define ENABLE(c, w) (BASE + 0x2000 + 0x80 * (uint64_t)(c) + 4 * (uint64_t)(w))
#define THRESHOLD(c) (BASE + 0x200000 + 0x1000 * (uint64_t)(c))
#define CLAIM(c)     (THRESHOLD(c) + 4)

static struct {
	struct bench bench;
	struct device *plic;
} t;

static struct device *new_plic(struct hart_cluster *cluster)
{
	struct device *plic;
	struct error e;

	assert_int_equal(plic_new(&plic, "plic", gpa(BASE), cluster, &e), 0);
	return plic;
}

static int setup(void **state)
{
	(void)state;
	bench_init(&t.bench);
	t.plic = new_plic(&t.bench.cluster);
	bench_add(&t.bench, t.plic);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_free(t.plic);
	return 0;
}

static uint32_t in(uint64_t address)
{
	return (uint32_t)bench_read(&t.bench, address, 4);
}

static void out(uint64_t address, uint32_t value)
{
	bench_write(&t.bench, address, value, 4);
}

static void wire(unsigned source, bool level)
{
	struct irq_line line = plic_line(t.plic, source);

	irq_set(&line, level);
}

static bool external(unsigned context)
{
	return bench_pending(&t.bench, context / 2, context % 2 ? IRQ_SEI : IRQ_MEI);
}

/* Enables `source` for a context at a priority. */
static void listen(unsigned context, unsigned source, unsigned priority)
{
	out(PRIORITY(source), priority);
	out(ENABLE(context, source / 32), in(ENABLE(context, source / 32)) | 1u << (source % 32));
}

static void registers_keep_what_exists(void **state)
{
	(void)state;
	for (unsigned s = 0; s < 128; s++)
		out(PRIORITY(s), 0xffffffff);
	for (unsigned s = 0; s < 128; s++)
		assert_int_equal(in(PRIORITY(s)), s >= 1 && s <= PLIC_SOURCES ? 7 : 0);
	for (unsigned c = 0; c < 2 * BENCH_HARTS + 2; c++)
		for (unsigned w = 0; w < 5; w++) {
			out(ENABLE(c, w), 0xffffffff);
			assert_int_equal(in(ENABLE(c, w)), c >= 2 * BENCH_HARTS || w > 2 ? 0
							   : w                           ? 0xffffffff
											 : 0xfffffffe);
		}
	out(THRESHOLD(3), 0xff);
	assert_int_equal(in(THRESHOLD(3)), 7);
	out(PENDING(0), 0xffffffff);
	assert_int_equal(in(PENDING(0)), 0);
	assert_int_equal(in(CLAIM(1)), 0);
	assert_int_equal(in(BASE + 0x5ffffc), 0);
}

static void only_words(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(bus_read(&t.bench.bus, gpa(PRIORITY(2)), 1, &value), -EFAULT);
	assert_int_equal(bus_read(&t.bench.bus, gpa(PRIORITY(2)), 8, &value), -EFAULT);
	assert_int_equal(bus_write(&t.bench.bus, gpa(PRIORITY(2)), 2, 1), -EFAULT);
}

static void every_source_reaches_its_context(void **state)
{
	(void)state;
	for (unsigned source = 1; source <= PLIC_SOURCES; source++) {
		unsigned context = source % (2 * BENCH_HARTS);

		listen(context, source, 1);
		wire(source, true);
		for (unsigned c = 0; c < 2 * BENCH_HARTS; c++)
			assert_int_equal(external(c), c == context);
		assert_int_equal(in(CLAIM(context)), source);
		assert_false(external(context));
		wire(source, false);
		out(CLAIM(context), source);
		assert_false(external(context));
	}
}

static void gateway_opens_again_on_completion(void **state)
{
	(void)state;
	listen(1, 10, 1);
	wire(10, true);
	assert_int_equal(in(CLAIM(1)), 10);
	assert_int_equal(in(PENDING(0)), 0);
	wire(10, false);
	wire(10, true);
	assert_int_equal(in(PENDING(0)), 0);
	assert_int_equal(in(CLAIM(1)), 0);
	out(CLAIM(1), 10);
	assert_int_equal(in(PENDING(0)), 1u << 10);
	assert_true(external(1));
	assert_int_equal(in(CLAIM(1)), 10);
	wire(10, false);
	out(CLAIM(1), 10);
	assert_int_equal(in(PENDING(0)), 0);
}

static void request_outlives_its_wire(void **state)
{
	(void)state;
	listen(1, 40, 1);
	wire(40, true);
	wire(40, false);
	assert_int_equal(in(PENDING(1)), 1u << 8);
	assert_int_equal(in(CLAIM(1)), 40);
	out(CLAIM(1), 40);
	assert_int_equal(in(CLAIM(1)), 0);
}

static void highest_priority_then_lowest_number(void **state)
{
	static const unsigned expected[] = {64, 33, 95, 5, 6};

	(void)state;
	listen(2, 5, 2);
	listen(2, 6, 2);
	listen(2, 33, 5);
	listen(2, 64, 7);
	listen(2, 95, 5);
	listen(2, 7, 0);
	for (unsigned s = 1; s <= PLIC_SOURCES; s++)
		wire(s, true);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(in(CLAIM(2)), expected[i]);
	assert_int_equal(in(CLAIM(2)), 0);
}

static void threshold_masks_the_wire_not_the_claim(void **state)
{
	(void)state;
	listen(1, 3, 4);
	wire(3, true);
	out(THRESHOLD(1), 4);
	assert_false(external(1));
	out(THRESHOLD(1), 3);
	assert_true(external(1));
	out(PRIORITY(3), 3);
	assert_false(external(1));
	assert_int_equal(in(CLAIM(1)), 3);
}

static void completion_needs_an_enabled_source(void **state)
{
	(void)state;
	listen(1, 9, 1);
	wire(9, true);
	assert_int_equal(in(CLAIM(1)), 9);
	out(ENABLE(1, 0), 0);
	out(CLAIM(1), 9);
	out(CLAIM(3), 9);
	out(CLAIM(1), 0);
	out(CLAIM(1), 96);
	out(CLAIM(1), 0x80000009);
	assert_int_equal(in(PENDING(0)), 0);
	out(ENABLE(1, 0), 1u << 9);
	out(CLAIM(1), 9);
	assert_int_equal(in(PENDING(0)), 1u << 9);
}

static void one_of_several_contexts_claims(void **state)
{
	(void)state;
	listen(1, 8, 1);
	listen(3, 8, 1);
	wire(8, true);
	assert_true(external(1) && external(3));
	assert_int_equal(in(CLAIM(3)), 8);
	assert_false(external(1) || external(3));
	assert_int_equal(in(CLAIM(1)), 0);
	out(CLAIM(1), 8);
	assert_true(external(1) && external(3));
}

static void state_moves_with_a_claim_in_flight(void **state)
{
	struct bench other;
	struct saved saved;
	struct device *copy;
	uint64_t claimed;

	(void)state;
	listen(1, 10, 1);
	listen(4, 70, 6);
	out(THRESHOLD(4), 2);
	wire(10, true);
	assert_int_equal(in(CLAIM(1)), 10);
	wire(70, true);
	saved = bench_save(t.plic);
	bench_init(&other);
	copy = new_plic(&other.cluster);
	bench_add(&other, copy);
	bench_load(copy, &saved);
	assert_true(bench_pending(&other, 2, IRQ_MEI));
	assert_false(bench_pending(&other, 0, IRQ_SEI));
	claimed = bench_read(&other, CLAIM(4), 4);
	assert_int_equal(claimed, 70);
	bench_write(&other, CLAIM(1), 10, 4);
	assert_true(bench_pending(&other, 0, IRQ_SEI));
	assert_int_equal(bench_read(&other, THRESHOLD(4), 4), 2);
	free(saved.payload);
	device_free(copy);
}

static void impossible_state_is_refused(void **state)
{
	(void)state;
	wire(40, true);
	bench_refuses(t.plic, "priority", 0, 1);
	bench_refuses(t.plic, "priority", 5, 8);
	bench_refuses(t.plic, "threshold", 1, 8);
	bench_refuses(t.plic, "threshold", 2 * BENCH_HARTS, 1);
	bench_refuses(t.plic, "level", 0, 1);
	bench_refuses(t.plic, "pending", 0, 3);
	bench_refuses(t.plic, "claimed", 0, 1);
	bench_refuses(t.plic, "claimed", 1, 1 << 8);
	bench_refuses(t.plic, "enable", 0, 1);
	bench_refuses(t.plic, "enable", 2 * BENCH_HARTS * 3 + 1, 1);
}

static void reset_lowers_everything(void **state)
{
	(void)state;
	listen(1, 10, 7);
	wire(10, true);
	assert_true(external(1));
	device_reset(t.plic);
	assert_false(external(1));
	assert_int_equal(in(PENDING(0)), 0);
	assert_int_equal(in(PRIORITY(10)), 0);
	assert_int_equal(in(ENABLE(1, 0)), 0);
}

static void *pulse(void *source)
{
	for (unsigned i = 0; i < 2000; i++) {
		wire((unsigned)(uintptr_t)source, true);
		wire((unsigned)(uintptr_t)source, false);
	}
	return NULL;
}

/* Devices on other threads drive wires while a guest claims and completes: nothing is lost or invented. */
static void wires_from_other_threads(void **state)
{
	pthread_t threads[2];
	unsigned seen[3] = {0}, source;

	(void)state;
	listen(1, 1, 1);
	listen(1, 2, 1);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pulse, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 2000; i++) {
		source = in(CLAIM(1));
		assert_in_range(source, 0, 2);
		seen[source]++;
		out(CLAIM(1), source);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	while ((source = in(CLAIM(1))) != 0) {
		seen[source]++;
		out(CLAIM(1), source);
	}
	/* A wire that stays up while others sleep may be claimed each time, and each once more at the end. */
	assert_in_range(seen[1], 1, 2001);
	assert_in_range(seen[2], 1, 2001);
	assert_false(external(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers_keep_what_exists, setup, teardown),
		cmocka_unit_test_setup_teardown(only_words, setup, teardown),
		cmocka_unit_test_setup_teardown(every_source_reaches_its_context, setup, teardown),
		cmocka_unit_test_setup_teardown(gateway_opens_again_on_completion, setup, teardown),
		cmocka_unit_test_setup_teardown(request_outlives_its_wire, setup, teardown),
		cmocka_unit_test_setup_teardown(highest_priority_then_lowest_number, setup, teardown),
		cmocka_unit_test_setup_teardown(threshold_masks_the_wire_not_the_claim, setup, teardown),
		cmocka_unit_test_setup_teardown(completion_needs_an_enabled_source, setup, teardown),
		cmocka_unit_test_setup_teardown(one_of_several_contexts_claims, setup, teardown),
		cmocka_unit_test_setup_teardown(state_moves_with_a_claim_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_state_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_lowers_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(wires_from_other_threads, setup, teardown),
	};

	return cmocka_run_group_tests_name("plic", tests, NULL, NULL);
}
