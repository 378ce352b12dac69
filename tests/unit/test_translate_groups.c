/*
 * Which accesses of a unit share a check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir_bench.h"

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
	optimize(&unit, OPTIMIZE_TABLES);
	expect(first, 1, true, 32);
	expect(second, 1, false, 40);
	expect(last, 1, false, 0);
	assert_int_equal(first->span, 48);
	(void)state;
}

/* A load leads stores behind a branch, and asks for a page that allows them. */
static void test_kinds(void **state)
{
	struct ir *ops[5];

	begin();
	ops[0] = load(8, 11, 10, 0);
	ops[1] = load(8, 12, 10, 8);
	branch(4000);
	ops[2] = store(8, 10, 11, 16);
	ops[3] = load(8, 13, 10, 24);
	ops[4] = store(1, 10, 11, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 8);
	expect(ops[2], 1, false, 16);
	expect(ops[3], 1, false, 24);
	expect(ops[4], 1, false, 0);
	assert_int_equal(ops[0]->span, 32);
	assert_true(ops[0]->stores);
	(void)state;
}

/* Words of a table that small numbers choose are one group, checked from the register that says where the table is. */
static void test_tables(void **state)
{
	struct ir *ops[4];

	begin();
	add(IR_AND, 8, 11, 11, IR_CONST, 15);
	add(IR_SHL, 8, 11, 11, IR_CONST, 2);
	add(IR_ADD, 8, 11, 10, 11, 0);
	ops[0] = load(4, 12, 11, 8);
	add(IR_SHR, 4, 13, 13, IR_CONST, 28);
	add(IR_ADD, 8, 13, 13, 10, 0);
	ops[1] = store(1, 13, 12, 0);
	ops[2] = load(1, 14, 10, 4);
	add(IR_ADD, 8, 14, 14, 10, 0);
	ops[3] = load(8, 15, 14, 0);
	optimize(&unit, OPTIMIZE_TABLES);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ops[i]->group, 1);
		assert_true(ops[i]->ranged);
	}
	assert_true(ops[0]->leads && ops[0]->stores);
	assert_int_equal(ops[0]->from, 10);
	assert_int_equal(ops[0]->from_low, 0);
	assert_int_equal(ops[0]->span, 8 + 60 + 4);
	/* A byte that may be anything is too much. */
	assert_int_equal(ops[3]->group, 0);
	(void)state;
}

/* Not where no register says where the table is, or one that is not computed in time. */
static void test_no_tables(void **state)
{
	struct ir *first, *second;

	begin();
	add(IR_AND, 8, 11, 11, IR_CONST, 15);
	add(IR_ADD, 8, 11, 10, 11, 0);
	add(IR_XOR, 8, 10, 10, 12, 0);
	first = load(1, 12, 11, 0);
	second = load(1, 13, 11, 16);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(first->group, 0);
	assert_int_equal(second->group, 0);
	(void)state;
}

/* In a loop, which may run over pages that are but read, it does so for those alone that follow for certain. */
static void test_kinds_in_loops(void **state)
{
	struct ir *ops[4];

	begin();
	ops[0] = load(8, 11, 10, 0);
	ops[1] = store(8, 10, 11, 8);
	branch(4000);
	ops[2] = load(8, 12, 13, 0);
	branch(4000);
	ops[3] = store(8, 13, 12, 8);
	branch(0);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 8);
	assert_true(ops[0]->stores);
	assert_false(ops[2]->group == ops[3]->group);
	assert_true(ops[2]->walks && ops[2]->leads && ops[3]->leads);
	assert_false(ops[2]->stores);
	(void)state;
}

/* A load leads the store that follows for certain, and with it stores behind a branch. */
static void test_change(void **state)
{
	struct ir *ops[4];

	begin();
	ops[0] = load(8, 11, 10, 8);
	ops[1] = store(8, 10, 11, 8);
	branch(4000);
	ops[2] = load(8, 12, 10, 16);
	ops[3] = store(8, 10, 12, 16);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 0);
	expect(ops[2], 1, false, 8);
	expect(ops[3], 1, false, 8);
	assert_int_equal(ops[0]->span, 16);
	assert_true(ops[0]->stores);
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
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, 8);
	expect(ops[2], 0, false, 0);
	expect(ops[3], 1, false, 98);
	assert_int_equal(ops[0]->span, 100);
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
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 1, false, OPTIMIZE_SPAN - 8);
	expect(ops[2], 0, false, 0);
	expect(ops[3], 0, false, 0);
	expect(ops[4], 4, true, 0);
	expect(ops[5], 4, false, 8);
	(void)state;
}

