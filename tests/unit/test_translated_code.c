/* Translated code in little room, shared by harts: a guest with more code than fits, which also writes some anew. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/translate/cache.h"
#include "engine_bench.h"

#define PIECES     12000 /* of code, each jumps to the next */
#define PIECE_OPS  7
#define PIECE_SIZE 32
#define CHAIN      (BENCH_RAM + 0x10000)
#define FUNCTIONS  (BENCH_RAM + 0x4000) /* a page for each hart */
#define ROUNDS     4
#define RING       4  /* segments of the smallest cache, at least */
#define LITTLE     40 /* rounds in little room, where most of it is interpreted, and units are made all the same */

static int32_t addend(unsigned piece)
{
	return (int32_t)(piece * 37 % 1000);
}

/* The pieces add to x10; then x6, an instruction that adds to x12, grows by x9, is stored at x7 and called. */
static unsigned write_chain(struct bench *b)
{
	uint64_t end = CHAIN + (uint64_t)PIECES * PIECE_SIZE;
	const uint32_t last[] = {op_add(6, 6, 9), op_sw(6, 7), FENCE_I, op_i(0x67, 1, 7, 0),
				 op_jal(0, (int32_t)(CHAIN - (end + 16)))};

	for (unsigned i = 0; i < PIECES; i++) {
		uint32_t code[PIECE_OPS];

		for (unsigned j = 0; j + 1 < PIECE_OPS; j++)
			code[j] = op_addi(10, 10, addend(i));
		code[PIECE_OPS - 1] = op_jal(0, PIECE_SIZE - 4 * (PIECE_OPS - 1));
		bench_write(b, CHAIN + (uint64_t)i * PIECE_SIZE, code, PIECE_OPS);
	}
	bench_write(b, end, last, ARRAY_SIZE(last));
	return PIECES * PIECE_OPS + ARRAY_SIZE(last) + 2;
}

static void prepare(struct bench *b, unsigned index)
{
	uint64_t function = FUNCTIONS + index * GUEST_PAGE_SIZE;
	const uint32_t code[] = {NO_INSTRUCTION, RET};
	struct hart *hart = b->hart[index];

	bench_write(b, function, code, ARRAY_SIZE(code));
	hart->x[6] = op_addi(12, 12, 0);
	hart->x[7] = function;
	hart->x[9] = 1u << 20;
	bench_go(b, index, CHAIN);
}

static void check(const struct bench *b, unsigned index, unsigned rounds, uint64_t instructions)
{
	const struct hart *hart = b->hart[index];
	uint64_t sum = 0;

	for (unsigned i = 0; i < PIECES; i++)
		sum += (uint64_t)(PIECE_OPS - 1) * (uint64_t)addend(i);
	assert_int_equal(hart->x[10], sum * rounds);
	assert_int_equal(hart->x[12], rounds * (rounds + 1) / 2);
	assert_int_equal(hart->instret, instructions);
	assert_int_equal(hart->pc, CHAIN);
}

static uint64_t recycled(struct bench *b)
{
	struct engine_statistics s;

	b->engine->statistics(b->vcpu[0], &s);
	return s.code_recycled;
}

/* Room is made piece by piece: no short run waits for more than one of them. */
static void more_code_than_room(void **state)
{
	struct bench *b = bench_new_with(*state, CODE_CACHE_MIN);
	uint64_t total = (uint64_t)write_chain(b) * LITTLE, worst = 0;
	struct engine_statistics s;

	prepare(b, 0);
	for (uint64_t left = total, part; left; left -= part) {
		uint64_t before = recycled(b), took;

		part = left < 100 ? left : 100;
		assert_int_equal(bench_run(b, 0, part), ENGINE_EXIT_LIMIT);
		took = recycled(b) - before;
		worst = took > worst ? took : worst;
	}
	check(b, 0, LITTLE, total);
	b->engine->statistics(b->vcpu[0], &s);
	if (s.code_recycled < RING)
		fail_msg("%llu segments of the code cache were used anew", (unsigned long long)s.code_recycled);
	if (worst != 1)
		fail_msg("a run of 100 instructions used %llu segments anew", (unsigned long long)worst);
	bench_free(b);
}

struct runner {
	struct bench *b;
	unsigned index;
	uint64_t instructions;
	enum engine_exit_reason reason;
};

static void *run_hart(void *arg)
{
	struct runner *r = arg;

	r->reason = bench_run(r->b, r->index, r->instructions);
	return NULL;
}

static void run_together(struct bench *b, uint64_t instructions, void *(*run)(void *runner))
{
	struct runner runners[BENCH_HARTS];
	pthread_t threads[BENCH_HARTS];

	for (unsigned i = 0; i < BENCH_HARTS; i++) {
		prepare(b, i);
		runners[i] = (struct runner){.b = b, .index = i, .instructions = instructions};
		assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
	}
	for (unsigned i = 0; i < BENCH_HARTS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(runners[i].reason, ENGINE_EXIT_LIMIT);
	}
}

