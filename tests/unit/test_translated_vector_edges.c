/*
 * Loops that vectors may do, at the edges of what they may take for granted: written out one by one, and compared with the
 * interpreter wherever they stop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "engine/interpret/interpret.h"
#include "engine/translate/frame.h"
#include "engine/translate/translate.h"
#include "engine_bench.h"

#define DATA    (BENCH_RAM + 0x100000)
#define TABLES  (BENCH_RAM + 0x200000)
#define HANDLER (BENCH_RAM + 0xf00)
#define VIRTUAL UINT64_C(0x40000000)
#define PAGES   6
#define WORDS   (PAGES * GUEST_PAGE_SIZE / 8)
#define LIMIT   200000
#define MIDDLE  900 /* of the longer loops */

#define SFENCE_VMA 0x12000073
#define READ_ONLY  0xcb
#define WRITABLE   0xcf

enum { FROM = 10, TO = 11, LEFT = 12, AGAIN = 13, MORE = 14, BY = 15, TEMP = 5, TEMP2 = 6 };

/* A program, and what it begins with. */
struct code {
	uint32_t words[32];
	unsigned count;
	uint64_t x[32], f[32];
};

static struct bench *interpreted, *translated;

static void add(struct code *c, uint32_t word)
{
	assert_true(c->count < ARRAY_SIZE(c->words));
	c->words[c->count++] = word;
}

static uint32_t op_load(unsigned size, unsigned rd, unsigned rs1, int32_t imm)
{
	return op_i(size == 4 ? 0x2003 : 0x3003, rd, rs1, imm);
}

static uint32_t op_store(unsigned size, unsigned rs2, unsigned rs1, int32_t imm)
{
	uint32_t i = (uint32_t)imm;

	return (size == 4 ? 0x2023u : 0x3023u) | rs1 << 15 | rs2 << 20 | (i >> 5 & 127) << 25 | (i & 31) << 7;
}

/* The same of floats. */
static uint32_t op_float(uint32_t access)
{
	return access ^ 4;
}

static uint32_t op_beq(unsigned rs1, unsigned rs2, int32_t offset)
{
	return op_bne(rs1, rs2, offset) ^ 0x1000;
}

/* sll, srl; or sra, with `more`; of words or double words. */
static uint32_t op_shift(unsigned size, bool right, uint32_t more, unsigned rd, unsigned rs1, unsigned rs2)
{
	return (size == 4 ? 0x3bu : 0x33u) | rd << 7 | (right ? 5u : 1u) << 12 | rs1 << 15 | rs2 << 20 | more;
}

static uint32_t op_lui(unsigned rd, int32_t number)
{
	return 0x37u | rd << 7 | (uint32_t)number << 12;
}

static uint32_t op_fadd_s(unsigned rd, unsigned rs1, unsigned rs2)
{
	return 0x00007053u | rd << 7 | rs1 << 15 | rs2 << 20;
}

static uint32_t op_fmv_d_x(unsigned rd, unsigned rs1)
{
	return 0xf2000053u | rd << 7 | rs1 << 15;
}

/* One less is left; back to the first word until none is. */
static void count_down(struct code *c)
{
	add(c, op_addi(LEFT, LEFT, -1));
	add(c, op_bne(LEFT, 0, -4 * (int32_t)c->count));
}

static void map_page(struct bench *b, unsigned number, unsigned page, unsigned flags)
{
	bench_write64(b, TABLES + 0x2000 + 8 * number, (DATA + page * GUEST_PAGE_SIZE) >> 12 << 10 | flags);
}

/* Each page lies at the next place but one, none beside the next of them. */
static void map(struct bench *b)
{
	static const uint8_t places[PAGES] = {4, 2, 0, 5, 3, 1};

	for (unsigned i = 0; i < PAGES; i++)
		map_page(b, i, places[i], WRITABLE);
}

static void begin(struct bench *b)
{
	struct hart *hart = b->hart[0];

	bench_write64(b, TABLES + 8 * 2, BENCH_RAM >> 12 << 10 | WRITABLE); /* a gigapage, where it lies */
	bench_write64(b, TABLES + 8 * 1, (TABLES + 0x1000) >> 12 << 10 | 1);
	bench_write64(b, TABLES + 0x1000, (TABLES + 0x2000) >> 12 << 10 | 1);
	bench_write(b, HANDLER, (const uint32_t[]){WFI}, 1);
	hart->satp = UINT64_C(8) << 60 | TABLES >> 12;
	hart->mtvec = HANDLER;
	map(b);
}