/* A branch round a leader, or into the middle of a loop from before a leader, leaves no group behind. */
static void test_ways_round(void **state)
{
	struct ir *ops[6];

	begin();
	ops[0] = load(8, 12, 2, 0);
	branch(16);
	ops[1] = load(8, 12, 10, 0);
	ops[2] = load(8, 13, 10, 8);
	ops[3] = load(8, 13, 10, 16);
	ops[4] = load(8, 14, 2, 8);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unit.ops[1].inside, 5);
	assert_true(ops[3]->label);
	expect(ops[0], 1, true, 0);
	expect(ops[1], 2, true, 0);
	expect(ops[2], 2, false, 8);
	expect(ops[3], 0, false, 0);
	expect(ops[4], 1, false, 8);

	begin();
	branch(16);
	ops[0] = load(8, 12, 10, 0);
	ops[1] = load(8, 13, 10, 8);
	plus(15, 15, 1);
	plus(14, 14, 1);
	branch(8);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unit.ops[0].inside, 5);
	assert_int_equal(unit.ops[5].inside, 3);
	expect(ops[0], 0, false, 0);
	expect(ops[1], 2, true, 0);
	assert_true(ops[1]->walks);
	(void)state;
}

/* What a loop changes is no base of a group from before it; what it does not change is. */
static void test_loops(void **state)
{
	struct ir *ops[4];

	begin();
	ops[0] = load(8, 12, 10, 0);
	ops[1] = load(8, 13, 2, 0);
	ops[2] = load(8, 12, 10, 8);
	ops[3] = load(8, 13, 2, 8);
	plus(10, 10, 16);
	branch(8);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unit.ops[5].inside, 3);
	expect(ops[0], 0, false, 0);
	expect(ops[1], 2, true, 0);
	expect(ops[2], 3, true, 0);
	expect(ops[3], 2, false, 8);
	assert_true(ops[2]->walks);
	assert_false(ops[1]->walks || ops[3]->walks);
	(void)state;
}

/* r11 = an element of `size` bytes at r10 that a byte of r12 chooses, and its place in r13. */
static struct ir *element(unsigned size, unsigned shift, int64_t more)
{
	add(IR_ZERO_EXTEND, 1, 13, 12, IR_ZERO, 0);
	plus(13, 13, more);
	add(IR_SHIFT_ADD, 8, 13, 13, 10, shift);
	return load(size, 11, 13, 0);
}

static void expect_table(const struct ir *ir, unsigned low, unsigned span)
{
	assert_true(ir->table && ir->walks && ir->stays && ir->ranged);
	assert_int_equal(ir->from, 10);
	assert_int_equal(ir->low, low);
	assert_int_equal(ir->span, span);
}

/* Two tables of 256 words behind each other, in a loop: one group, which may lie in two pages, also when these lie apart. */
static void test_large_tables(void **state)
{
	static const enum optimize_tables kinds[] = {OPTIMIZE_TABLES, OPTIMIZE_TABLES_APART};

	for (unsigned i = 0; i < 2; i++) {
		struct ir *first, *second;

		begin();
		first = element(4, 2, 0);
		second = element(4, 2, 256);
		branch(0);
		optimize(&unit, kinds[i]);
		expect(first, 1, true, 0);
		expect(second, 1, false, 1024);
		expect_table(first, 0, 2048);
		expect_table(second, 1024, 2048);
		assert_int_equal(first->apart, kinds[i] == OPTIMIZE_TABLES_APART);
		assert_int_equal(second->apart, kinds[i] == OPTIMIZE_TABLES_APART);
		assert_int_equal(first->aligned, 4);
	}
	(void)state;
}

/* Not out of loops, not where the loop moves it, not where it is larger, and not where that is forbidden. */
static void test_no_large_tables(void **state)
{
	static const struct {
		unsigned shift;
		int64_t moved;
		bool loop;
		enum optimize_tables tables;
	} cases[] = {{3, 0, false, OPTIMIZE_TABLES},
		     {3, 8, true, OPTIMIZE_TABLES},
		     {5, 0, true, OPTIMIZE_TABLES},
		     {3, 0, true, OPTIMIZE_NO_TABLES}};

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ir *ir;

		begin();
		ir = element(8, cases[i].shift, 0);
		if (cases[i].moved)
			plus(10, 10, cases[i].moved);
		branch(cases[i].loop ? 0 : 4000);
		optimize(&unit, cases[i].tables);
		expect(ir, 0, false, 0);
		assert_false(ir->table || ir->walks);
	}
	(void)state;
}

