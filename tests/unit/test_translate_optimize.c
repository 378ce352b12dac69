/*
 * Passes over a unit: what is one operation instead of two, what is not done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir_bench.h"

/* How assemblers write copies, constants and extensions. */
static void test_alone(void **state)
{
	struct ir *copy, *constant, *sum, *extended, *upper, *cut;

	begin();
	copy = add(IR_ADD, 8, 10, IR_ZERO, 11, 0);
	constant = add(IR_ADD, 8, 12, IR_ZERO, IR_CONST, -5);
	sum = add(IR_ADD, 4, 13, 12, IR_CONST, 7);
	extended = add(IR_ADD, 4, 14, 14, IR_CONST, 0);
	upper = add(IR_SHL, 8, 15, 15, IR_CONST, 32);
	cut = add(IR_SHR, 8, 15, 15, IR_CONST, 32);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(copy->a, 11);
	assert_int_equal(copy->b, IR_CONST);
	assert_int_equal(copy->imm, 0);
	assert_int_equal(constant->op, IR_SET);
	assert_int_equal(constant->imm, -5);
	assert_int_equal(sum->op, IR_SET);
	assert_int_equal(sum->imm, 2);
	assert_int_equal(extended->op, IR_SIGN_EXTEND);
	assert_int_equal(upper->dst, IR_ZERO);
	assert_int_equal(cut->op, IR_ZERO_EXTEND);
	assert_int_equal(cut->size, 4);
	(void)state;
}

static void rotate_parts(unsigned source, int64_t left)
{
	add(IR_SHL, 4, 6, source, IR_CONST, left);
	add(IR_SHR, 4, 7, source, IR_CONST, 25);
}

