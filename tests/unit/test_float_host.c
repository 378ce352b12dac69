/* The host path of riscv/float.h against the integer implementation, bit by bit: results, flags, and MXCSR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "float_cases.h"
#include "riscv/float.h"

struct tally {
	unsigned long cases;
	unsigned long differences;
};

static void compare(const struct float_case *c, void *context)
{
	struct tally *tally = context;
	/* None, and then NX and nothing else: the host path's short way. */
	for (unsigned accrued = 0; accrued <= FLOAT_NX; accrued += FLOAT_NX) {
		struct float_outcome expected = float_perform_soft(c, accrued);
		struct float_outcome actual = float_perform(c, accrued);
		tally->cases++;
		if (expected.value == actual.value && expected.flags == actual.flags)
			continue;
		if (tally->differences++ < 20)
			float_case_print(c, expected, actual);
	}
}

static void compare_operations(int bits, enum float_shape first, enum float_shape last)
{
	struct tally tally = { 0 };

	for (enum float_operation i = 0; i < FLOAT_OPERATION_COUNT; i++) {
		const struct float_operation_info *info = &float_operations[i];
		if (info->bits == bits && info->shape >= first && info->shape <= last)
			float_cases_of(i, 6000, compare, &tally);
	}
	assert_int_equal(tally.differences, 0);
	assert_true(tally.cases > 1000);
}

static void arithmetic_agrees_32(void **state)
{
	(void)state;
	compare_operations(32, F_F, FFF_F);
}

static void arithmetic_agrees_64(void **state)
{
	(void)state;
	compare_operations(64, F_F, FFF_F);
}

static void conversions_agree_32(void **state)
{
	(void)state;
	compare_operations(32, F_X32, V_F);
}

static void conversions_agree_64(void **state)
{
	(void)state;
	compare_operations(64, F_X32, V_F);
}

#ifdef __x86_64__
#include <xmmintrin.h>

#define MXCSR_CONTROL 0xffc0u

static void mxcsr_control_is_kept(void **state)
{
	unsigned before = _mm_getcsr() & MXCSR_CONTROL;

	(void)state;
	for (unsigned rm = FLOAT_RNE; rm <= FLOAT_RMM; rm++) {
		const struct float_case third = { .operation = FLOAT_64_div, .rounding = rm,
						  .a = 0x3ff0000000000000, .b = 0x4008000000000000 };
		const struct float_case cast = { .operation = FLOAT_64_to_i32, .rounding = rm, .a = third.a };
		float_perform(&third, 0);
		assert_int_equal(_mm_getcsr() & MXCSR_CONTROL, before);
		float_perform(&cast, 0);
		assert_int_equal(_mm_getcsr() & MXCSR_CONTROL, before);
	}
}

/* What other code has raised in MXCSR is not the guest's. */
static void mxcsr_status_is_not_reported(void **state)
{
	const struct float_case sum = { .operation = FLOAT_32_add, .a = float_box32(1), .b = float_box32(2) };
	unsigned before = _mm_getcsr();

	(void)state;
	_mm_setcsr(before | 0x3f);
	struct float_outcome outcome = float_perform(&sum, 0);
	_mm_setcsr(before);
	assert_int_equal(outcome.value, float_box32(3));
	assert_int_equal(outcome.flags, 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic_agrees_32),
		cmocka_unit_test(arithmetic_agrees_64),
		cmocka_unit_test(conversions_agree_32),
		cmocka_unit_test(conversions_agree_64),
#ifdef __x86_64__
		cmocka_unit_test(mxcsr_control_is_kept),
		cmocka_unit_test(mxcsr_status_is_not_reported),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