/* Out of loops, checking a whole table is worth the while for some elements; else members of one element are a group. */
static void test_tables_in_a_row(void **state)
{
	for (unsigned count = 2; count <= 3; count++) {
		struct ir *ops[3], *member;

		begin();
		for (unsigned i = 0; i < count; i++) {
			ops[i] = element(4, 3, 0);
			plus(12, 14, 0);
		}
		member = load(4, 14, 13, 4);
		branch(4000);
		optimize(&unit, OPTIMIZE_TABLES);
		for (unsigned i = 0; i + 1 < count; i++) {
			expect(ops[i], count > 2, i == 0 && count > 2, 0);
			assert_int_equal(ops[i]->table, count > 2);
		}
		expect(member, count > 2 ? 1 : count, false, 4);
		assert_int_equal(member->table, count > 2);
		assert_false(ops[0]->walks || ops[0]->apart);
		optimize(&unit, OPTIMIZE_TABLES_APART);
		assert_int_equal(ops[0]->group, 0);
	}
	(void)state;
}

/* What an index tells of itself: masks, shifts, bytes that are loaded, and what is made of these. */
static void test_indices(void **state)
{
	static const struct {
		enum ir_op op;
		unsigned size, b, span;
		int64_t imm;
	} cases[] = {{IR_AND, 8, IR_CONST, 512, 511},       {IR_SHR, 4, IR_CONST, 256, 24}, {IR_SHR, 8, IR_CONST, 1024, 54},
		     {IR_LOAD, 1, IR_ZERO, 256, 0},         {IR_AND, 8, 15, 256, 0},        {IR_XOR, 8, 15, 0, 0},
		     {IR_LOAD, 2, IR_ZERO, 0, 0},           {IR_AND, 8, IR_CONST, 0, 4096}, {IR_SHR, 4, IR_CONST, 0, 2},
		     {IR_ZERO_EXTEND, 2, IR_ZERO, 0, 0}};

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ir *ir;

		begin();
		add(IR_ZERO_EXTEND, 1, 15, 15, IR_ZERO, 0);
		add(cases[i].op, cases[i].size, 12, 14, cases[i].b, cases[i].imm);
		add(IR_ADD, 8, 12, 12, 10, 0);
		ir = load(1, 11, 12, 0);
		branch(0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(ir->table, cases[i].span != 0);
		if (cases[i].span)
			assert_int_equal(ir->span, cases[i].span);
	}
	(void)state;
}

