#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checked.h"

static void add_at_the_edge(void **state)
{
	uint64_t out = 7;

	(void)state;
	assert_true(checked_add(UINT64_MAX - 1, 1, &out));
	assert_int_equal(out, UINT64_MAX);
	out = 7;
	assert_false(checked_add(UINT64_MAX, 1, &out));
	assert_int_equal(out, 7);
}

static void multiply_at_the_edge(void **state)
{
	uint64_t out = 7;

	(void)state;
	assert_true(checked_multiply(UINT32_MAX, UINT32_MAX, &out));
	assert_int_equal(out, UINT64_C(0xfffffffe00000001));
	out = 7;
	assert_false(checked_multiply(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
	assert_int_equal(out, 7);
}

static void align_at_the_edge(void **state)
{
	uint64_t out = 7;

	(void)state;
	assert_true(checked_align(4097, 4096, &out));
	assert_int_equal(out, 8192);
	assert_true(checked_align(0, 4096, &out));
	assert_int_equal(out, 0);
	out = 7;
	assert_false(checked_align(UINT64_MAX - 4094, 4096, &out));
	assert_int_equal(out, 7);
}

static void spans(void **state)
{
	(void)state;
	assert_true(checked_span(0, 10, 10));
	assert_true(checked_span(10, 0, 10));
	assert_false(checked_span(11, 0, 10));
	assert_false(checked_span(1, 10, 10));
	assert_false(checked_span(2, UINT64_MAX, 10));
	assert_false(checked_span(UINT64_MAX, 2, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_at_the_edge),
		cmocka_unit_test(multiply_at_the_edge),
		cmocka_unit_test(align_at_the_edge),
		cmocka_unit_test(spans),
	};

	return cmocka_run_group_tests_name("checked", tests, NULL, NULL);
}
