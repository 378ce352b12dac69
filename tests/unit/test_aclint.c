#include "device_bench.h"

#define BASE        UINT64_C(0x2000000)
#define MSIP(h)     (BASE + 4 * (uint64_t)(h))
#define MTIMECMP(h) (BASE + 0x4000 + 8 * (uint64_t)(h))
#define MTIME       (BASE + 0xbff8)
#define SSWI        UINT64_C(0x2f00000)

static struct {
	struct bench bench;
	struct device *aclint, *sswi;
	unsigned kicks[BENCH_HARTS];
} t;

static void count_kick(struct hart *hart)
{
	t.kicks[hart->cpu.id]++;
}

static const struct hart_engine_ops counting = {.kick = count_kick};

static struct device *new_aclint(struct hart_cluster *cluster)
{
	struct device *aclint;
	struct error e;

	assert_int_equal(aclint_new(&aclint, "aclint", gpa(BASE), cluster, &e), 0);
	return aclint;
}

static int setup(void **state)
{
	struct error e;

	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	t.aclint = new_aclint(&t.bench.cluster);
	bench_add(&t.bench, t.aclint);
	assert_int_equal(aclint_sswi_new(&t.sswi, "sswi", gpa(SSWI), &t.bench.cluster, &e), 0);
	bench_add(&t.bench, t.sswi);
	for (unsigned i = 0; i < BENCH_HARTS; i++)
		t.bench.harts[i].engine = &counting;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_free(t.aclint);
	device_free(t.sswi);
	return 0;
}

static uint64_t in(uint64_t address, unsigned size)
{
	return bench_read(&t.bench, address, size);
}

static void out(uint64_t address, uint64_t value, unsigned size)
{
	bench_write(&t.bench, address, value, size);
}

static void software_interrupts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BENCH_HARTS; i++) {
		out(MSIP(i), 0xffffffff, 4);
		assert_int_equal(in(MSIP(i), 4), 1);
		for (unsigned other = 0; other < BENCH_HARTS; other++)
			assert_int_equal(bench_pending(&t.bench, other, IRQ_MSI), other == i);
		assert_int_equal(t.kicks[i], 1);
		out(MSIP(i), 0xfffffffe, 4);
		assert_int_equal(in(MSIP(i), 4), 0);
		assert_false(bench_pending(&t.bench, i, IRQ_MSI));
	}
	out(MSIP(BENCH_HARTS), 1, 4);
	assert_int_equal(in(MSIP(BENCH_HARTS), 4), 0);
}

static void doublewords_are_two_software_interrupts(void **state)
{
	(void)state;
	out(MSIP(2), UINT64_C(0x100000001), 8);
	assert_true(bench_pending(&t.bench, 2, IRQ_MSI) && bench_pending(&t.bench, 3, IRQ_MSI));
	assert_int_equal(in(MSIP(2), 8), UINT64_C(0x100000001));
	out(MSIP(3), 0, 4);
	assert_int_equal(in(MSIP(2), 8), 1);
	assert_true(bench_pending(&t.bench, 2, IRQ_MSI));
}

static void time_is_the_clock(void **state)
{
	(void)state;
	clock_set(&t.bench.clock, UINT64_C(0x123456789a));
	assert_int_equal(in(MTIME, 8), UINT64_C(0x123456789a));
	assert_int_equal(in(MTIME, 4), 0x3456789a);
	assert_int_equal(in(MTIME + 4, 4), 0x12);
}

static void compare_drives_the_timer_line(void **state)
{
	(void)state;
	clock_set(&t.bench.clock, 1000);
	for (unsigned i = 0; i < BENCH_HARTS; i++) {
		assert_int_equal(in(MTIMECMP(i), 8), UINT64_MAX);
		assert_false(bench_pending(&t.bench, i, IRQ_MTI));
		out(MTIMECMP(i), 1000, 8);
		assert_true(bench_pending(&t.bench, i, IRQ_MTI));
		out(MTIMECMP(i), 1001 + i, 8);
		assert_false(bench_pending(&t.bench, i, IRQ_MTI));
		assert_int_equal(atomic_load(&t.bench.harts[i].mtimecmp), 1001 + i);
		assert_int_equal(in(MTIMECMP(i), 8), 1001 + i);
		assert_true(t.kicks[i] >= 2);
	}
	assert_int_equal(hart_update_timers(&t.bench.harts[1], 1000), 1002);
	hart_update_timers(&t.bench.harts[1], 1002);
	assert_true(bench_pending(&t.bench, 1, IRQ_MTI));
	out(MTIMECMP(BENCH_HARTS), 0, 8);
	assert_int_equal(in(MTIMECMP(BENCH_HARTS), 8), 0);
}

static void compare_in_halves(void **state)
{
	(void)state;
	clock_set(&t.bench.clock, UINT64_C(5) << 32);
	out(MTIMECMP(1) + 4, 0xffffffff, 4);
	out(MTIMECMP(1), 0x80000001, 4);
	out(MTIMECMP(1) + 4, 0x6, 4);
	assert_int_equal(in(MTIMECMP(1), 8), UINT64_C(0x680000001));
	assert_int_equal(in(MTIMECMP(1), 4), 0x80000001);
	assert_int_equal(in(MTIMECMP(1) + 4, 4), 6);
	assert_false(bench_pending(&t.bench, 1, IRQ_MTI));
	out(MTIMECMP(1) + 4, 0x4, 4);
	assert_true(bench_pending(&t.bench, 1, IRQ_MTI));
}

