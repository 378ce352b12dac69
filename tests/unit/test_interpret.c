/*
 * What engines cache, seen from outside: code that changes, limits, kicks, state that moves, caches that overflow,
 * dirty tracking. Every test runs under each RISC-V engine that works here.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "engine_bench.h"
#include "riscv/csr.h"

#define FUNCTION (BENCH_RAM + 0x800)
#define DATA     (BENCH_RAM + 0x10000)

/* A function that returns `value` in x5. */
static void write_function(struct bench *b, int32_t value)
{
	const uint32_t function[] = {op_addi(5, 0, value), RET};

	bench_write(b, FUNCTION, function, ARRAY_SIZE(function));
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t blocks_built(struct bench *b)
{
	struct engine_statistics s;

	b->engine->statistics(b->vcpu[0], &s);
	return s.blocks_built;
}

/* Calls the function, changes it, fence.i, calls it again, x8 times; x9 sums what it returned. */
static void stores_to_code_show_after_fence_i(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {
		op_sw(6, 7), FENCE_I, op_jal(1, 0x7f8), op_add(9, 9, 5),
		op_sw(10, 7), FENCE_I, op_jal(1, 0x7e8), op_add(9, 9, 5),
		op_addi(8, 8, -1), op_bne(8, 0, -36), WFI,
	};

	write_function(b, 1);
	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	b->hart[0]->x[6] = op_addi(5, 0, 3);
	b->hart[0]->x[7] = FUNCTION;
	b->hart[0]->x[8] = 1000;
	b->hart[0]->x[10] = op_addi(5, 0, 7);
	assert_int_equal(bench_run(b, 0, 100000), ENGINE_EXIT_IDLE);
	assert_int_equal(b->hart[0]->x[9], 1000 * (3 + 7));
	bench_free(b);
}

/* Without a fence.i the old or the new code may run, nothing else. */
static void stores_to_code_may_be_stale(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {op_jal(1, 0x800), op_sw(6, 7), op_jal(1, 0x7f8), WFI};

	write_function(b, 1);
	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	b->hart[0]->x[6] = op_addi(5, 0, 2);
	b->hart[0]->x[7] = FUNCTION;
	assert_int_equal(bench_run(b, 0, 1000), ENGINE_EXIT_IDLE);
	assert_true(b->hart[0]->x[5] == 1 || b->hart[0]->x[5] == 2);
	bench_free(b);
}

/* Stores to the page that the code is in, and fence.i, cost no decoding as long as the code stays. */
static void data_beside_code_loses_no_blocks(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {
		op_sd(8, 7), FENCE_I, op_jal(1, 0x7f8), op_addi(8, 8, -1), op_bne(8, 0, -16), WFI,
	};
	uint64_t built;

	write_function(b, 1);
	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	b->hart[0]->x[7] = BENCH_RAM + 0x400;
	b->hart[0]->x[8] = 5000;
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
	built = blocks_built(b);
	if (built > 50)
		fail_msg("%llu blocks were built for a loop of 7 instructions", (unsigned long long)built);
	bench_free(b);
}

static void dma_to_code_shows_after_fence_i(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {FENCE_I, op_jal(1, 0x7fc), WFI};

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	for (int32_t value = 1; value < 50; value++) {
		write_function(b, value);
		bench_go(b, 0, BENCH_RAM);
		assert_int_equal(bench_run(b, 0, 100), ENGINE_EXIT_IDLE);
		assert_int_equal(b->hart[0]->x[5], value);
	}
	bench_free(b);
}

static void other_harts_stores_show_after_remote_fence(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t caller[] = {op_jal(1, 0x800), WFI};
	const uint32_t writer[] = {op_sw(6, 7), WFI};

	bench_write(b, BENCH_RAM, caller, ARRAY_SIZE(caller));
	bench_write(b, BENCH_RAM + 0x100, writer, ARRAY_SIZE(writer));
	write_function(b, 0);
	b->hart[1]->x[7] = FUNCTION;
	for (int32_t value = 1; value < 50; value++) {
		b->hart[1]->x[6] = op_addi(5, 0, value);
		bench_go(b, 1, BENCH_RAM + 0x100);
		assert_int_equal(bench_run(b, 1, 100), ENGINE_EXIT_IDLE);
		hart_remote_fence(b->hart[1], 1, HART_REQUEST_FENCE_I);
		bench_go(b, 0, BENCH_RAM);
		assert_int_equal(bench_run(b, 0, 100), ENGINE_EXIT_IDLE);
		assert_int_equal(b->hart[0]->x[5], value);
	}
	bench_free(b);
}

static void *run_until_kicked(void *argument)
{
	struct bench *b = argument;

	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_KICKED);
	return NULL;
}

