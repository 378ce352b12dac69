/* Loads and stores of translated code near the edge of two virtual pages that are not neighbours in memory, and its sums with
 * a carry. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "engine_bench.h"
#include "riscv/csr.h"

#define CODE    (BENCH_RAM + 0x1000)
#define TABLES  (BENCH_RAM + 0x100000)
#define FIRST   (BENCH_RAM + 0x203000) /* where the first virtual page lies */
#define SECOND  (BENCH_RAM + 0x200000)
#define VIRTUAL UINT64_C(0x40000000)
#define EDGE    (VIRTUAL + GUEST_PAGE_SIZE)
#define MEMORY  0xc7 /* V R W A D */
#define ALL     0xcf
#define CASE    64   /* bytes of code */

static const int32_t offsets[] = {-2048, -137, -136, -135, -128, -16, -8, -7, -4, -1, 0, 1, 5, 8, 120, 121, 128, 129, 2047};

static uint64_t pte(uint64_t physical, unsigned flags)
{
	return physical >> 12 << 10 | flags;
}

static void map(struct bench *b)
{
	bench_write64(b, TABLES + 8 * 2, pte(BENCH_RAM, ALL)); /* a gigapage, where it lies */
	bench_write64(b, TABLES + 8 * 1, pte(TABLES + 0x1000, 1));
	bench_write64(b, TABLES + 0x1000, pte(TABLES + 0x2000, 1));
	bench_write64(b, TABLES + 0x2000, pte(FIRST, MEMORY));
	bench_write64(b, TABLES + 0x2008, pte(SECOND, MEMORY));
	b->hart[0]->satp = UINT64_C(8) << 60 | TABLES >> 12;
	b->hart[0]->priv = PRIV_S;
}

static uint32_t op_sd_at(unsigned rs2, unsigned rs1, int32_t imm)
{
	return op_sd(rs2, rs1) | (uint32_t)(imm & 31) << 7 | (uint32_t)(imm >> 5 & 127) << 25;
}

/* x10 and x28 are a base with a host register, and one without. */
static void write_code(struct bench *b)
{
	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		const uint32_t code[] = {op_ld(11, 14, 0), op_ld(11, 15, 0), op_ld(12, 10, offsets[i]),
					 op_ld(13, 28, offsets[i]), op_addi(16, 10, 0), op_sd_at(17, 16, offsets[i]),
					 op_ld(5, 16, offsets[i]), WFI};

		bench_write(b, CODE + i * CASE, code, ARRAY_SIZE(code));
	}
}

static uint8_t expected[2 * GUEST_PAGE_SIZE];

static uint64_t value_at(uint64_t address)
{
	uint64_t value;

	memcpy(&value, &expected[address - VIRTUAL], sizeof value);
	return value;
}

static void fill(struct bench *b)
{
	for (unsigned i = 0; i < sizeof expected; i++)
		expected[i] = (uint8_t)(i * 167 + (i >> 8));
	for (unsigned i = 0; i < GUEST_PAGE_SIZE; i += 8) {
		bench_write64(b, FIRST + i, value_at(VIRTUAL + i));
		bench_write64(b, SECOND + i, value_at(EDGE + i));
	}
}

static void one_case(struct bench *b, unsigned i, uint64_t address, uint64_t stored)
{
	struct hart *hart = b->hart[0];
	uint64_t before = value_at(address), edge = address & ~UINT64_C(7);

	hart->x[10] = hart->x[28] = address - (uint64_t)(int64_t)offsets[i];
	hart->x[14] = VIRTUAL;
	hart->x[15] = EDGE;
	hart->x[17] = stored;
	bench_go(b, 0, CODE + i * CASE);
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
	assert_int_equal(hart->x[12], before);
	assert_int_equal(hart->x[13], before);
	assert_int_equal(hart->x[5], stored);
	memcpy(&expected[address - VIRTUAL], &stored, sizeof stored);
	for (uint64_t at = edge; at <= edge + 8; at += 8)
		assert_int_equal(bench_read64(b, (at < EDGE ? FIRST : SECOND) + at % GUEST_PAGE_SIZE), value_at(at));
}

static void pages_are_not_neighbours(void **state)
{
	struct bench *b = bench_new(*state);
	uint64_t stored = 1;

	map(b);
	write_code(b);
	fill(b);
	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++)
		for (uint64_t address = EDGE - 20; address < EDGE + 12; address++)
			one_case(b, i, address, stored *= UINT64_C(0x9e3779b97f4a7c15));
	bench_free(b);
}

/* sltu, add: sums of three registers and their carry, with registers of both kinds. */
static void carries(void **state)
{
	static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(1) << 63, 77};
	static const unsigned registers[][3] = {{10, 11, 12}, {28, 11, 12}, {10, 29, 12}, {10, 11, 30}, {28, 29, 30}};
	struct bench *b = bench_new(*state);
	struct hart *hart = b->hart[0];

	for (unsigned r = 0; r < ARRAY_SIZE(registers); r++) {
		unsigned x = registers[r][0], y = registers[r][1], z = registers[r][2];
		const uint32_t code[] = {0x3033 | z << 7 | x << 15 | y << 20, op_add(y, y, z), op_add(z, z, x), WFI};

		bench_write(b, CODE + r * CASE, code, ARRAY_SIZE(code));
		for (unsigned i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
			uint64_t a = values[i % ARRAY_SIZE(values)], c = values[i / ARRAY_SIZE(values)];

			hart->x[x] = a;
			hart->x[y] = c;
			bench_go(b, 0, CODE + r * CASE);
			assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
			assert_int_equal(hart->x[y], c + (a < c));
			assert_int_equal(hart->x[z], a + (a < c));
		}
	}
	bench_free(b);
}