/* The clock itself is not the device's to set; mtime and mtimecmp move together. */
static void writing_time_moves_the_comparison(void **state)
{
	(void)state;
	clock_set(&t.bench.clock, 5000);
	out(MTIMECMP(0), 100, 8);
	out(MTIMECMP(1), UINT64_MAX, 8);
	assert_true(bench_pending(&t.bench, 0, IRQ_MTI));
	out(MTIME, 40, 8);
	assert_int_equal(in(MTIME, 8), 40);
	assert_int_equal(clock_ticks(&t.bench.clock), 5000);
	assert_false(bench_pending(&t.bench, 0, IRQ_MTI));
	assert_int_equal(atomic_load(&t.bench.harts[0].mtimecmp), 5060);
	assert_int_equal(atomic_load(&t.bench.harts[1].mtimecmp), UINT64_MAX);
	assert_int_equal(in(MTIMECMP(0), 8), 100);
	clock_set(&t.bench.clock, 5060);
	assert_int_equal(in(MTIME, 8), 100);
	out(MTIME + 4, 7, 4);
	assert_int_equal(in(MTIME, 8), UINT64_C(0x700000064));
	assert_true(bench_pending(&t.bench, 0, IRQ_MTI));
	assert_int_equal(hart_update_timers(&t.bench.harts[0], 5060), UINT64_MAX);
	assert_true(bench_pending(&t.bench, 0, IRQ_MTI));
}

static void refused_sizes(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(bus_read(&t.bench.bus, gpa(MTIME), 1, &value), -EFAULT);
	assert_int_equal(bus_write(&t.bench.bus, gpa(MSIP(0)), 2, 1), -EFAULT);
	assert_int_equal(bus_read(&t.bench.bus, gpa(SSWI), 1, &value), -EFAULT);
	assert_int_equal(in(BASE + 0xbff0, 8), 0);
	assert_int_equal(in(BASE + 0xfff8, 8), 0);
	out(BASE + 0xfffc, 1, 4);
}

static void supervisor_software_interrupts(void **state)
{
	(void)state;
	out(SSWI + 4, 1, 4);
	assert_true(bench_pending(&t.bench, 1, IRQ_SSI));
	assert_int_equal(t.kicks[1], 1);
	assert_int_equal(in(SSWI + 4, 4), 0);
	out(SSWI + 4, 0, 4);
	assert_true(bench_pending(&t.bench, 1, IRQ_SSI));
	out(SSWI + 8, UINT64_C(1) << 32, 8);
	assert_false(bench_pending(&t.bench, 2, IRQ_SSI));
	assert_true(bench_pending(&t.bench, 3, IRQ_SSI));
	out(SSWI + 4 * BENCH_HARTS, 1, 4);
	out(SSWI + 0x3ff8, UINT64_MAX, 8);
	assert_false(bench_pending(&t.bench, 0, IRQ_SSI));
}

static void state_moves(void **state)
{
	struct bench other;
	struct saved saved;
	struct device *copy;

	(void)state;
	clock_set(&t.bench.clock, 900);
	out(MTIME, 50, 8);
	out(MTIMECMP(2), 60, 8);
	out(MTIMECMP(3), 40, 8);
	out(MSIP(1), 1, 4);
	saved = bench_save(t.aclint);
	bench_init(&other);
	clock_set(&other.clock, 900);
	copy = new_aclint(&other.cluster);
	bench_add(&other, copy);
	bench_load(copy, &saved);
	assert_int_equal(bench_read(&other, MTIME, 8), 50);
	assert_int_equal(atomic_load(&other.harts[2].mtimecmp), 910);
	assert_false(bench_pending(&other, 2, IRQ_MTI));
	assert_true(bench_pending(&other, 3, IRQ_MTI));
	assert_true(bench_pending(&other, 1, IRQ_MSI));
	assert_false(bench_pending(&other, 0, IRQ_MSI));
	free(saved.payload);
	device_free(copy);
}

static void impossible_state_is_refused(void **state)
{
	(void)state;
	bench_refuses(t.aclint, "msip", 0, 2);
	bench_refuses(t.aclint, "msip", BENCH_HARTS, 1);
}

static void reset_lowers_everything(void **state)
{
	(void)state;
	out(MTIME, 50, 8);
	out(MTIMECMP(0), 1, 8);
	out(MSIP(0), 1, 4);
	device_reset(t.aclint);
	assert_int_equal(hart_mip(&t.bench.harts[0]), 0);
	assert_int_equal(in(MTIME, 8), clock_ticks(&t.bench.clock));
	assert_int_equal(in(MTIMECMP(0), 8), UINT64_MAX);
	assert_int_equal(in(MSIP(0), 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(software_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(doublewords_are_two_software_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(time_is_the_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(compare_drives_the_timer_line, setup, teardown),
		cmocka_unit_test_setup_teardown(compare_in_halves, setup, teardown),
		cmocka_unit_test_setup_teardown(writing_time_moves_the_comparison, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(supervisor_software_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(state_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_state_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_lowers_everything, setup, teardown),
	};

	return cmocka_run_group_tests_name("aclint", tests, NULL, NULL);
}