/* Waits until the running hart has stored `value`; false after ten seconds. */
static bool wait_for(struct bench *b, uint64_t value)
{
	const uint64_t *cell = memory_host(&b->memory, gpa(DATA), 8);
	uint64_t until = now_ns() + UINT64_C(10000000000);

	while (__atomic_load_n(cell, __ATOMIC_SEQ_CST) != value) {
		if (now_ns() > until)
			return false;
		sched_yield();
	}
	return true;
}

/* A hart that never leaves guest code runs what was written before hart_remote_fence returned. */
static void running_hart_obeys_remote_fence(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {op_jal(1, 0x800), op_sd(5, 7), op_jal(0, -8)};
	pthread_t thread;

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	write_function(b, 1);
	b->hart[0]->x[7] = DATA;
	assert_int_equal(pthread_create(&thread, NULL, run_until_kicked, b), 0);
	assert_true(wait_for(b, 1));
	for (int32_t value = 2; value < 30; value++) {
		write_function(b, value);
		hart_remote_fence(b->hart[1], 1, HART_REQUEST_FENCE_I);
		assert_true(wait_for(b, (uint64_t)value));
	}
	b->engine->stop(b->vcpu[0]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	bench_free(b);
}

static void stop_ends_a_loop_soon(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {op_sd(8, 7), op_jal(0, 0)};
	uint64_t worst = 0;

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	b->hart[0]->x[7] = DATA;
	for (unsigned i = 1; i < 20; i++) {
		pthread_t thread;
		uint64_t asked;

		b->hart[0]->x[8] = i;
		bench_go(b, 0, BENCH_RAM);
		assert_int_equal(pthread_create(&thread, NULL, run_until_kicked, b), 0);
		assert_true(wait_for(b, i));
		asked = now_ns();
		b->engine->stop(b->vcpu[0]);
		assert_int_equal(pthread_join(thread, NULL), 0);
		worst = now_ns() - asked > worst ? now_ns() - asked : worst;
		assert_int_equal(b->hart[0]->pc, BENCH_RAM + 4);
	}
	if (worst > 2000000000)
		fail_msg("a stop took %llu ns", (unsigned long long)worst);
	bench_free(b);
}

static void stop_before_run_is_kept(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t code[] = {op_addi(5, 5, 1), op_jal(0, -4)};

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	b->engine->stop(b->vcpu[0]);
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_KICKED);
	assert_int_equal(bench_run(b, 0, 100), ENGINE_EXIT_LIMIT);
	bench_free(b);
}

/* A loop with every way to leave a block: calls, a trap and its mret, CSRs, an instruction across two pages. */
static void write_mixture(struct bench *b)
{
	const uint32_t code[] = {
		op_addi(5, 5, 1), op_xor(6, 6, 5), op_sd(6, 7), op_jal(1, 0xff2), /* to 0xffe */
		op_csrr(11, CSR_MINSTRET), NO_INSTRUCTION, op_addi(12, 12, 3), op_bne(5, 0, -28), WFI,
	};
	/* At 0xffe: crosses, then returns. */
	const uint32_t across[] = {op_addi(9, 9, 5), RET};
	const uint32_t handler[] = {op_csrr(13, CSR_MEPC), op_addi(13, 13, 4), op_csrw(CSR_MEPC, 13), MRET};

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	bench_write(b, BENCH_RAM + 0xffe, across, ARRAY_SIZE(across));
	bench_write(b, BENCH_RAM + 0x2000, handler, ARRAY_SIZE(handler));
	b->hart[0]->x[7] = DATA;
	b->hart[0]->mtvec = BENCH_RAM + 0x2000;
}