static int set_up_some(bool alone)
{
	struct bench *(*make)(const struct engine *) = alone ? bench_new_alone : bench_new;

	interpreted = make(&engine_interpret);
	translated = make(&engine_translate);
	begin(interpreted);
	begin(translated);
	return 0;
}

static int set_up_alone(void **state)
{
	(void)state;
	return set_up_some(true);
}

static int set_up(void **state)
{
	(void)state;
	return set_up_some(false);
}

static int tear_down(void **state)
{
	bench_free(interpreted);
	bench_free(translated);
	(void)state;
	return 0;
}

/* Numbers that are small floats as well. */
static void fill(struct bench *b)
{
	static uint32_t data[2 * WORDS];

	for (unsigned i = 0; i < 2 * WORDS; i++)
		data[i] = 0x40000000u + i * 64;
	assert_int_equal(memory_write(&b->memory, gpa(DATA), data, sizeof data), 0);
}

static void run(struct bench *b, const struct code *c, uint64_t limit)
{
	struct hart *hart = b->hart[0];

	fill(b);
	bench_write(b, BENCH_RAM, (const uint32_t[]){FENCE_I, SFENCE_VMA}, 2);
	bench_write(b, BENCH_RAM + 8, c->words, c->count);
	memcpy(hart->x, c->x, sizeof c->x);
	memcpy(hart->f, c->f, sizeof c->f);
	hart->fflags = 0;
	hart->priv = PRIV_S;
	bench_go(b, 0, BENCH_RAM);
	bench_run(b, 0, limit);
}

static void assert_same_memory(void)
{
	static uint64_t one[WORDS], other[WORDS];

	assert_int_equal(memory_read(&interpreted->memory, gpa(DATA), one, sizeof one), 0);
	assert_int_equal(memory_read(&translated->memory, gpa(DATA), other, sizeof other), 0);
	for (unsigned i = 0; i < WORDS; i++)
		if (one[i] != other[i])
			fail_msg("word %u: %#llx, not %#llx", i, (unsigned long long)other[i], (unsigned long long)one[i]);
}

static void assert_same(void)
{
	const struct hart *x = interpreted->hart[0], *y = translated->hart[0];

	assert_int_equal(x->pc, y->pc);
	assert_int_equal(x->mepc, y->mepc);
	assert_int_equal(x->mcause, y->mcause);
	assert_int_equal(x->mtval, y->mtval);
	assert_int_equal(x->instret, y->instret);
	assert_int_equal(x->fflags, y->fflags);
	for (unsigned i = 0; i < 32; i++) {
		if (x->x[i] != y->x[i])
			fail_msg("x%u: %#llx, not %#llx", i, (unsigned long long)y->x[i], (unsigned long long)x->x[i]);
		if (x->f[i] != y->f[i])
			fail_msg("f%u: %#llx, not %#llx", i, (unsigned long long)y->f[i], (unsigned long long)x->f[i]);
	}
	assert_same_memory();
}

static void both(const struct code *c, uint64_t limit)
{
	run(interpreted, c, limit);
	run(translated, c, limit);
	assert_same();
}

/* In the middle of a loop that was left there: whether vectors did what they could, and nothing spoke against it. */
static bool had_vectors(void)
{
	return frame_of(translated->hart[0])->vectors[0];
}

static struct code copy(unsigned size, int32_t stride)
{
	struct code c = {.count = 0};

	add(&c, op_load(size, TEMP, FROM, 0));
	add(&c, op_store(size, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, stride));
	add(&c, op_addi(TO, TO, stride));
	count_down(&c);
	add(&c, WFI);
	return c;
}

/* As many words in a round, and as many that are left out behind them; each array where double words are, or 4 bytes farther. */
static void aligned(bool alone, unsigned words, unsigned gap, unsigned off, bool expected)
{
	int32_t stride = 4 * (int32_t)(words + gap);
	struct code c = {.count = 0};

	for (unsigned i = 0; i < words; i++) {
		add(&c, op_load(4, TEMP, FROM, 4 * (int32_t)i));
		add(&c, op_store(4, TEMP, TO, 4 * (int32_t)i));
	}
	add(&c, op_addi(FROM, FROM, stride));
	add(&c, op_addi(TO, TO, stride));
	count_down(&c);
	add(&c, WFI);
	set_up_some(alone);
	c.x[FROM] = VIRTUAL + (off & 1 ? 4 : 0);
	c.x[TO] = VIRTUAL + 2 * GUEST_PAGE_SIZE + (off & 2 ? 4 : 0);
	c.x[LEFT] = 480 / words;
	both(&c, MIDDLE);
	assert_int_equal(had_vectors(), expected);
	both(&c, LIMIT);
	tear_down(NULL);
}