/* An element that may lie in two pages does not say in which it is: bytes that are read as words, words at odd places. */
static void test_crooked_tables(void **state)
{
	static const struct {
		unsigned shift;
		int64_t at;
	} cases[] = {{1, 0}, {2, 2}};

	for (unsigned i = 0; i < 2; i++) {
		struct ir *straight, *crooked;

		begin();
		straight = element(4, 2, 0);
		crooked = element(4, cases[i].shift, 0);
		crooked->imm = cases[i].at;
		branch(0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_true(straight->table && crooked->table);
		optimize(&unit, OPTIMIZE_TABLES_APART);
		assert_int_equal(straight->group, 0);
		assert_int_equal(crooked->group, 0);
		assert_false(straight->table || crooked->table || crooked->walks || crooked->apart);
	}
	(void)state;
}

/* What chooses an element of a table is a value like others where members of the element are accessed. */
static void test_members_of_elements(void **state)
{
	struct ir *first, *second;

	begin();
	first = element(8, 4, 0);
	second = load(8, 11, 13, 8);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(first, 1, true, 0);
	expect(second, 1, false, 8);
	assert_int_equal(first->span, 16);
	assert_int_equal(first->from, 13);
	assert_false(first->table || first->ranged);
	(void)state;
}

/* An index that is masked in the round before, and first before the loop; not if another way back brings something else. */
static void test_carried_tables(void **state)
{
	for (unsigned other = 0; other < 2; other++) {
		struct ir *ir;

		begin();
		add(IR_AND, 8, 11, 12, IR_CONST, 511);
		add(IR_SHIFT_ADD, 8, 13, 11, 10, 1);
		ir = load(2, 12, 13, 4);
		if (other) {
			plus(13, 13, 4);
			add(IR_XOR, 8, 13, 13, 12, 0);
			branch(8);
		}
		add(IR_AND, 8, 11, 12, IR_CONST, 255);
		add(IR_SHIFT_ADD, 8, 13, 11, 10, 2);
		branch(8);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(ir->table, !other);
		if (!other)
			expect_table(ir, 0, 1024);
	}
	(void)state;
}

/* Two ways back bring elements of two parts of a table. */
static void test_ways_that_carry(void **state)
{
	struct ir *ir;

	begin();
	add(IR_AND, 8, 11, 12, IR_CONST, 255);
	add(IR_SHIFT_ADD, 8, 13, 11, 10, 2);
	ir = load(2, 12, 13, 0);
	add(IR_AND, 8, 11, 12, IR_CONST, 255);
	add(IR_SHIFT_ADD, 8, 13, 11, 10, 3);
	plus(13, 13, 1000);
	branch(8);
	add(IR_AND, 8, 11, 12, IR_CONST, 255);
	add(IR_SHIFT_ADD, 8, 13, 11, 10, 2);
	plus(13, 13, -200);
	branch(8);
	optimize(&unit, OPTIMIZE_TABLES);
	expect_table(ir, 0, 200 + 1000 + 255 * 8 + 2);
	assert_int_equal(ir->from_low, -200);
	(void)state;
}

/* The second loop leads back into the first one from behind what moves the base: at the first label it is not known. */
static void test_entangled_loops(void **state)
{
	struct ir *before, *within;

	begin();
	before = load(8, 12, 10, 0);
	within = load(8, 13, 10, 8);
	add(IR_XOR, 8, 14, 12, 13, 0);
	branch(4);
	plus(10, 10, 8);
	branch(8);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(unit.ops[3].inside, 2);
	assert_int_equal(unit.ops[5].inside, 3);
	expect(before, 0, false, 0);
	assert_int_not_equal(within->group, before->group);
	(void)state;
}

/* More values than a sum can tell apart: nothing is known. */
static void test_many_ways(void **state)
{
	for (unsigned ways = 2; ways <= 55; ways += 53) {
		unsigned back = 2 + ways + 47;

		begin();
		load(8, 12, 10, 0);
		load(8, 13, 10, 8);
		for (unsigned i = 0; i < ways; i++)
			branch(4 * (int64_t)(back + i));
		for (unsigned i = 0; i < 47; i++)
			plus(1 + i % 31, 1 + i % 31, 8);
		for (unsigned i = 0; i < 55; i++)
			branch(4 * (int64_t)(2 + ways + i));
		optimize(&unit, OPTIMIZE_TABLES);
		assert_int_equal(unit.ops[0].group, ways == 2);
		assert_int_equal(unit.grouped, ways == 2);
	}
	(void)state;
}

/* A group stays where nothing in its unit moves it, and walks where an outer loop does. A table stays in either case. */
static void test_stays(void **state)
{
	for (unsigned moved = 0; moved < 2; moved++) {
		struct ir *one, *table;

		begin();
		one = load(8, 14, 10, 4000);
		table = element(4, 2, 0);
		branch(0);
		if (moved)
			plus(10, 10, 8);
		branch(0);
		optimize(&unit, OPTIMIZE_TABLES);
		assert_true(one->walks && table->walks && table->stays);
		assert_int_equal(one->stays, !moved);
	}
	(void)state;
}

/* In a loop: through one register that moves, a copy of it, and one that stays; not through what was loaded or added up. */
static void test_walks(void **state)
{
	struct ir *moves, *copied, *stays, *sum, *loaded;

	begin();
	moves = load(8, 12, 10, 0);
	plus(13, 10, 24);
	copied = store(8, 13, 12, -24);
	stays = load(8, 14, 11, 40);
	add(IR_ADD, 8, 15, 10, 14, 0);
	sum = load(1, 16, 15, 0);
	loaded = load(8, 17, 14, 0);
	plus(10, 10, 8);
	branch(0);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(moves, 1, true, 0);
	expect(copied, 1, false, 0);
	expect(stays, 2, true, 0);
	assert_true(moves->stores && !stays->stores);
	assert_true(moves->walks && copied->walks && stays->walks);
	assert_int_equal(stays->span, 8);
	expect(sum, 0, false, 0);
	expect(loaded, 0, false, 0);
	assert_false(sum->walks || loaded->walks);
	(void)state;
}

/* What moves on by more than a few bytes a round is looked up each time. */
static void test_strides(void **state)
{
	struct ir *near, *far;

	begin();
	near = load(8, 12, 10, 0);
	far = load(8, 13, 11, 0);
	plus(10, 10, 128);
	plus(11, 11, 65);
	plus(11, 11, 64);
	branch(0);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_true(near->walks);
	assert_false(far->walks);
	expect(far, 0, false, 0);
	(void)state;
}

/* What lies at a known place is reached from the page; the register is made for those who look only, once it is overwritten. */
static void test_known_places(void **state)
{
	struct ir *here, *read, *beside, *across, *used;

	begin();
	here = add(IR_HERE, 8, 15, IR_ZERO, IR_ZERO, 0x12340);
	read = load(8, 15, 15, 0x10);
	used = add(IR_HERE, 8, 14, IR_ZERO, IR_ZERO, 0x12350);
	beside = store(4, 14, 15, 8);
	across = load(4, 13, 14, 0xcae);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(read->a, IR_PAGE);
	assert_int_equal(read->imm, 0x12350);
	assert_int_equal(here->late, 2);
	assert_int_equal(used->late, 0);
	assert_int_equal(beside->a, IR_PAGE);
	expect(read, 1, true, 0);
	expect(beside, 1, false, 8);
	assert_int_equal(read->from, IR_PAGE);
	assert_int_equal(read->from_low, 0x12350);
	assert_int_equal(across->a, 14);
	expect(across, 0, false, 0);
	(void)state;
}

/* C may change what an address means. */
static void test_walks_and_c(void **state)
{
	struct ir *moves;

	begin();
	moves = load(8, 12, 10, 0);
	plus(10, 10, 8);
	add(IR_CALL_C, 8, IR_ZERO, IR_ZERO, IR_ZERO, 0);
	branch(0);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(moves, 0, false, 0);
	assert_false(moves->walks);
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
	optimize(&unit, OPTIMIZE_TABLES);
	for (unsigned i = 0; i < IR_GROUPS; i++)
		expect(&unit.ops[2 * i], i + 1, true, 0);
	for (unsigned i = 2 * IR_GROUPS; i < unit.count; i++)
		expect(&unit.ops[i], 0, false, 0);
	(void)state;
}

/* Addresses of code lie at known distances from each other: what lies near them in one page shares a check. */
static void test_addresses_of_code(void **state)
{
	struct ir *first, *second, *behind, *other;

	begin();
	add(IR_HERE, 8, 15, IR_ZERO, IR_ZERO, 0x4012);
	first = load(8, 15, 15, 0x10);
	add(IR_HERE, 8, 14, IR_ZERO, IR_ZERO, 0x401a);
	second = load(8, 14, 14, 0x20);
	add(IR_HERE, 8, 13, IR_ZERO, IR_ZERO, 0x4f22);
	behind = load(8, 13, 13, 0xe0);
	add(IR_HERE, 8, 12, IR_ZERO, IR_ZERO, 0x4f2a);
	other = load(8, 12, 12, 0xd0);
	optimize(&unit, OPTIMIZE_TABLES);
	expect(first, 1, true, 0);
	expect(second, 1, false, 0x18);
	assert_int_equal(first->span, 0x20);
	expect(behind, 0, false, 0);
	expect(other, 0, false, 0);
	(void)state;
}

/* As far away as they may be, nothing wraps round. */
static void test_far_addresses_of_code(void **state)
{
	struct ir *low, *high;

	begin();
	add(IR_HERE, 8, 15, IR_ZERO, IR_ZERO, -INT64_C(0x80000000));
	low = load(8, 10, 15, 0);
	add(IR_HERE, 8, 14, IR_ZERO, IR_ZERO, INT64_C(0x7ffffff0));
	plus(14, 14, 2047);
	high = load(8, 11, 14, 2047);
	optimize(&unit, OPTIMIZE_TABLES);
	assert_int_equal(low->group, 0);
	assert_int_equal(high->group, 0);
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
	optimize(&unit, OPTIMIZE_TABLES);
	expect(ops[0], 0, false, 0);
	expect(ops[1], 0, false, 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame), cmocka_unit_test(test_kinds), cmocka_unit_test(test_tables),
		cmocka_unit_test(test_no_tables), cmocka_unit_test(test_kinds_in_loops), cmocka_unit_test(test_change),
		cmocka_unit_test(test_bases), cmocka_unit_test(test_limits), cmocka_unit_test(test_ways_round),
		cmocka_unit_test(test_loops), cmocka_unit_test(test_large_tables), cmocka_unit_test(test_no_large_tables),
		cmocka_unit_test(test_tables_in_a_row), cmocka_unit_test(test_indices),
		cmocka_unit_test(test_crooked_tables), cmocka_unit_test(test_members_of_elements),
		cmocka_unit_test(test_carried_tables), cmocka_unit_test(test_ways_that_carry),
		cmocka_unit_test(test_entangled_loops), cmocka_unit_test(test_many_ways), cmocka_unit_test(test_stays),
		cmocka_unit_test(test_walks), cmocka_unit_test(test_strides), cmocka_unit_test(test_known_places),
		cmocka_unit_test(test_walks_and_c), cmocka_unit_test(test_many), cmocka_unit_test(test_addresses_of_code),
		cmocka_unit_test(test_far_addresses_of_code),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