struct step {
	uint64_t pc, instret, x[32];
};

static struct step step_of(const struct bench *b)
{
	struct step step = {.pc = b->hart[0]->pc, .instret = b->hart[0]->instret};

	memcpy(step.x, b->hart[0]->x, sizeof step.x);
	return step;
}

static void assert_steps_equal(unsigned limit, const struct step *expected, const struct step *actual)
{
	if (expected->pc != actual->pc || expected->instret != actual->instret)
		fail_msg("after %u: pc %#llx instret %llu, in single steps %#llx and %llu", limit,
			 (unsigned long long)actual->pc, (unsigned long long)actual->instret,
			 (unsigned long long)expected->pc, (unsigned long long)expected->instret);
	for (unsigned i = 0; i < 32; i++)
		if (expected->x[i] != actual->x[i])
			fail_msg("after %u: x%u is %#llx, in single steps %#llx", limit, i,
				 (unsigned long long)actual->x[i], (unsigned long long)expected->x[i]);
}

/* A run of N instructions ends where N runs of one end, whichever N. */
static void limit_is_exact(void **state)
{
	enum { STEPS = 200 };
	static struct step steps[STEPS + 1];
	struct bench *b = bench_new(*state);

	write_mixture(b);
	for (unsigned i = 1; i <= STEPS; i++) {
		assert_int_equal(bench_run(b, 0, 1), ENGINE_EXIT_LIMIT);
		steps[i] = step_of(b);
	}
	assert_true(steps[STEPS].x[5] > 10 && steps[STEPS].x[12] > 30);
	bench_free(b);
	for (unsigned limit = 1; limit <= STEPS; limit++) {
		struct step actual;

		b = bench_new(*state);
		write_mixture(b);
		assert_int_equal(bench_run(b, 0, limit), ENGINE_EXIT_LIMIT);
		actual = step_of(b);
		assert_steps_equal(limit, &steps[limit], &actual);
		bench_free(b);
	}
}

static void long_limits_are_exact(void **state)
{
	struct bench *b = bench_new(*state), *c = bench_new(*state);
	struct step first, second;

	write_mixture(b);
	write_mixture(c);
	assert_int_equal(bench_run(b, 0, 123457), ENGINE_EXIT_LIMIT);
	for (unsigned i = 0; i < 123457; i += 41153 - i % 2)
		assert_int_equal(bench_run(c, 0, i + 41153 > 123457 ? 123457 - i : 41153 - i % 2), ENGINE_EXIT_LIMIT);
	first = step_of(b);
	second = step_of(c);
	assert_steps_equal(123457, &first, &second);
	bench_free(b);
	bench_free(c);
}

static void copy_machine(struct bench *to, struct bench *from)
{
	struct state_writer writer;
	struct state_reader reader;
	struct state_section section;

	memcpy(memory_host(&to->memory, gpa(BENCH_RAM), BENCH_SIZE),
	       memory_host(&from->memory, gpa(BENCH_RAM), BENCH_SIZE), BENCH_SIZE);
	state_writer_init(&writer);
	state_save(&writer, &hart_state, "hart0", from->hart[0]);
	assert_int_equal(writer.failed, 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section, NULL), 1);
	assert_int_equal(state_load(&section, &hart_state, to->hart[0], NULL), 0);
	state_writer_finish(&writer);
	hart_loaded(to->hart[0]);
	to->engine->state_loaded(to->vcpu[0], NULL);
}