/* Where another hart may look, words are stored in pairs only if these are aligned double words; which they may be in every
 * other round. */
static void test_aligned(void **state)
{
	for (unsigned off = 0; off < 4; off++)
		for (unsigned words = 1; words <= 2; words++) {
			aligned(false, words, 0, off, off == 0 || (words == 1 && off == 3));
			aligned(true, words, 0, off, true);
		}
	/* What is aligned in one batch is not in the next. */
	aligned(false, 8, 1, 0, false);
	aligned(false, 8, 2, 0, true);
	(void)state;
}

/* The loop begins again with its way back, in the unit that began before it, and what it adds is a boxed single no more. */
static void test_boxed(void **state)
{
	struct code c = {.count = 0};

	add(&c, op_addi(TEMP2, 0, 1));
	add(&c, op_float(op_load(4, TEMP, FROM, 0)));
	add(&c, op_fadd_s(TEMP, TEMP, BY));
	add(&c, op_float(op_store(4, TEMP, TO, 0)));
	add(&c, op_addi(FROM, FROM, 4));
	add(&c, op_addi(TO, TO, 4));
	add(&c, op_addi(LEFT, LEFT, -1));
	add(&c, op_bne(LEFT, 0, -24));
	add(&c, op_fmv_d_x(BY, BY));
	add(&c, op_add(LEFT, LEFT, MORE));
	add(&c, op_addi(AGAIN, AGAIN, -1));
	add(&c, op_bne(AGAIN, 0, -40));
	add(&c, WFI);
	c.x[FROM] = VIRTUAL;
	c.x[TO] = VIRTUAL + 2 * GUEST_PAGE_SIZE;
	c.x[LEFT] = c.x[MORE] = 200;
	c.x[AGAIN] = 3;
	c.f[BY] = UINT64_C(0xffffffff3f800000);
	c.x[BY] = UINT64_C(0xffffffff3f800000);
	both(&c, MIDDLE);
	assert_true(had_vectors());
	both(&c, LIMIT);
	/* Where vectors leave one round, which ends the loop, it begins again with them. */
	c.x[BY] = 0x3f800000;
	for (unsigned rounds = 200; rounds < 216; rounds++) {
		c.x[LEFT] = c.x[MORE] = rounds;
		both(&c, LIMIT);
	}
	(void)state;
}

/* Arrays that end near the end of a page, whose next one, or the one before, may not be touched: whatever the last rounds are that
 * vectors do, the fault finds the registers as they must be. */
static void near_end(unsigned size, bool up, int32_t away, unsigned rounds)
{
	struct code c = copy(size, up ? (int32_t)size : -(int32_t)size);
	uint64_t end = VIRTUAL + (up ? 2 : 1) * GUEST_PAGE_SIZE;
	int32_t length = (int32_t)(size * rounds);

	c.x[LEFT] = 600;
	c.x[FROM] = end + (uint64_t)(int64_t)(up ? away - length : away + length);
	c.x[TO] = c.x[FROM] + 3 * GUEST_PAGE_SIZE;
	both(&c, LIMIT);
	c.x[LEFT] = rounds;
	both(&c, LIMIT);
}

static void end_of_page(bool store)
{
	static const uint32_t flags[] = {0, READ_ONLY};

	for (unsigned page = 0; page < 3; page += 2)
		for (unsigned engine = 0; engine < 2; engine++)
			map_page(engine ? translated : interpreted, page + (store ? 3 : 0), page, flags[store]);
	for (unsigned size = 4; size <= 8; size += 4)
		for (int32_t away = -9; away <= 9; away++)
			for (unsigned rounds = 40; rounds < 57; rounds++) {
				near_end(size, true, away, rounds);
				near_end(size, false, away, rounds);
			}
}

static void test_end_of_page(void **state)
{
	end_of_page(false);
	tear_down(state);
	set_up(state);
	end_of_page(true);
	(void)state;
}