static uint64_t units_of(struct bench *b, unsigned index)
{
	struct engine_statistics s;

	b->engine->statistics(b->vcpu[index], &s);
	return s.blocks_built;
}

static void harts_in_little_room(void **state)
{
	struct bench *b = bench_new_with(*state, CODE_CACHE_MIN);
	uint64_t total = (uint64_t)write_chain(b) * LITTLE;
	struct engine_statistics s;

	run_together(b, total, run_hart);
	for (unsigned i = 0; i < BENCH_HARTS; i++)
		check(b, i, LITTLE, total);
	b->engine->statistics(b->vcpu[0], &s);
	if (s.code_recycled < RING)
		fail_msg("%llu segments of the code cache were used anew", (unsigned long long)s.code_recycled);
	bench_free(b);
}

/* Where all code runs equally seldom, little of it is worth to be translated again and again. */
static void little_is_made_in_vain(void **state)
{
	struct bench *b = bench_new_with(*state, CODE_CACHE_MIN);
	uint64_t round = write_chain(b), before;

	prepare(b, 0);
	assert_int_equal(bench_run(b, 0, round * ROUNDS), ENGINE_EXIT_LIMIT);
	before = units_of(b, 0);
	assert_int_equal(bench_run(b, 0, round * ROUNDS), ENGINE_EXIT_LIMIT);
	check(b, 0, 2 * ROUNDS, 2 * round * ROUNDS);
	if (units_of(b, 0) - before > PIECES / 10)
		fail_msg("%llu units for code of %d units, as often as it ran",
			 (unsigned long long)(units_of(b, 0) - before), PIECES);
	bench_free(b);
}

/* What one hart has translated another one runs. */
static void harts_share(void **state)
{
	struct bench *b = bench_new(*state);
	uint64_t total = (uint64_t)write_chain(b) * ROUNDS, first;

	prepare(b, 0);
	prepare(b, 1);
	assert_int_equal(bench_run(b, 0, total), ENGINE_EXIT_LIMIT);
	first = units_of(b, 0);
	assert_int_equal(bench_run(b, 1, total), ENGINE_EXIT_LIMIT);
	check(b, 0, ROUNDS, total);
	check(b, 1, ROUNDS, total);
	if (units_of(b, 1) * 20 > first)
		fail_msg("%llu units for the first hart, %llu for the second", (unsigned long long)first,
			 (unsigned long long)units_of(b, 1));
	bench_free(b);
}

static uint64_t code_of(struct bench *b)
{
	struct engine_statistics s;

	b->engine->statistics(b->vcpu[0], &s);
	return s.code_used;
}

/* A machine that rests gives all of its code back, and makes it again. */
static void code_is_forgotten_and_made_again(void **state)
{
	struct bench *b = bench_new(*state);
	uint64_t total = (uint64_t)write_chain(b) * ROUNDS, full;

	prepare(b, 0);
	prepare(b, 1);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(bench_run(b, 0, total), ENGINE_EXIT_LIMIT);
		assert_int_equal(bench_run(b, 1, total), ENGINE_EXIT_LIMIT);
		check(b, 0, i * ROUNDS, i * total);
		check(b, 1, i * ROUNDS, i * total);
		full = code_of(b);
		b->engine->rest(b->vcpu[i % 2]);
		if (code_of(b) * 10 > full)
			fail_msg("%llu bytes of code, %llu after a rest", (unsigned long long)full,
				 (unsigned long long)code_of(b));
		/* There is little to forget now. */
		full = code_of(b);
		b->engine->rest(b->vcpu[0]);
		assert_int_equal(code_of(b), full);
	}
	bench_free(b);
}

/* In short runs, with a rest after each few. */
static void *run_and_rest(void *arg)
{
	struct runner *r = arg;
	uint64_t left = r->instructions;

	for (unsigned i = 0; left; i++) {
		uint64_t part = left < 1000 ? left : 1000;

		r->reason = bench_run(r->b, r->index, part);
		left -= part;
		if (i % (16 + r->index) == 0)
			r->b->engine->rest(r->b->vcpu[r->index]);
	}
	return NULL;
}

/* Whoever rests meets others that run, that begin to, and that rest as well. */
static void harts_rest_while_others_run(void **state)
{
	struct bench *b = bench_new(*state);
	uint64_t total = (uint64_t)write_chain(b) * LITTLE;

	run_together(b, total, run_and_rest);
	for (unsigned i = 0; i < BENCH_HARTS; i++)
		check(b, i, LITTLE, total);
	bench_free(b);
}

