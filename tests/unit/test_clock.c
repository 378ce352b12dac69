#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static void starts_stopped_at_zero(void **state)
{
	struct clock clock;

	(void)state;
	clock_init(&clock);
	usleep(2000);
	assert_int_equal(clock_ticks(&clock), 0);
	assert_int_equal(clock_ns_until(&clock, 0), 0);
	assert_int_equal(clock_ns_until(&clock, 1), UINT64_MAX);
}

static void runs_at_its_rate(void **state)
{
	struct clock clock;
	uint64_t before, after, ticks;

	(void)state;
	clock_init(&clock);
	clock_start(&clock);
	before = clock_host_ns();
	usleep(20000);
	ticks = clock_ticks(&clock);
	after = clock_host_ns();
	assert_in_range(ticks, 20000 * (CLOCK_HZ / 1000000),
			(after - before) / CLOCK_NS_PER_TICK + CLOCK_HZ / 100);
}

static void time_stops_while_stopped(void **state)
{
	struct clock clock;
	uint64_t stopped_at;

	(void)state;
	clock_init(&clock);
	clock_set(&clock, 1000);
	clock_start(&clock);
	clock_stop(&clock);
	stopped_at = clock_ticks(&clock);
	usleep(5000);
	assert_int_equal(clock_ticks(&clock), stopped_at);
	clock_stop(&clock);
	assert_int_equal(clock_ticks(&clock), stopped_at);
	clock_start(&clock);
	assert_in_range(clock_ticks(&clock), stopped_at, stopped_at + CLOCK_HZ);
}

static void set_keeps_running_or_stopped(void **state)
{
	struct clock clock;

	(void)state;
	clock_init(&clock);
	clock_set(&clock, 500);
	assert_int_equal(clock_ticks(&clock), 500);
	clock_start(&clock);
	clock_set(&clock, 5 * CLOCK_HZ);
	assert_in_range(clock_ticks(&clock), 5 * CLOCK_HZ, 7 * CLOCK_HZ);
	clock_start(&clock);
	assert_in_range(clock_ticks(&clock), 5 * CLOCK_HZ, 7 * CLOCK_HZ);
}

static void waiting_time(void **state)
{
	struct clock clock;
	uint64_t wait;

	(void)state;
	clock_init(&clock);
	clock_set(&clock, 100);
	clock_start(&clock);
	assert_int_equal(clock_ns_until(&clock, 100), 0);
	wait = clock_ns_until(&clock, 100 + 10 * CLOCK_HZ);
	assert_in_range(wait, UINT64_C(9000000000), UINT64_C(10000000000));
	assert_int_equal(clock_ns_until(&clock, UINT64_MAX), UINT64_MAX);
	assert_int_equal(clock_ns_until(&clock, UINT64_MAX / CLOCK_NS_PER_TICK), UINT64_MAX);
}

static void text(void **state)
{
	char out[CLOCK_TEXT];

	(void)state;
	clock_text(&(struct timespec){.tv_sec = 951782400, .tv_nsec = 123999999}, out);
	assert_string_equal(out, "2000-02-29T00:00:00.123Z");
	clock_seconds_text(951782399, out);
	assert_string_equal(out, "2000-02-28T23:59:59Z");
	clock_seconds_text(0, out);
	assert_string_equal(out, "");
	clock_seconds_text(INT64_MAX, out);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_stopped_at_zero),
		cmocka_unit_test(runs_at_its_rate),
		cmocka_unit_test(time_stops_while_stopped),
		cmocka_unit_test(set_keeps_running_or_stopped),
		cmocka_unit_test(waiting_time),
		cmocka_unit_test(text),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