/* What is loaded and what is stored lie at distances from one register, in pages that lie apart or are the same. */
static void test_one_root(void **state)
{
	struct code c = {.count = 0};

	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_store(8, TEMP, FROM, 2040));
	add(&c, op_addi(FROM, FROM, 8));
	count_down(&c);
	add(&c, WFI);
	c.x[FROM] = VIRTUAL;
	c.x[LEFT] = 400;
	both(&c, MIDDLE);
	assert_true(had_vectors());
	c.x[LEFT] = 100;
	for (unsigned at = 0; at < 4096; at += 64) {
		c.x[FROM] = VIRTUAL + at;
		both(&c, LIMIT);
	}
	map_page(interpreted, 1, 4, WRITABLE);
	map_page(translated, 1, 4, WRITABLE);
	for (unsigned at = 0; at < 4096; at += 64) {
		c.x[FROM] = VIRTUAL + at;
		both(&c, LIMIT);
	}
	(void)state;
}

/* What is loaded overtakes what is stored, or the other way round, only after many rounds. */
static void overtake(int32_t load_stride, int32_t store_stride)
{
	struct code c = {.count = 0};

	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_store(8, TEMP, TO, 0));
	if (store_stride == 16)
		add(&c, op_store(8, TEMP, TO, 8));
	add(&c, op_addi(FROM, FROM, load_stride));
	add(&c, op_addi(TO, TO, store_stride));
	count_down(&c);
	add(&c, WFI);
	c.x[LEFT] = 210;
	for (unsigned at = 0; at < 2048; at += 8) {
		c.x[FROM] = VIRTUAL + (load_stride < 0 ? 4088 : store_stride > load_stride ? at : 0);
		c.x[TO] = VIRTUAL + (store_stride < 0 ? 4088 - at : store_stride > load_stride ? 0 : at);
		both(&c, LIMIT);
	}
}

static void test_overtaken(void **state)
{
	overtake(16, 8);
	overtake(8, 16);
	overtake(-8, 8);
	overtake(8, -8);
	overtake(-16, -8);
	(void)state;
}

/* Two arrays, pages from each other, and how many rounds. */
static void place_arrays(struct code *c, uint64_t rounds)
{
	c->x[FROM] = VIRTUAL;
	c->x[TO] = VIRTUAL + 3 * GUEST_PAGE_SIZE;
	c->x[LEFT] = rounds;
}

/* What is shifted by a number that the loop itself puts into a register: only its lowest bits count. */
static void shifted(unsigned size, int32_t number, bool right, uint32_t more)
{
	struct code c = {.count = 0};

	add(&c, op_addi(TEMP2, 0, number));
	add(&c, op_load(size, TEMP, FROM, 0));
	add(&c, op_shift(size, right, more, TEMP, TEMP, TEMP2));
	add(&c, op_store(size, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, (int32_t)size));
	add(&c, op_addi(TO, TO, (int32_t)size));
	count_down(&c);
	add(&c, WFI);
	place_arrays(&c, 300);
	both(&c, MIDDLE);
	assert_int_equal(had_vectors(), !(more && size == 8));
	both(&c, LIMIT);
}

static void test_shifts(void **state)
{
	static const int32_t numbers[] = {0, 1, 31, 32, 40, 63, 64, 70, 2047, -1, -2048};

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		for (unsigned size = 4; size <= 8; size += 4) {
			shifted(size, numbers[i], false, 0);
			shifted(size, numbers[i], true, 0);
			shifted(size, numbers[i], true, UINT32_C(1) << 30);
		}
	(void)state;
}

/* Two registers lead to one array, so that each element is loaded twice. Where another hart may store, the later load must not
 * come first. */
static void loaded_twice(bool alone, int64_t away, bool expected)
{
	struct code c = {.count = 0};

	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_load(8, TEMP2, MORE, 0));
	add(&c, op_add(TEMP, TEMP, TEMP2));
	add(&c, op_store(8, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, 8));
	add(&c, op_addi(MORE, MORE, 8));
	add(&c, op_addi(TO, TO, 8));
	count_down(&c);
	add(&c, WFI);
	set_up_some(alone);
	c.x[FROM] = VIRTUAL + 64;
	c.x[MORE] = c.x[FROM] + (uint64_t)away;
	c.x[TO] = VIRTUAL + 3 * GUEST_PAGE_SIZE;
	c.x[LEFT] = 300;
	both(&c, MIDDLE);
	assert_int_equal(had_vectors(), expected);
	both(&c, LIMIT);
	tear_down(NULL);
}