/* The element of a table that the last one chose, `rounds` times from x12 on; x14 adds them up. */
#define LOOP(offset)                                                                                                        \
	0x0ff67593, /* andi x11, x12, 255 */                                                                                \
		op_add(13, 5, 11), op_i(0x4003, 12, 13, offset), op_add(14, 14, 12), op_addi(15, 15, -1), op_bne(15, 0, -20)
#define ROUNDS 500

static uint8_t element(unsigned i)
{
	return (uint8_t)(i * 37 + 11);
}

/* The table goes on at address 0. */
static void tables_wrap(void **state)
{
	const uint32_t code[] = {LOOP(0), WFI};
	struct bench *b = bench_new(*state);
	uint64_t bytes = 0, sum = 0;
	uint8_t x = 0;

	map(b);
	bench_write64(b, TABLES + 8 * 511, pte(TABLES + 0x3000, 1));
	bench_write64(b, TABLES + 0x3000 + 8 * 511, pte(TABLES + 0x4000, 1));
	bench_write64(b, TABLES + 0x4000 + 8 * 511, pte(FIRST, MEMORY));
	bench_write64(b, TABLES, pte(TABLES + 0x5000, 1));
	bench_write64(b, TABLES + 0x5000, pte(TABLES + 0x6000, 1));
	bench_write64(b, TABLES + 0x6000, pte(SECOND, MEMORY));
	for (unsigned i = 0; i < 256; i += 8) {
		for (unsigned j = 0; j < 8; j++)
			((uint8_t *)&bytes)[j] = element(i + j);
		bench_write64(b, i < 128 ? FIRST + GUEST_PAGE_SIZE - 128 + i : SECOND + i - 128, bytes);
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		sum += x = element(x);
	b->hart[0]->x[5] = (uint64_t)-128;
	b->hart[0]->x[15] = ROUNDS;
	bench_write(b, CODE, code, ARRAY_SIZE(code));
	bench_go(b, 0, CODE);
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
	assert_int_equal(b->hart[0]->x[14], sum);
	bench_free(b);
}

/* An outer loop moves a table by a conversion that C does the second time. */
static void tables_move_in_rare_cases(void **state)
{
	const uint32_t code[] = {0xc20012d3U /* fcvt.w.d x5, f0, rtz */, LOOP(1), 0x22108053U /* fmv.d f0, f1 */,
					op_addi(15, 0, ROUNDS), op_addi(16, 16, -1), op_bne(16, 0, -40), WFI};
	struct bench *b = bench_new(*state);
	struct hart *hart = b->hart[0];
	double before = VIRTUAL - 1, beyond = 1e30;

	map(b);
	for (unsigned i = 0; i < 512; i += 8) {
		bench_write64(b, FIRST + i, UINT64_C(0x0101010101010101));
		bench_write64(b, BENCH_RAM + i, UINT64_C(0x0202020202020202));
	}
	memcpy(&hart->f[0], &before, sizeof before);
	memcpy(&hart->f[1], &beyond, sizeof beyond);
	hart->x[15] = ROUNDS;
	hart->x[16] = 2;
	bench_write(b, CODE, code, ARRAY_SIZE(code));
	bench_go(b, 0, CODE);
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
	assert_int_equal(hart->x[5], INT32_MAX);
	assert_int_equal(hart->x[14], 3 * ROUNDS);
	bench_free(b);
}

/* A block that C clears, in a unit that has registers of its own. */
static void rare_cases_keep_registers(void **state)
{
	uint32_t code[64];
	struct bench *b = bench_new(*state);
	struct hart *hart = b->hart[0];
	unsigned count = 0;

	for (unsigned i = 0; i < 20; i++)
		code[count++] = op_add(28 + i % 4, 28 + (i + 1) % 4, 28 + i % 4);
	code[count++] = 0x0040200f | 10 << 15; /* cbo.zero (x10) */
	for (unsigned i = 0; i < 20; i++)
		code[count++] = op_add(28 + i % 4, 28 + (i + 1) % 4, 28 + i % 4);
	code[count++] = WFI;
	bench_write(b, CODE, code, count);
	for (unsigned odd = 0; odd < 2; odd++) {
		uint64_t x[4] = {1, 2, 3, 4};

		for (unsigned i = 0; i < 40; i++)
			x[i % 4] += x[(i + 1) % 4];
		for (unsigned i = 1; i < 28; i++)
			hart->x[i] = 1000 + i;
		for (unsigned i = 0; i < 4; i++)
			hart->x[28 + i] = i + 1;
		hart->x[10] = FIRST + odd;
		bench_write64(b, FIRST + 56, 1);
		bench_go(b, 0, CODE);
		assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
		assert_int_equal(bench_read64(b, FIRST + 56), 0);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(hart->x[28 + i], x[i]);
		for (unsigned i = 1; i < 28; i++)
			assert_int_equal(hart->x[i], i == 10 ? FIRST + odd : 1000 + i);
	}
	bench_free(b);
}

int main(void)
{
	const struct engine *engine = engine_find("translate");
	struct engine_report report = {.usable = false};
	const struct CMUnitTest tests[] = {
		{"pages_are_not_neighbours", pages_are_not_neighbours, NULL, NULL, (void *)(uintptr_t)engine},
		{"carries", carries, NULL, NULL, (void *)(uintptr_t)engine},
		{"tables_wrap", tables_wrap, NULL, NULL, (void *)(uintptr_t)engine},
		{"tables_move_in_rare_cases", tables_move_in_rare_cases, NULL, NULL, (void *)(uintptr_t)engine},
		{"rare_cases_keep_registers", rare_cases_keep_registers, NULL, NULL, (void *)(uintptr_t)engine},
	};

	if (engine)
		engine->probe(&report);
	return report.usable ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
