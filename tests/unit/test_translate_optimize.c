/*
 * Passes over a unit: which accesses share a check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/translate/optimize.h"

static struct ir_unit unit;

static void begin(void)
{
	unit.count = unit.instructions = 0;
}

static struct ir *add(enum ir_op op, unsigned size, unsigned dst, unsigned a, unsigned b, int64_t imm)
{
	struct ir *ir = &unit.ops[unit.count++];

	*ir = (struct ir){.op = (uint8_t)op,
			  .size = (uint8_t)size,
			  .dst = (uint8_t)dst,
			  .a = (uint8_t)a,
			  .b = (uint8_t)b,
			  .imm = imm,
			  .before = (uint16_t)unit.instructions++};
	return ir;
}

static struct ir *load(unsigned size, unsigned dst, unsigned a, int64_t imm)
{
	return add(IR_LOAD, size, dst, a, IR_ZERO, imm);
}

static struct ir *store(unsigned size, unsigned a, unsigned b, int64_t imm)
{
	return add(IR_STORE, size, IR_ZERO, a, b, imm);
}

static void plus(unsigned dst, unsigned a, int64_t imm)
{
	add(IR_ADD, 8, dst, a, IR_CONST, imm);
}

static void expect(const struct ir *ir, unsigned group, bool leads, unsigned low)
{
	assert_int_equal(ir->group, group);
	assert_int_equal(ir->leads, leads);
	assert_int_equal(ir->low, low);
}

/* A function's entry and exit: the frame is one group, though sp moves. */
static void test_frame(void **state)
{
	struct ir *first, *second, *last;

	begin();
	plus(2, 2, -48);
	first = store(8, 2, 8, 32);
	second = store(8, 2, 1, 40);
	plus(2, 2, 48);
	last = load(4, 10, 2, -48);
	optimize(&unit);
	expect(first, 1, true, 32);
	expect(second, 1, false, 40);
	expect(last, 1, false, 0);
	assert_int_equal(first->span, 48);
	(void)state;
}

/* A load's check says nothing of stores, a store's serves loads. */
static void test_kinds(void **state)
{
	struct ir *ops[5];

	begin();
	ops[0] = load(8, 11, 10, 0);
	ops[1] = load(8, 12, 10, 8);
	ops[2] = store(8, 10, 11, 16);
	ops[3] = load(8, 13, 10, 24);
	ops[4] = store(1, 10, 11, 0);
	optimize(&unit);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 8);
	expect(ops[2], 2, true, 16);
	expect(ops[3], 2, false, 24);
	expect(ops[4], 2, false, 0);
	assert_int_equal(ops[0]->span, 16);
	assert_int_equal(ops[2]->span, 32);
	(void)state;
}

/* A base that is written otherwise is another base; a copy is the same. */
static void test_bases(void **state)
{
	struct ir *ops[4];

	begin();
	ops[0] = load(8, 12, 10, 0);
	plus(11, 10, 100);
	ops[1] = load(8, 10, 10, 8);
	ops[2] = load(8, 13, 10, 16);
	ops[3] = load(2, 13, 11, -2);
	optimize(&unit);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 8);
	expect(ops[2], 0, false, 0);
	expect(ops[3], 1, false, 98);
	assert_int_equal(ops[0]->span, 100);
	(void)state;
}

/* Arithmetic of 32 bits is no distance. */
static void test_words(void **state)
{
	struct ir *ops[2];

	begin();
	ops[0] = load(8, 12, 10, 0);
	add(IR_ADD, 4, 10, 10, IR_CONST, 8);
	ops[1] = load(8, 12, 10, 0);
	optimize(&unit);
	expect(ops[0], 0, false, 0);
	expect(ops[1], 0, false, 0);
	(void)state;
}

/* What is far apart is checked apart, and C in between may change the address space. */
static void test_limits(void **state)
{
	struct ir *ops[6];

	begin();
	ops[0] = load(8, 12, 2, 0);
	ops[1] = load(8, 12, 2, OPTIMIZE_SPAN - 8);
	ops[2] = load(8, 12, 2, OPTIMIZE_SPAN - 7);
	ops[3] = load(8, 12, 2, 2000);
	add(IR_CALL_C, 8, IR_ZERO, IR_ZERO, IR_ZERO, 0);
	ops[4] = load(8, 12, 2, 0);
	ops[5] = load(8, 12, 2, 8);
	optimize(&unit);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, OPTIMIZE_SPAN - 8);
	expect(ops[2], 0, false, 0);
	expect(ops[3], 0, false, 0);
	expect(ops[4], 4, true, 0);
	expect(ops[5], 4, false, 8);
	(void)state;
}

/* More bases than there are groups: the rest is checked one by one. */
static void test_many(void **state)
{
	begin();
	for (unsigned i = 1; i <= IR_GROUPS + 2; i++) {
		load(8, IR_ZERO, i, 0);
		load(8, IR_ZERO, i, 8);
	}
	optimize(&unit);
	for (unsigned i = 0; i < IR_GROUPS; i++)
		expect(&unit.ops[2 * i], i + 1, true, 0);
	for (unsigned i = 2 * IR_GROUPS; i < unit.count; i++)
		expect(&unit.ops[i], 0, false, 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame), cmocka_unit_test(test_kinds),  cmocka_unit_test(test_bases),
		cmocka_unit_test(test_words), cmocka_unit_test(test_limits), cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