static void test_loaded_twice(void **state)
{
	for (int64_t away = -64; away <= 64; away++)
		loaded_twice(true, away, true);
	loaded_twice(false, 0, true);
	loaded_twice(false, 8, false);
	loaded_twice(false, 1, false);
	loaded_twice(false, -8, true);
	loaded_twice(false, 512, true);
	(void)state;
}

/* Two loops in one round of another: what the one has left of its pages must not lead the other, and the pages change with each
 * round; one of them, last, may be read only. */
static void two_loops(int32_t skip, unsigned read_only)
{
	struct code c = {.count = 0};
	unsigned second;

	add(&c, op_add(LEFT, BY, 0));
	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_store(8, TEMP, FROM, 1024));
	add(&c, op_addi(FROM, FROM, 8));
	add(&c, op_addi(LEFT, LEFT, -1));
	add(&c, op_bne(LEFT, 0, -16));
	add(&c, op_add(LEFT, BY, 0));
	second = c.count;
	add(&c, op_store(8, LEFT, TO, 0));
	add(&c, op_load(8, TEMP, FROM, -8));
	add(&c, op_store(8, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, -8));
	add(&c, op_addi(TO, TO, 8));
	add(&c, op_addi(LEFT, LEFT, -1));
	add(&c, op_bne(LEFT, 0, -4 * (int32_t)(c.count - second - 1)));
	add(&c, op_addi(FROM, FROM, skip));
	add(&c, op_addi(AGAIN, AGAIN, -1));
	add(&c, op_bne(AGAIN, 0, -4 * (int32_t)c.count));
	add(&c, WFI);
	map_page(interpreted, read_only, read_only, READ_ONLY);
	map_page(translated, read_only, read_only, READ_ONLY);
	c.x[FROM] = VIRTUAL + 16;
	c.x[TO] = VIRTUAL + 3 * GUEST_PAGE_SIZE - 512;
	c.x[BY] = 60;
	c.x[AGAIN] = 12;
	both(&c, LIMIT);
	map(interpreted);
	map(translated);
}

static void test_two_loops(void **state)
{
	for (int32_t skip = -2040; skip < 2040; skip += 136)
		for (unsigned page = 0; page < PAGES; page++)
			two_loops(skip, page);
	(void)state;
}

/* A way out of the middle of a round, with what only the round before has left in a register. */
static void test_way_out_of_the_middle(void **state)
{
	struct code c = {.count = 0};

	add(&c, op_beq(LEFT, 0, 32));
	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_add(TEMP2, TEMP, BY));
	add(&c, op_store(8, TEMP2, TO, 0));
	add(&c, op_addi(FROM, FROM, 8));
	add(&c, op_addi(TO, TO, 8));
	add(&c, op_addi(LEFT, LEFT, -1));
	add(&c, op_jal(0, -28));
	add(&c, WFI);
	c.x[FROM] = VIRTUAL;
	c.x[TO] = VIRTUAL + 3 * GUEST_PAGE_SIZE;
	for (unsigned left = 1; left < 200; left++) {
		c.x[LEFT] = left;
		both(&c, LIMIT);
	}
	both(&c, MIDDLE);
	assert_true(had_vectors());
	(void)state;
}

/* What moves by so much that a batch moves it farther than a number of 32 bits tells, or one round does already. */
static void long_way(int32_t number, unsigned times)
{
	struct code c = {.count = 0};

	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_store(8, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, 8));
	add(&c, op_addi(TO, TO, 8));
	add(&c, op_lui(TEMP2, number));
	for (unsigned i = 0; i < times; i++)
		add(&c, op_add(BY, BY, TEMP2));
	count_down(&c);
	add(&c, WFI);
	place_arrays(&c, 300);
	both(&c, LIMIT);
}

static void test_long_ways(void **state)
{
	for (unsigned times = 1; times < 5; times++) {
		long_way(0x100, times);
		long_way(0x10000, times);
		long_way(0x40000, times);
		long_way(0x7ffff, times);
		long_way(-0x80000, times);
	}
	(void)state;
}

/* How a loop goes on: a branch on what counts and what stays; in which order, and by how much it counts. */
struct end {
	unsigned condition;
	bool reversed;
	int32_t by;
};