/* The destination has run other code at the same addresses before. */
static void state_moves_to_another_hart(void **state)
{
	for (unsigned at = 1; at < 60; at += 3) {
		struct bench *b = bench_new(*state), *c = bench_new(*state);
		const uint32_t other[] = {op_addi(5, 5, 9), op_addi(6, 6, 7), op_jal(0, -8)};
		struct step first, second;

		write_mixture(b);
		bench_write(c, BENCH_RAM, other, ARRAY_SIZE(other));
		assert_int_equal(bench_run(c, 0, 1000), ENGINE_EXIT_LIMIT);
		assert_int_equal(bench_run(b, 0, at), ENGINE_EXIT_LIMIT);
		copy_machine(c, b);
		assert_int_equal(bench_run(b, 0, 1000), ENGINE_EXIT_LIMIT);
		assert_int_equal(bench_run(c, 0, 1000), ENGINE_EXIT_LIMIT);
		first = step_of(b);
		second = step_of(c);
		assert_steps_equal(at, &first, &second);
		assert_int_equal(bench_read64(b, DATA), bench_read64(c, DATA));
		bench_free(b);
		bench_free(c);
	}
}

/* Half a million blocks, twice: more than any cache of code holds. */
static void more_code_than_the_cache_holds(void **state)
{
	struct bench *b = bench_new(*state);
	const unsigned count = 500000;
	uint32_t *code = malloc((count + 3) * sizeof *code);

	assert_non_null(code);
	for (unsigned i = 0; i < count; i++)
		code[i] = i % 2 ? op_jal(0, 4) : op_addi(5, 5, 1);
	code[count] = op_addi(8, 8, -1);
	code[count + 1] = WFI;
	bench_write(b, BENCH_RAM, code, count + 2);
	for (unsigned round = 1; round <= 3; round++) {
		bench_go(b, 0, BENCH_RAM);
		assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
		assert_int_equal(b->hart[0]->x[5], (uint64_t)round * (count / 2));
	}
	free(code);
	bench_free(b);
}

#define ROOT_A (BENCH_RAM + 0x20000)
#define ROOT_B (BENCH_RAM + 0x24000)
#define PAGE_A (BENCH_RAM + 0x30000)
#define PAGE_B (BENCH_RAM + 0x31000)
/* Each page is visited once in PAGES * TURNS = 4095 address spaces, the number of ids that the interpreter has for them:
 * one that is given out again meets its old entry. */
#define PAGES  455
#define TURNS  9
#define ROUNDS 6

/* One address space: RAM in its place, and `page` at PAGES pages from 0x40000000 on and one behind. */
static void write_tables(struct bench *b, uint64_t root, uint64_t page)
{
	const uint64_t flags = 0xcf; /* D A X W R V */

	bench_write64(b, root + 2 * 8, BENCH_RAM >> 2 | flags);
	bench_write64(b, root + 1 * 8, (root + 0x1000) >> 2 | 1);
	bench_write64(b, root + 0x1000, (root + 0x2000) >> 2 | 1);
	for (unsigned i = 0; i <= PAGES; i++)
		bench_write64(b, root + 0x2000 + i * 8u, page >> 2 | flags);
}

/* A new ASID and the other tables with every turn of the loop, no fence: more contexts than an engine tells apart. */
static void thousands_of_address_spaces(void **state)
{
	struct bench *b = bench_new(*state);
	struct hart *hart = b->hart[0];
	const uint32_t code[] = {
		op_add(7, 14, 0), op_addi(13, 0, PAGES),
		op_addi(16, 0, TURNS), op_add(17, 7, 0),
		op_csrw(CSR_SATP, 5), op_ld(6, 17, 0), op_add(9, 9, 6), op_xor(5, 5, 10), op_add(5, 5, 11),
		op_add(17, 18, 0), op_addi(16, 16, -1), op_bne(16, 0, -28),
		op_add(7, 7, 15), op_addi(13, 13, -1), op_bne(13, 0, -48),
		op_addi(8, 8, -1), op_bne(8, 0, -64), WFI,
	};

	bench_write(b, BENCH_RAM, code, ARRAY_SIZE(code));
	write_tables(b, ROOT_A, PAGE_A);
	write_tables(b, ROOT_B, PAGE_B);
	bench_write64(b, PAGE_A, 1);
	bench_write64(b, PAGE_B, 1000);
	hart->priv = PRIV_S;
	hart->x[5] = UINT64_C(8) << 60 | ROOT_A >> 12;
	hart->x[8] = ROUNDS;
	hart->x[10] = ROOT_A >> 12 ^ ROOT_B >> 12;
	hart->x[11] = UINT64_C(1) << 44;
	hart->x[14] = 0x40000000;
	hart->x[15] = GUEST_PAGE_SIZE;
	hart->x[18] = 0x40000000 + PAGES * GUEST_PAGE_SIZE;
	b->engine->state_loaded(b->vcpu[0], NULL);
	assert_int_equal(bench_run(b, 0, 0), ENGINE_EXIT_IDLE);
	assert_int_equal(hart->x[9], PAGES * TURNS * ROUNDS / 2 * 1001);
	bench_free(b);
}

