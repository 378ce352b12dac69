/*
 * Loops that vectors may do, under two engines: random ones over arrays that overlap, cross pages, hold NaNs and are left in
 * the middle, compared register by register and word by word whenever they stop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/interpret/interpret.h"
#include "engine/translate/translate.h"
#include "engine_bench.h"

#define DATA    (BENCH_RAM + 0x100000)
#define TABLES  (BENCH_RAM + 0x200000)
#define HANDLER (BENCH_RAM + 0xf00)
#define VIRTUAL UINT64_C(0x40000000)
#define PAGES   16
#define WORDS   (PAGES * GUEST_PAGE_SIZE / 8)
#define LOOPS   2000

/* Registers of the loops: arrays, another name of the first one, what counts, what stays, and what is computed; how often all is
 * done again, and what LEFT grows by for that. */
enum {
	TO = 10, FROM = 11, OTHER = 12, ALIAS = 29, LEFT = 13, STAYS = 14, SHIFT = 15, BACK = 16, TEMP = 5, CARRY = 17,
	CARRY2 = 28, AGAIN = 30, MORE = 31, LATE = 18
};

struct loop {
	uint32_t words[128];
	unsigned count;
	unsigned size;   /* of what it loads and stores */
	unsigned lanes;  /* of them in a round */
	int32_t stride, from_stride, other_stride;
	bool floats;
	uint64_t x[32];
};

#define SFENCE_VMA 0x12000073

static uint64_t seed;

static uint64_t random64(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 32 | seed << 32) * UINT64_C(0x9e3779b97f4a7c15);
}

static unsigned choose(unsigned count)
{
	return (unsigned)(random64() >> 33) % count;
}

static void add(struct loop *l, uint32_t word)
{
	assert_true(l->count < sizeof l->words / sizeof l->words[0]);
	l->words[l->count++] = word;
}

static uint32_t op_r(uint32_t match, unsigned rd, unsigned rs1, unsigned rs2)
{
	return match | rd << 7 | rs1 << 15 | rs2 << 20;
}

static uint32_t op_s(uint32_t match, unsigned rs2, unsigned rs1, int32_t imm)
{
	uint32_t i = (uint32_t)imm;

	return match | rs1 << 15 | rs2 << 20 | (i >> 5 & 127) << 25 | (i & 31) << 7;
}

static uint32_t op_branch(unsigned condition, unsigned rs1, unsigned rs2, int32_t offset)
{
	return (op_bne(rs1, rs2, offset) & ~UINT32_C(0x7000)) | condition << 12;
}

/* fld and fsd lie beside ld and sd, and those of words before them. */
static void load(struct loop *l, unsigned to, unsigned base, int32_t at)
{
	add(l, op_i(l->size == 4 ? 0x2003 : 0x3003, to, base, at) ^ (l->floats ? 4u : 0));
}

static void store(struct loop *l, unsigned from, unsigned base, int32_t at)
{
	add(l, op_s(l->size == 4 ? 0x2023 : 0x3023, from, base, at) ^ (l->floats ? 4u : 0));
}

/* add, sub, sll, srl, sra, mul of words and of double words, and, or, xor, and sltu, which no vector does. */
static void compute_integer(struct loop *l, unsigned n, unsigned to, unsigned a, unsigned b)
{
	static const uint32_t words[] = {0x3b, 0x4000003b, 0x103b, 0x503b, 0x4000503b, 0x200003b};
	static const uint32_t others[] = {0x33, 0x40000033, 0x1033, 0x5033, 0x40005033, 0x2000033, 0x7033, 0x6033, 0x4033, 0x3033};
	unsigned by = n >= 2 && n <= 4 ? SHIFT : b;

	add(l, op_r(n < 6 && l->size == 4 && choose(6) ? words[n] : others[n], to, a, by));
}