static void test_rotation(void **state)
{
	struct ir *whole;

	begin();
	rotate_parts(10, 7);
	whole = add(IR_OR, 8, 6, 6, 7, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(whole->op, IR_ROR);
	assert_int_equal(whole->size, 4);
	assert_int_equal(whole->a, 10);
	assert_int_equal(whole->imm, 25);
	/* The shift whose result the rotation overwrites is not done, the other is. */
	assert_int_equal(unit.ops[0].dst, IR_ZERO);
	assert_int_equal(unit.ops[1].dst, 7);

	/* Not all of the word, another source, a source that changed in between. */
	begin();
	rotate_parts(10, 6);
	whole = add(IR_OR, 8, 6, 6, 7, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(whole->op, IR_OR);
	begin();
	add(IR_SHL, 4, 6, 10, IR_CONST, 7);
	add(IR_SHR, 4, 7, 11, IR_CONST, 25);
	whole = add(IR_OR, 8, 6, 6, 7, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(whole->op, IR_OR);
	begin();
	rotate_parts(10, 7);
	plus(10, 10, 1);
	whole = add(IR_OR, 8, 6, 6, 7, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(whole->op, IR_OR);
	(void)state;
}

/* One of the shifts overwrites what both are made from: the one whose register the whole goes to rotates. */
static void test_rotation_in_place(void **state)
{
	struct ir *left, *right, *whole;

	for (unsigned dst = 6; dst <= 8; dst++) {
		begin();
		left = add(IR_SHL, 8, 6, 7, IR_CONST, 13);
		right = add(IR_SHR, 8, 7, 7, IR_CONST, 51);
		whole = add(IR_XOR, 8, dst, 7, 6, 0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(whole->dst, dst == 8 ? 8 : IR_ZERO);
		assert_int_equal(left->op, dst == 6 ? IR_ROR : IR_SHL);
		assert_int_equal(right->op, dst == 7 ? IR_ROR : IR_SHR);
		if (dst != 8)
			assert_int_equal((dst == 6 ? left : right)->imm, 51);
	}
	/* What lies in between reads the part, or may have to show it. */
	for (unsigned shown = 0; shown < 2; shown++) {
		begin();
		left = add(IR_SHL, 8, 6, 7, IR_CONST, 13);
		right = add(IR_SHR, 8, 7, 7, IR_CONST, 51);
		if (shown)
			load(8, 12, 2, 0);
		else
			plus(9, 7, 1);
		whole = add(IR_OR, 8, 7, 7, 6, 0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(whole->op, IR_OR);
		assert_int_equal(right->op, IR_SHR);
	}
	(void)state;
}

/* The shift of an index is part of the sum with the array's place, also when it was extended before. */
static void test_index(void **state)
{
	struct ir *shift, *right, *sum;

	begin();
	shift = add(IR_SHL, 8, 15, 15, IR_CONST, 3);
	sum = add(IR_ADD, 8, 15, 14, 15, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(shift->dst, IR_ZERO);
	assert_int_equal(sum->op, IR_SHIFT_ADD);
	assert_int_equal(sum->size, 8);
	assert_int_equal(sum->imm, 3);
	assert_int_equal(sum->a, 15);
	assert_int_equal(sum->b, 14);

	begin();
	shift = add(IR_SHL, 8, 15, 13, IR_CONST, 32);
	right = add(IR_SHR, 8, 15, 15, IR_CONST, 30);
	sum = add(IR_ADD, 8, 15, 15, 14, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(shift->dst, IR_ZERO);
	assert_int_equal(right->dst, IR_ZERO);
	assert_int_equal(sum->op, IR_SHIFT_ADD);
	assert_int_equal(sum->size, 4);
	assert_int_equal(sum->imm, 2);
	assert_int_equal(sum->a, 13);

	/* Too far, another destination, a load that may have to show the index. */
	for (unsigned i = 0; i < 3; i++) {
		begin();
		shift = add(IR_SHL, 8, 15, 15, IR_CONST, i == 0 ? 4 : 2);
		if (i == 2)
			load(8, 12, 2, 0);
		sum = add(IR_ADD, 8, i == 1 ? 16 : 15, 15, 14, 0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(sum->op, IR_ADD);
		assert_int_equal(shift->dst, 15);
	}
	(void)state;
}

/* A result that an access between may have to show is done late, if it still can be. */
static void test_late(void **state)
{
	struct ir *unread, *shown, *lost, *own;

	begin();
	unread = add(IR_XOR, 8, 5, 10, 11, 0);
	shown = add(IR_AND, 8, 5, 10, 11, 0);
	load(8, 12, 2, 0);
	add(IR_SET, 8, 5, IR_ZERO, IR_ZERO, 1);
	lost = add(IR_AND, 8, 6, 10, 11, 0);
	plus(10, 13, 1);
	load(8, 12, 3, 0);
	own = add(IR_SUB, 8, 6, 10, 11, 0);
	add(IR_SUB, 8, 6, 6, 11, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unread->dst, IR_ZERO);
	assert_int_equal(shown->dst, 5);
	assert_int_equal(shown->late, 4);
	assert_int_equal(lost->dst, 6);
	assert_int_equal(lost->late, 0);
	assert_int_equal(own->dst, 6);
	assert_int_equal(own->late, 0);
	(void)state;
}

/* Nothing is left out where a way within the unit begins or ends. */
static void test_barriers(void **state)
{
	struct ir *before, *last;

	begin();
	before = add(IR_AND, 8, 5, 10, 11, 0);
	branch(12);
	add(IR_SET, 8, 5, IR_ZERO, IR_ZERO, 1);
	last = add(IR_SET, 8, 5, IR_ZERO, IR_ZERO, 2);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unit.ops[1].inside, 4);
	assert_int_equal(before->dst, 5);
	assert_int_equal(before->late, 0);
	assert_int_equal(last->dst, 5);
	(void)state;
}

/* A word whose upper half nobody looks at is not extended before it is overwritten; where something lies between that
 * could show it, the operation says until when. */
static void test_narrow(void **state)
{
	struct ir *first, *mixed, *last;

	begin();
	first = add(IR_ADD, 4, 10, 11, 12, 0);
	load(4, 13, 14, 0)->is_signed = true;
	mixed = add(IR_XOR, 8, 10, 10, 13, 0);
	last = add(IR_ADD, 4, 10, 10, 13, 0);
	store(8, 14, 10, 8);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(first->narrow, 3);
	assert_int_equal(mixed->narrow, 4);
	assert_int_equal(last->narrow, 0);
	(void)state;
}

/* What may have more than a word in it is not narrow, nor what is compared, or used as an address. */
static void test_not_narrow(void **state)
{
	struct ir *sum, *unknown, *compared, *address;

	begin();
	sum = add(IR_ADD, 8, 10, 11, 12, 0);
	unknown = add(IR_XOR, 8, 13, 11, 12, 0);
	compared = add(IR_ADD, 4, 5, 11, 12, 0);
	address = add(IR_ADD, 4, 14, 11, 12, 0);
	branch(-8);
	load(4, 15, 14, 0);
	add(IR_ADD, 4, 10, 10, 15, 0);
	add(IR_ADD, 4, 13, 13, 15, 0);
	add(IR_ADD, 4, 5, 5, 15, 0);
	add(IR_ADD, 4, 14, 14, 15, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(sum->narrow, 0);
	assert_int_equal(unknown->narrow, 0);
	assert_int_equal(compared->narrow, 0);
	assert_int_equal(address->narrow, 0);
	(void)state;
}

/* The end of a loop shows everything. */
static void test_narrow_in_loops(void **state)
{
	struct ir *sum, *extension;

	begin();
	plus(14, 14, 4);
	sum = add(IR_ADD, 4, 10, 10, 12, 0);
	extension = add(IR_SIGN_EXTEND, 4, 11, 10, IR_ZERO, 0);
	branch(0);
	add(IR_ADD, 4, 10, 12, 13, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(sum->narrow, 0);
	assert_int_equal(extension->op, IR_ADD);
	assert_int_equal(extension->size, 8);
	(void)state;
}

/* Between reading the float flags and writing them back: what raises none on its way, but for a way out behind it that might
 * show them. */
static void test_quiet(void **state)
{
	struct ir *equal, *round, *from, *written;

	begin();
	add(IR_FLAGS_READ, 8, 15, IR_ZERO, IR_ZERO, 0);
	equal = add(IR_FLOAT_EQUAL, 4, 14, 1, 1, 0);
	load(8, 12, 10, 0);
	round = add(IR_FLOAT_TO_INT, 4, 14, 1, 0, 4);
	from = add(IR_FLOAT_FROM_INT, 4, 2, 14, 0, 4);
	add(IR_FLOAT_SIGN, 4, 1, 2, 1, 0);
	written = add(IR_FLAGS_WRITE, 8, IR_ZERO, 15, IR_ZERO, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_true(equal->quiet && round->quiet && from->quiet && written->quiet);
	assert_false(unit.ops[2].quiet || unit.ops[5].quiet);
	(void)state;
}

static bool is_quiet_with(struct ir between)
{
	begin();
	add(IR_FLAGS_READ, 8, 15, IR_ZERO, IR_ZERO, 0);
	add(IR_FLOAT_TO_INT, 4, 14, 1, 0, 4);
	*add(IR_ADD, 8, 0, 0, 0, 0) = between;
	add(IR_FLAGS_WRITE, 8, IR_ZERO, 15, IR_ZERO, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	return unit.ops[1].quiet && unit.ops[3].quiet;
}

static void test_not_quiet(void **state)
{
	struct ir ir = {.op = IR_ADD, .size = 8, .dst = 13, .a = 14, .b = IR_CONST, .imm = 1, .at = 8, .before = 2};

	assert_true(is_quiet_with(ir));
	ir.dst = 15; /* the flags themselves */
	assert_false(is_quiet_with(ir));
	ir = (struct ir){.op = IR_LOAD, .size = 8, .dst = 13, .a = 12, .at = 8, .before = 2};
	assert_false(is_quiet_with(ir));
	ir = (struct ir){.op = IR_FLOAT_ADD, .size = 8, .dst = 3, .a = 4, .b = 5, .at = 8, .before = 2};
	assert_false(is_quiet_with(ir));
	ir = (struct ir){.op = IR_FLOAT_TO_INT, .size = 4, .dst = 13, .a = 1, .imm = 4, .at = 8, .before = 2};
	assert_false(is_quiet_with(ir));
	/* One single is known to be boxed, the other is not. */
	ir = (struct ir){.op = IR_FLOAT_SIGN, .size = 4, .dst = 3, .a = 1, .b = 1, .at = 8, .before = 2};
	assert_true(is_quiet_with(ir));
	ir.b = 4;
	assert_false(is_quiet_with(ir));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone), cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_rotation_in_place), cmocka_unit_test(test_index), cmocka_unit_test(test_late),
		cmocka_unit_test(test_barriers), cmocka_unit_test(test_narrow), cmocka_unit_test(test_not_narrow),
		cmocka_unit_test(test_narrow_in_loops), cmocka_unit_test(test_quiet), cmocka_unit_test(test_not_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