static bool dirty_after_collect(struct bench *b, uint64_t address)
{
	uint64_t bitmap[BENCH_SIZE / GUEST_PAGE_SIZE / 64], page = (address - BENCH_RAM) / GUEST_PAGE_SIZE;

	memory_dirty_collect(&b->memory, 0, bitmap);
	b->engine->drop_write_access(b->vcpu[0]);
	return bitmap[page / 64] >> page % 64 & 1;
}

/* Each round writes again what is already in the caches; only writes mark. */
static void dirty_tracking_marks_again(void **state)
{
	struct bench *b = bench_new(*state);
	const uint32_t stores[] = {op_sd(8, 7), op_sw(8, 7), WFI};
	const uint32_t atomic[] = {0x0080b02f | 7 << 15 | 8 << 20, WFI}; /* amoadd.d */
	const uint32_t loads[] = {op_ld(6, 7, 0), WFI};

	bench_write(b, BENCH_RAM, stores, ARRAY_SIZE(stores));
	bench_write(b, BENCH_RAM + 0x100, loads, ARRAY_SIZE(loads));
	bench_write(b, BENCH_RAM + 0x200, atomic, ARRAY_SIZE(atomic));
	b->hart[0]->x[7] = DATA;
	assert_int_equal(bench_run(b, 0, 100), ENGINE_EXIT_IDLE);
	assert_int_equal(memory_dirty_start(&b->memory, NULL), 0);
	b->engine->drop_write_access(b->vcpu[0]);
	for (unsigned round = 0; round < 12; round++) {
		bench_go(b, 0, BENCH_RAM + round % 3 * 0x100);
		assert_int_equal(bench_run(b, 0, 100), ENGINE_EXIT_IDLE);
		assert_int_equal(dirty_after_collect(b, DATA), round % 3 != 1);
	}
	memory_dirty_stop(&b->memory);
	bench_free(b);
}

#define ENGINE_TEST(function, engine) {#function, function, NULL, NULL, (void *)(uintptr_t)(engine)}

static int run_all(const struct engine *engine)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(stores_to_code_show_after_fence_i, engine),
		ENGINE_TEST(stores_to_code_may_be_stale, engine),
		ENGINE_TEST(data_beside_code_loses_no_blocks, engine),
		ENGINE_TEST(dma_to_code_shows_after_fence_i, engine),
		ENGINE_TEST(other_harts_stores_show_after_remote_fence, engine),
		ENGINE_TEST(running_hart_obeys_remote_fence, engine),
		ENGINE_TEST(stop_ends_a_loop_soon, engine),
		ENGINE_TEST(stop_before_run_is_kept, engine),
		ENGINE_TEST(limit_is_exact, engine),
		ENGINE_TEST(long_limits_are_exact, engine),
		ENGINE_TEST(state_moves_to_another_hart, engine),
		ENGINE_TEST(more_code_than_the_cache_holds, engine),
		ENGINE_TEST(thousands_of_address_spaces, engine),
		ENGINE_TEST(dirty_tracking_marks_again, engine),
	};

	return cmocka_run_group_tests_name(engine->name, tests, NULL, NULL);
}

/* With an argument: that engine alone. */
int main(int argc, char **argv)
{
	int failed = 0;

	for (unsigned i = 0; engines[i]; i++) {
		struct engine_report report = {0};

		engines[i]->probe(&report);
		if (engines[i]->arch == ENGINE_RISCV64 && report.usable &&
		    (argc < 2 || strcmp(argv[1], engines[i]->name) == 0))
			failed += run_all(engines[i]);
	}
	return failed;
}
