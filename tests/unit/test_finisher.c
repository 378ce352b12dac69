#include "device_bench.h"

#define BASE UINT64_C(0x100000)

static struct {
	struct bench bench;
	struct device *finisher;
	unsigned requests;
	enum power_action action;
	unsigned code;
} t;

static void power(void *machine, enum power_action action, unsigned code)
{
	assert_ptr_equal(machine, &t);
	t.requests++;
	t.action = action;
	t.code = code;
}

static int setup(void **state)
{
	struct power_sink sink = {.request = power, .machine = &t};
	struct error e;

	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	assert_int_equal(finisher_new(&t.finisher, "finisher", gpa(BASE), sink, &e), 0);
	bench_add(&t.bench, t.finisher);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_free(t.finisher);
	return 0;
}

static void requests(void **state)
{
	static const struct {
		uint32_t value;
		enum power_action action;
		unsigned code;
	} cases[] = {
		{0x5555, POWER_OFF, 0},           {0x3333, POWER_OFF, 0},
		{0x3333 | 7 << 16, POWER_OFF, 7}, {0x3333 | 255 << 16, POWER_OFF, 255},
		{0x1003333, POWER_OFF, 1},        {0xffff3333, POWER_OFF, 255},
		{0x1023333, POWER_OFF, 2},        {0x7777, POWER_RESET, 0},
		{0x00015555, POWER_OFF, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bench_write(&t.bench, BASE, cases[i].value, 4);
		assert_int_equal(t.requests, i + 1);
		assert_int_equal(t.action, cases[i].action);
		assert_int_equal(t.code, cases[i].code);
	}
}

static void halfword(void **state)
{
	(void)state;
	bench_write(&t.bench, BASE, 0x7777, 2);
	assert_int_equal(t.requests, 1);
	assert_int_equal(t.action, POWER_RESET);
}

static void anything_else_is_ignored(void **state)
{
	uint64_t value;

	(void)state;
	bench_write(&t.bench, BASE, 0, 4);
	bench_write(&t.bench, BASE, 0x55555554, 4);
	bench_write(&t.bench, BASE + 4, 0x5555, 4);
	bench_write(&t.bench, BASE + 0xffe, 0x5555, 2);
	assert_int_equal(bus_write(&t.bench.bus, gpa(BASE), 8, 0x5555), -EFAULT);
	assert_int_equal(bus_read(&t.bench.bus, gpa(BASE), 1, &value), -EFAULT);
	assert_int_equal(bench_read(&t.bench, BASE, 4), 0);
	assert_int_equal(t.requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, setup, teardown),
		cmocka_unit_test_setup_teardown(halfword, setup, teardown),
		cmocka_unit_test_setup_teardown(anything_else_is_ignored, setup, teardown),
	};

	return cmocka_run_group_tests_name("finisher", tests, NULL, NULL);
}