static void compute_constant(struct loop *l, unsigned n, unsigned number, unsigned to, unsigned a)
{
	/* addi, andi, xori; slli, srli, srai, and those of words. */
	static const uint32_t numbers[] = {0x13, 0x7013, 0x4013}, shifts[] = {0x1013, 0x5013, 0x40005013},
			      word_shifts[] = {0x101b, 0x501b, 0x4000501b};

	if (n < 3)
		add(l, op_i(l->size == 4 && n == 0 ? 0x1b : numbers[n], to, a, (int32_t)(number % 4096) - 2048));
	else
		add(l, op_i(l->size == 4 ? word_shifts[n - 3] : shifts[n - 3], to, a, 1 + (int32_t)(number % (l->size * 8 - 1))));
}

/* What is computed from a and b in each place of a loop: the same for all, but now and then. */
static void compute(struct loop *l, unsigned kind, unsigned to, unsigned a, unsigned b)
{
	/* add, sub, mul, div, and sums of products with all signs, in the dynamic rounding mode. */
	static const uint32_t singles[] = {0x00007053, 0x08007053, 0x10007053, 0x18007053,
					   0x00007043, 0x00007047, 0x0000704b, 0x0000704f};
	unsigned n = kind % 16;

	if (l->floats && n >= 13)
		/* fsqrt, fneg, fabs */
		add(l, op_r(n == 13 ? 0x58007053 : n == 14 ? 0x20001053 : 0x20002053, to, a, n == 13 ? 0 : a) |
			       (l->size == 8 ? 1u << 25 : 0));
	else if (l->floats)
		add(l, op_r(singles[n % 8], to, a, b) | (l->size == 8 ? 1u << 25 : 0) | (n % 8 >= 4 ? STAYS << 27 : 0));
	else if (n < 10)
		compute_integer(l, n, to, a, b);
	else
		compute_constant(l, n - 10, kind / 16, to, a);
}

static void move_all(struct loop *l, unsigned which)
{
	static const uint8_t bases[] = {TO, FROM, OTHER, ALIAS};
	const int32_t strides[] = {l->stride, l->from_stride, l->other_stride, l->stride};

	for (unsigned i = 0; i < 4; i++)
		if (which >> i & 1)
			add(l, op_addi(bases[i], bases[i], strides[i]));
}

/* One round: each place loads, computes and stores, in order; or all loads come first, then all stores. */
static void places(struct loop *l)
{
	unsigned first = choose(256), second = choose(256), kind = choose(4), odd = choose(12);
	bool early = choose(3) == 0, alias = choose(3) == 0, unread = choose(6) == 0;
	/* What it stores may be what it loads in the next round, or the one before. */
	unsigned from = choose(5) ? FROM : TO;
	int32_t size = (int32_t)l->size, off = from == TO ? size * ((int32_t)choose(7) - 3) : 0;

	early &= from == FROM;
	/* What it shifts by, or what it computes with, is set in each round. */
	if (choose(8) == 0)
		add(l, op_addi(choose(2) ? SHIFT : STAYS, 0, (int32_t)choose(4096) - 2048));
	if (early)
		move_all(l, 2);
	for (unsigned i = 0; i < l->lanes; i++) {
		unsigned temp = TEMP + (choose(2) ? i % 3 : 0);
		int32_t at = size * (int32_t)i;

		load(l, temp, from, at + off - (early ? l->from_stride : 0));
		if (kind & 1)
			load(l, CARRY, OTHER, at);
		if (kind & 1)
			compute(l, first + (odd == i + 3), temp, temp, CARRY);
		if (kind & 2)
			compute(l, second, temp, temp, STAYS);
		if (unread)
			compute(l, first, CARRY2, temp, temp);
		store(l, temp, alias && i % 2 ? ALIAS : TO, at - (alias && i % 2 ? size : 0));
	}
	move_all(l, early ? 13 : 15);
}

/* As libraries copy to a place that is aligned otherwise: each word is read once and shifted into two. */
static void shifted(struct loop *l)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned before = i % 2 ? CARRY2 : CARRY, now = i % 2 ? CARRY : CARRY2;

		add(l, op_r(0x5033, TEMP, before, SHIFT));
		load(l, now, FROM, 8 * (int32_t)i);
		add(l, op_r(0x1033, TEMP + 1, now, BACK));
		add(l, op_r(0x6033, TEMP, TEMP, TEMP + 1));
		store(l, TEMP, i ? ALIAS : TO, 8 * (int32_t)i);
	}
	add(l, op_addi(ALIAS, ALIAS, l->stride));
	move_all(l, 2);
	add(l, op_addi(TO, ALIAS, 0));
}

