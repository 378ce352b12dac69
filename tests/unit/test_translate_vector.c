/*
 * Which loops vectors may do, and how many rounds at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "engine/translate/optimize.h"
#include "engine/translate/riscv.h"
#include "engine/translate/vector.h"
#include "memory/memory.h"

static uint8_t page[GUEST_PAGE_SIZE];
static struct ir_unit unit;
static struct vector vector;

static bool found(const uint32_t *words, unsigned count)
{
	struct page_copy copy = {.source = page};

	memset(page, 0, sizeof page);
	memcpy(page, words, count * sizeof *words);
	assert_true(riscv_to_ir(&unit, &copy, 0, 64));
	optimize(&unit, OPTIMIZE_TABLES);
	return vector_find(&unit, 0, &vector);
}

static unsigned codes(int kind)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < vector.code_count; i++)
		sum += (int)vector.codes[i].kind == kind;
	return sum;
}

/* fld f15, 0(x13); fld f14, 0(x15); fmadd.d f15, f15, f13, f14; fsd f15, 0(x14); x13, x14 and x15 move; bne x15, x12. */
static void test_doubles(void **state)
{
	const uint32_t words[] = {0x0006b787, 0x0007b707, 0x72d7f7c3, 0x00f73027,
				  0x00868693, 0x00870713, 0x00878793, 0xfec792e3};

	assert_true(found(words, ARRAY_SIZE(words)));
	assert_int_equal(vector.rounds, 4);
	assert_int_equal(vector.instructions, 8);
	assert_int_equal(vector.root_count, 3);
	assert_int_equal(codes(VECTOR_LOAD), 4);
	assert_int_equal(codes(VECTOR_OP), 2);
	assert_int_equal(codes(VECTOR_STORE), 2);
	assert_true(vector.codes[vector.code_count - 1].checked);
	(void)state;
}

/* As the C library copies to what is aligned otherwise: srl, sll, or; one word of four is carried from round to round. */
static void test_shifted(void **state)
{
	const uint32_t words[] = {
		0x0068d2b3, /* srl x5, x17, x6 */
		0x0005b883, /* ld x17, 0(x11) */
		0x00789e33, /* sll x28, x17, x7 */
		0x01c2e2b3, /* or x5, x5, x28 */
		0x00553023, /* sd x5, 0(x10) */
		0x0068d2b3, 0x0085b883, 0x00789e33, 0x01c2e2b3, 0x00553423,
		0x01050513, /* addi x10, x10, 16 */
		0x01058593, /* addi x11, x11, 16 */
		0xfff60613, /* addi x12, x12, -1 */
		0xfc0616e3, /* bnez x12 */
	};

	assert_true(found(words, ARRAY_SIZE(words)));
	assert_int_equal(vector.rounds, 2);
	assert_int_equal(codes(VECTOR_LOAD), 2);
	assert_int_equal(codes(VECTOR_SHUFFLE), 2);
	assert_int_equal(codes(VECTOR_OP), 6);
	assert_int_equal(codes(VECTOR_COPY), 1);
	assert_int_equal(vector.apart_count, 1);
	(void)state;
}

/* flw f15, 0(x13); flw f14, 0(x15); fmadd.s f15, f15, f13, f14; fsw f15, 0(x14); x13, x14 and x15 move; bne x15, x12. */
static void test_singles(void **state)
{
	const uint32_t words[] = {0x0006a787, 0x0007a707, 0x70d7f7c3, 0x00f72027,
				  0x00468693, 0x00470713, 0x00478793, 0xfec792e3};

	assert_true(found(words, ARRAY_SIZE(words)));
	assert_int_equal(vector.size, 4);
	assert_int_equal(vector.rounds, 8);
	assert_int_equal(codes(VECTOR_LOAD), 4);
	assert_int_equal(codes(VECTOR_STORE), 2);
	(void)state;
}

/* sd x14, 0(x15); sd x14, 8(x15); addi x15, x15, 16; bltu x15, x13. */
static void test_fill(void **state)
{
	const uint32_t words[] = {0x00e7b023, 0x00e7b423, 0x01078793, 0xfed7eae3};

	assert_true(found(words, ARRAY_SIZE(words)));
	assert_int_equal(vector.rounds, 2);
	assert_int_equal(codes(VECTOR_STORE), 2);
	assert_true(vector.trip.ordered && !vector.trip.is_signed);
	assert_int_equal(vector.trip.shrinks, 16);
	(void)state;
}

/* What the round before has stored; sums; bytes; fences; a loop without an end in sight. */
static void test_not(void **state)
{
	static const uint32_t loops[][6] = {
		{0x0007b283, 0x0057b423, 0x00878793, 0xfed79ae3}, /* ld x5, 0(x15); sd x5, 8(x15) */
		{0x0007b283, 0x00530333, 0x00878793, 0xfed79ae3}, /* ld x5, 0(x15); add x6, x6, x5 */
		{0x0007c283, 0x00570023, 0x00170713, 0x00178793, 0xfed798e3}, /* lbu x5, 0(x15); sb x5, 0(x14) */
		{0x0007b283, 0x0ff0000f, 0x00573023, 0x00870713, 0x00878793, 0xfed796e3},
		{0x0007b283, 0x00573023, 0x00870713, 0x00878793, 0xff1ff06f},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(loops); i++)
		assert_false(found(loops[i], ARRAY_SIZE(loops[i])));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_doubles), cmocka_unit_test(test_shifted),
					   cmocka_unit_test(test_singles), cmocka_unit_test(test_fill), cmocka_unit_test(test_not)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
