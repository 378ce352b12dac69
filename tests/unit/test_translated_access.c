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

int main(void)
{
	const struct engine *engine = engine_find("translate");
	struct engine_report report = {.usable = false};
	const struct CMUnitTest tests[] = {
		{"pages_are_not_neighbours", pages_are_not_neighbours, NULL, NULL, (void *)(uintptr_t)engine},
		{"carries", carries, NULL, NULL, (void *)(uintptr_t)engine},
	};

	if (engine)
		engine->probe(&report);
	return report.usable ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