static void fill(struct loop *l)
{
	for (unsigned i = 0; i < l->lanes; i++)
		store(l, choose(8) ? STAYS : SHIFT, TO, (int32_t)(l->size * i));
	move_all(l, 15);
}

/* The way back to the loop's head: by a number of rounds, or by where an array ends, which is told. */
static bool way_back(struct loop *l, unsigned rounds)
{
	int32_t back = -4 * (int32_t)l->count;
	bool up = l->from_stride > 0;

	switch (choose(5)) {
	case 0:
		l->x[MORE] = rounds;
		add(l, op_addi(LEFT, LEFT, -1));
		add(l, op_branch(1, LEFT, 0, back - 4));
		return false;
	case 1:
		l->x[MORE] = (uint64_t)-(4 * (int64_t)rounds);
		add(l, op_addi(LEFT, LEFT, 4));
		add(l, op_branch(4, LEFT, 0, back - 4));
		return false;
	case 2:
		l->x[MORE] = (uint64_t)((int64_t)rounds * l->from_stride);
		add(l, op_branch(up ? 6 : 7, FROM, LEFT, back));
		return true;
	case 3:
		/* Out of the middle, past what is made last. */
		l->x[MORE] = rounds;
		add(l, op_addi(LEFT, LEFT, -1));
		add(l, op_branch(0, LEFT, 0, 12));
		add(l, choose(2) ? op_addi(0, 0, 0) : op_add(LATE, FROM, TO));
		add(l, op_jal(0, back - 12));
		return false;
	default:
		l->x[MORE] = (uint64_t)((int64_t)rounds * l->from_stride);
		add(l, op_branch(1, FROM, LEFT, back));
		return true;
	}
}

/* Behind the loop it may begin again, where another name has gone elsewhere, and what stays is another float. */
static void end(struct loop *l, unsigned rounds)
{
	bool place = way_back(l, rounds);

	if (choose(4) == 0) {
		l->x[AGAIN] = choose(3);
		add(l, op_addi(ALIAS, ALIAS, 16));
		/* fmv.d.x: no boxed single */
		if (l->floats && choose(2))
			add(l, 0xf2000053 | STAYS << 7 | MORE << 15);
		add(l, op_add(LEFT, LEFT, MORE));
		add(l, op_addi(AGAIN, AGAIN, -1));
		add(l, op_branch(5, AGAIN, 0, -4 * (int32_t)l->count));
	}
	add(l, WFI);
	l->x[LEFT] = l->x[MORE] + (place ? l->x[FROM] : 0);
}

/* Arrays near each other or far apart, most often as aligned as double words are. */
static void arrays(struct loop *l)
{
	uint64_t middle = VIRTUAL + 8 * (WORDS / 2 - 512 + choose(1024));

	for (unsigned i = TO; i <= OTHER; i++) {
		int64_t away = choose(2) ? (int64_t)choose(16) - 8 : (int64_t)choose(2048) - 1024;

		l->x[i] = middle + (uint64_t)((int64_t)l->size * away) + (choose(6) ? 0 : choose(8));
	}
	if (choose(8) == 0)
		l->x[TO] = l->x[FROM];
	l->x[ALIAS] = l->x[TO];
	if (choose(8) == 0)
		l->x[ALIAS] += l->size;
}