static void count(const struct end *end, uint64_t counts, uint64_t stays)
{
	struct code c = {.count = 0};
	uint32_t branch;

	add(&c, op_load(8, TEMP, FROM, 0));
	add(&c, op_store(8, TEMP, TO, 0));
	add(&c, op_addi(FROM, FROM, 8));
	add(&c, op_addi(TO, TO, 8));
	add(&c, op_addi(LEFT, LEFT, end->by));
	branch = op_bne(end->reversed ? MORE : LEFT, end->reversed ? LEFT : MORE, -4 * (int32_t)c.count);
	add(&c, (branch & ~UINT32_C(0x7000)) | end->condition << 12);
	add(&c, WFI);
	place_arrays(&c, counts);
	c.x[MORE] = stays;
	both(&c, 2000);
}

/* Counts that wrap, that begin at the end, that step over it, or that would go on for ever. */
static void test_ends(void **state)
{
	static const int32_t steps[] = {1, -1, 3, -3, 8, 100, -2048};
	static const uint64_t places[] = {
		0, 1, 50, 300, UINT64_C(1) << 63, (UINT64_C(1) << 63) - 200, (UINT64_C(1) << 63) + 100,
		UINT64_MAX, UINT64_MAX - 120, UINT64_C(1) << 32,
	};

	for (unsigned condition = 0; condition < 8; condition++)
		for (unsigned i = 0; condition != 2 && condition != 3 && i < 2 * ARRAY_SIZE(steps); i++)
			for (unsigned j = 0; j < ARRAY_SIZE(places) * ARRAY_SIZE(places); j++)
				count(&(struct end){condition, i & 1, steps[i / 2]}, places[j % ARRAY_SIZE(places)],
				      places[j / ARRAY_SIZE(places)]);
	(void)state;
}

/* The limit on instructions ends in each place of the loop. */
static void test_limits(void **state)
{
	struct code c = copy(8, 8);

	place_arrays(&c, 500);
	for (uint64_t limit = 90; limit < 700; limit++)
		both(&c, limit);
	(void)state;
}

static void track(struct bench *b)
{
	assert_int_equal(memory_dirty_start(&b->memory, NULL), 0);
	b->engine->drop_write_access(b->vcpu[0]);
}

/* Runs some rounds: which pages of the arrays were written. */
static uint64_t written(struct bench *b)
{
	static uint64_t bitmap[BENCH_SIZE / GUEST_PAGE_SIZE / 64];
	unsigned first = (DATA - BENCH_RAM) / GUEST_PAGE_SIZE;

	bench_run(b, 0, 700);
	memory_dirty_collect(&b->memory, 0, bitmap);
	b->engine->drop_write_access(b->vcpu[0]);
	return bitmap[first / 64] >> first % 64 & ((1u << PAGES) - 1);
}

/* While it is noted which pages are written, what vectors store is noted as well, also where it begins in the middle. */
static void test_tracked(void **state)
{
	struct code c = copy(8, 8);
	uint64_t all = 0, pages;

	place_arrays(&c, 1500);
	both(&c, MIDDLE);
	track(interpreted);
	track(translated);
	while (!interpreted->hart[0]->waiting) {
		pages = written(interpreted);
		assert_int_equal(written(translated), pages);
		all |= pages;
	}
	assert_int_equal(all, 0x2a); /* where `map` puts them */
	assert_same();
	(void)state;
}

/* Arrays in the page of the loop itself, before and behind it: what is stored there goes the long way, and the loop stays. */
static void test_own_page(void **state)
{
	struct code c = copy(8, 8);

	c.x[FROM] = VIRTUAL;
	c.x[TO] = BENCH_RAM + 0x400;
	c.x[LEFT] = 300;
	both(&c, LIMIT);
	for (unsigned i = 0x400; i < 0x400 + 300 * 8; i += 8)
		assert_int_equal(bench_read64(translated, BENCH_RAM + i), bench_read64(interpreted, BENCH_RAM + i));
	c.x[FROM] = BENCH_RAM;
	c.x[TO] = VIRTUAL + 2 * GUEST_PAGE_SIZE;
	both(&c, LIMIT);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),
		cmocka_unit_test_setup_teardown(test_boxed, set_up_alone, tear_down),
		cmocka_unit_test_setup_teardown(test_end_of_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_overtaken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shifts, set_up, tear_down),
		cmocka_unit_test(test_loaded_twice),
		cmocka_unit_test_setup_teardown(test_two_loops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_way_out_of_the_middle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tracked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_own_page, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
