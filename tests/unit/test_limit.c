#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limit.h"

#define SECOND UINT64_C(1000000000)

static void a_burst_then_the_rate(void **state)
{
	struct limit limit;
	uint64_t now = 5 * SECOND, wait;

	(void)state;
	limit_init(&limit, 1000, 500, now);
	assert_int_equal(limit_take(&limit, 500, now), 0);
	assert_int_not_equal(limit_take(&limit, 1, now), 0);
	now += SECOND / 10;
	assert_int_equal(limit_take(&limit, 100, now), 0);
	wait = limit_take(&limit, 1, now);
	assert_in_range(wait, 1, 2);
}

/* More than is there passes, and is owed. */
static void a_debt_is_waited_for(void **state)
{
	struct limit limit;
	uint64_t now = SECOND, wait;

	(void)state;
	limit_init(&limit, 1000, 1, now);
	assert_int_equal(limit_take(&limit, 2001, now), 0);
	wait = limit_take(&limit, 1, now);
	assert_in_range(wait, 2 * SECOND, 2 * SECOND + 2);
	assert_int_not_equal(limit_take(&limit, 1, now + SECOND), 0);
	assert_int_equal(limit_take(&limit, 1, now + 2 * SECOND + SECOND / 100), 0);
}

static void rest_fills_no_more_than_the_burst(void **state)
{
	struct limit limit;

	(void)state;
	limit_init(&limit, 1000, 10, 0);
	assert_int_equal(limit_take(&limit, 10, 1000 * SECOND), 0);
	assert_int_not_equal(limit_take(&limit, 1, 1000 * SECOND), 0);
}

/* Over a long time the mean is the rate, however it is asked for. */
static void the_mean_is_the_rate(void **state)
{
	struct limit limit;
	uint64_t now = 0, taken = 0;

	(void)state;
	limit_init(&limit, 1000, 100, 0);
	while (now < 100 * SECOND) {
		uint64_t wait = limit_take(&limit, 7, now);

		taken += wait ? 0 : 7;
		now += wait;
	}
	assert_in_range(taken, 100000, 100000 + 100 + 7);
}

static void no_rate_is_no_limit(void **state)
{
	struct limit limit;

	(void)state;
	limit_init(&limit, 0, 1, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(limit_take(&limit, UINT64_C(1) << 40, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_then_the_rate),
		cmocka_unit_test(a_debt_is_waited_for),
		cmocka_unit_test(rest_fills_no_more_than_the_burst),
		cmocka_unit_test(the_mean_is_the_rate),
		cmocka_unit_test(no_rate_is_no_limit),
	};

	return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