static void make_loop(struct loop *l)
{
	unsigned kind = choose(4), rounds;

	memset(l, 0, sizeof *l);
	l->floats = choose(2) && kind != 1;
	l->size = kind == 1 || choose(2) ? 8 : 4;
	l->lanes = kind == 1 ? 4 : 1u << choose(4);
	if (kind > 2)
		l->lanes = 1 + choose(6);
	l->stride = (int32_t)(l->size * l->lanes) * (choose(4) ? 1 : -1);
	l->from_stride = l->stride * (kind != 1 && choose(6) == 0 ? 2 : 1);
	l->other_stride = l->stride * (choose(6) ? 1 : choose(2) ? 2 : -1);
	for (unsigned i = 1; i < 32; i++)
		l->x[i] = random64();
	l->x[SHIFT] = choose(64);
	l->x[BACK] = 64 - l->x[SHIFT];
	arrays(l);
	rounds = 1 + choose(choose(2) ? 20 : 1800 / l->lanes);
	if (kind == 1)
		shifted(l);
	else if (kind == 2)
		fill(l);
	else
		places(l);
	end(l, rounds);
}

/* Floats as programs have them; now and then one that is none, or large enough to become one. */
static uint64_t double_datum(unsigned rare)
{
	static const uint64_t special[] = {
		UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), UINT64_C(0x7ff8000000000000),
		UINT64_C(0x7ff0000000000001), UINT64_C(0xfff8000000000123), UINT64_C(0x8000000000000000),
		UINT64_C(0x0000000000000001), UINT64_C(0x7fefffffffffffff),
	};
	double value = (double)(int64_t)random64() / 65536;
	uint64_t bits;

	if (rare && choose(rare) == 0)
		return special[choose(8)];
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static uint32_t single_datum(unsigned rare)
{
	static const uint32_t special[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
					   0xffc00123, 0x80000000, 0x00000001, 0x7f7fffff};
	float value = (float)(int32_t)random64() / 1024;
	uint32_t bits;

	if (rare && choose(rare) == 0)
		return special[choose(8)];
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static uint64_t datum(const struct loop *l, unsigned rare)
{
	if (l->size == 8)
		return double_datum(rare);
	return (uint64_t)single_datum(rare) << 32 | single_datum(rare);
}

/* A single in its box, but now and then. */
static uint64_t float_register(const struct loop *l, unsigned rare)
{
	uint64_t bits = datum(l, rare);

	return l->size == 8 || choose(100) == 0 ? bits : bits | UINT64_C(0xffffffff00000000);
}

static uint64_t pte(uint64_t physical, unsigned flags)
{
	return physical >> 12 << 10 | flags;
}

/* Pages in some order; now and then one that may not be written, that is not there, or that is another one as well. */
static void map(struct bench *b)
{
	unsigned first = choose(PAGES), step = choose(2) ? 1 : 5, odd = choose(3);

	for (unsigned i = 0; i < PAGES; i++) {
		unsigned page = (first + i * step) % PAGES, flags = 0xcf;

		if (!odd && choose(PAGES) == 0)
			flags &= choose(2) ? ~4u : ~1u;
		if (odd == 1 && choose(4) == 0)
			page = choose(PAGES);
		bench_write64(b, TABLES + 0x2000 + 8 * i, pte(DATA + page * GUEST_PAGE_SIZE, flags));
	}
	b->hart[0]->priv = PRIV_S;
}

static void begin(struct bench *b)
{
	struct hart *hart = b->hart[0];

	bench_write64(b, TABLES + 8 * 2, pte(BENCH_RAM, 0xcf)); /* a gigapage, where it lies */
	bench_write64(b, TABLES + 8 * 1, pte(TABLES + 0x1000, 1));
	bench_write64(b, TABLES + 0x1000, pte(TABLES + 0x2000, 1));
	bench_write(b, HANDLER, (const uint32_t[]){WFI}, 1);
	hart->satp = UINT64_C(8) << 60 | TABLES >> 12;
	hart->mtvec = HANDLER;
}

static void prepare(struct bench *b, const struct loop *l, uint64_t of, unsigned rare)
{
	static uint64_t data[WORDS];
	struct hart *hart = b->hart[0];

	seed = of;
	map(b);
	for (unsigned i = 0; i < WORDS; i++)
		data[i] = datum(l, rare);
	assert_int_equal(memory_write(&b->memory, gpa(DATA), data, sizeof data), 0);
	/* The unit begins with the loop, or before it: then an outer loop is in it as well. */
	bench_write(b, BENCH_RAM, (const uint32_t[]){FENCE_I, SFENCE_VMA, choose(2) ? FENCE_I : op_addi(0, 0, 0)}, 3);
	bench_write(b, BENCH_RAM + 12, l->words, l->count);
	for (unsigned i = 1; i < 32; i++)
		hart->x[i] = l->x[i];
	for (unsigned i = 0; i < 32; i++)
		hart->f[i] = float_register(l, rare);
	hart->fflags = 0;
	bench_go(b, 0, BENCH_RAM);
}

static bool is_same_memory(struct bench *b, struct bench *c)
{
	static uint64_t one[WORDS], other[WORDS];

	assert_int_equal(memory_read(&b->memory, gpa(DATA), one, sizeof one), 0);
	assert_int_equal(memory_read(&c->memory, gpa(DATA), other, sizeof other), 0);
	for (unsigned i = 0; i < WORDS; i++)
		if (one[i] != other[i]) {
			printf("word %u: %#llx, not %#llx\n", i, (unsigned long long)other[i], (unsigned long long)one[i]);
			return false;
		}
	return true;
}

static bool is_same(struct bench *b, struct bench *c)
{
	const struct hart *x = b->hart[0], *y = c->hart[0];
	bool same = x->pc == y->pc && x->fflags == y->fflags && x->mepc == y->mepc && x->mcause == y->mcause &&
		    x->mtval == y->mtval && x->instret == y->instret && is_same_memory(b, c);

	if (!same)
		printf("pc %#llx and %#llx, flags %x and %x\n", (unsigned long long)x->pc, (unsigned long long)y->pc,
		       x->fflags, y->fflags);
	for (unsigned i = 0; i < 32; i++)
		if (x->x[i] != y->x[i] || x->f[i] != y->f[i]) {
			printf("x%u %#llx and %#llx, f%u %#llx and %#llx\n", i, (unsigned long long)x->x[i],
			       (unsigned long long)y->x[i], i, (unsigned long long)x->f[i], (unsigned long long)y->f[i]);
			same = false;
		}
	return same;
}

static bool run_both(struct bench *b, struct bench *c, uint64_t of)
{
	enum engine_exit_reason reason, other;

	seed = of;
	do {
		uint64_t limit = choose(3) ? 4000 + choose(20000) : 1 + choose(900);

		reason = bench_run(b, 0, limit);
		other = bench_run(c, 0, limit);
		if (reason != other || !is_same(b, c))
			return false;
	} while (!b->hart[0]->waiting);
	return true;
}

static void loops(struct bench *interpreted, struct bench *translated, uint64_t from)
{
	static const unsigned rares[] = {0, 0, 2000, 40};
	struct loop l;

	for (uint64_t i = 0; i < LOOPS; i++) {
		seed = from + i * UINT64_C(0x2545f4914f6cdd1d);
		make_loop(&l);
		prepare(interpreted, &l, from + i, rares[i % 4]);
		prepare(translated, &l, from + i, rares[i % 4]);
		if (!run_both(interpreted, translated, from + i)) {
			printf("loop %llu from %#llx:\n", (unsigned long long)i, (unsigned long long)from);
			for (unsigned j = 0; j < l.count; j++)
				printf(".word %#x\n", l.words[j]);
			fail();
		}
	}
}

static void test_with_others(void **state)
{
	struct bench *interpreted = bench_new(&engine_interpret), *translated = bench_new(&engine_translate);

	begin(interpreted);
	begin(translated);
	loops(interpreted, translated, 1);
	bench_free(interpreted);
	bench_free(translated);
	(void)state;
}

static void test_alone(void **state)
{
	struct bench *interpreted = bench_new_alone(&engine_interpret), *translated = bench_new_alone(&engine_translate);

	begin(interpreted);
	begin(translated);
	loops(interpreted, translated, UINT64_C(1) << 40);
	bench_free(interpreted);
	bench_free(translated);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_with_others), cmocka_unit_test(test_alone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