/* A handler jumps to a dispatch elsewhere in its page, which is another one each time: x6, an instruction that adds to
 * x12, is stored at x8. */
static void dispatch_changes(void **state)
{
	enum { DISPATCHES = 1000, HANDLER = 0x200, WRITER = 0x300, ROUND = 8 };
	struct bench *b = bench_new(*state);
	const uint32_t dispatch[] = {op_addi(12, 12, 1), op_i(0x67, 0, 7, 0)};
	const uint32_t handler[] = {op_addi(10, 10, 1), op_jal(0, -HANDLER - 4)};
	const uint32_t writer[] = {op_sw(6, 8), FENCE_I, op_add(6, 6, 9), op_jal(0, HANDLER - WRITER - 12)};
	struct hart *hart = b->hart[0];

	bench_write(b, FUNCTIONS, dispatch, ARRAY_SIZE(dispatch));
	bench_write(b, FUNCTIONS + HANDLER, handler, ARRAY_SIZE(handler));
	bench_write(b, FUNCTIONS + WRITER, writer, ARRAY_SIZE(writer));
	hart->x[6] = op_addi(12, 12, 2);
	hart->x[7] = FUNCTIONS + WRITER;
	hart->x[8] = FUNCTIONS;
	hart->x[9] = 1u << 20;
	bench_go(b, 0, FUNCTIONS + HANDLER);
	assert_int_equal(bench_run(b, 0, DISPATCHES * ROUND), ENGINE_EXIT_LIMIT);
	assert_int_equal(hart->x[10], DISPATCHES);
	assert_int_equal(hart->x[12], DISPATCHES * (DISPATCHES + 1) / 2);
	assert_int_equal(hart->pc, FUNCTIONS + HANDLER);
	bench_free(b);
}

/* Runs the two instructions at `at`, the second of which jumps to itself. */
static void run_at(struct bench *b, uint64_t at)
{
	bench_go(b, 0, at);
	assert_int_equal(bench_run(b, 0, 2), ENGINE_EXIT_LIMIT);
}

/* A function that lies on one line with one that is known changes before it runs first, and back before a fence. */
static void a_neighbour_changes(void **state)
{
	enum { NEIGHBOUR = 16, FENCE = 0x400 };
	struct bench *b = bench_new(*state);
	const uint32_t known[] = {op_addi(10, 10, 1), op_jal(0, 0)};
	const uint32_t early[] = {op_addi(12, 12, 1), op_jal(0, 0)}, late[] = {op_addi(12, 12, 100), op_jal(0, 0)};
	const uint32_t fence[] = {FENCE_I, op_jal(0, 0)};

	bench_write(b, FUNCTIONS, known, ARRAY_SIZE(known));
	bench_write(b, FUNCTIONS + FENCE, fence, ARRAY_SIZE(fence));
	bench_write(b, FUNCTIONS + NEIGHBOUR, early, ARRAY_SIZE(early));
	run_at(b, FUNCTIONS);
	bench_write(b, FUNCTIONS + NEIGHBOUR, late, ARRAY_SIZE(late));
	run_at(b, FUNCTIONS + NEIGHBOUR);
	assert_int_equal(b->hart[0]->x[12], 100);
	bench_write(b, FUNCTIONS + NEIGHBOUR, early, ARRAY_SIZE(early));
	run_at(b, FUNCTIONS + FENCE);
	run_at(b, FUNCTIONS + NEIGHBOUR);
	assert_int_equal(b->hart[0]->x[12], 101);
	run_at(b, FUNCTIONS);
	assert_int_equal(b->hart[0]->x[10], 2);
	bench_free(b);
}

int main(void)
{
	const struct engine *engine = engine_find("translate");
	struct engine_report report = {.usable = false};
	const struct CMUnitTest tests[] = {
		{"more_code_than_room", more_code_than_room, NULL, NULL, (void *)(uintptr_t)engine},
		{"harts_in_little_room", harts_in_little_room, NULL, NULL, (void *)(uintptr_t)engine},
		{"little_is_made_in_vain", little_is_made_in_vain, NULL, NULL, (void *)(uintptr_t)engine},
		{"dispatch_changes", dispatch_changes, NULL, NULL, (void *)(uintptr_t)engine},
		{"a_neighbour_changes", a_neighbour_changes, NULL, NULL, (void *)(uintptr_t)engine},
		{"code_is_forgotten_and_made_again", code_is_forgotten_and_made_again, NULL, NULL,
		 (void *)(uintptr_t)engine},
		{"harts_rest_while_others_run", harts_rest_while_others_run, NULL, NULL, (void *)(uintptr_t)engine},
		{"harts_share", harts_share, NULL, NULL, (void *)(uintptr_t)engine},
	};

	if (engine)
		engine->probe(&report);
	return report.usable ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
