/*
 * Loops that walk through memory: pages that are elsewhere than their neighbours, that end the loop by a fault, that may be
 * read but not written, and that move between two runs of one loop.
 */
#include "paging.h"

#define VIRTUAL UINT64_C(0x2345a5000)
#define RAM     UINT64_C(0x80000000)
#define PAGES   4
#define WORDS   (PAGE / 8)

/* The first half is seen from VIRTUAL on, in another order, so that what lies behind a page is not what comes next. */
static uint64_t memory[2 * PAGES][WORDS] __attribute__((aligned(4096)));
static unsigned order[PAGES] = {2, 0, 3, 1};

static uint64_t value(unsigned page, unsigned word)
{
	return (UINT64_C(0x9e3779b97f4a7c15) * (page * WORDS + word + 1)) ^ page;
}

static void map(uint64_t flags)
{
	for (unsigned i = 0; i < PAGES; i++)
		paging_map(VIRTUAL + i * PAGE, (uint64_t)memory[order[i]], 0, flags);
}

static void fresh(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned j = 0; j < WORDS; j++)
			memory[order[i]][j] = value(i, j);
	for (unsigned j = 0; j < WORDS; j++)
		memory[PAGES][j] = value(PAGES, j);
}

/* Each is one loop that ends by a fault behind the last page. a0 walks, so that it tells where. */
static naked void up(void)
{
	asm("1: ld t0, 0(a0); ld t1, 8(a0); xor t2, t0, t1; xor a1, a1, t2; addi a0, a0, 16; j 1b");
}

static naked void down(void)
{
	asm("1: lbu t0, -1(a0); add a1, a1, t0; addi a0, a0, -1; bnez a0, 1b; ret");
}

/* A load and a store off one register, with a store before it off another. */
static naked void change(void)
{
	asm("1: ld t0, 0(a0); sd t0, 0(a1); addi t0, t0, 1; sd t0, 0(a0); addi a0, a0, 8; addi a1, a1, 8; j 1b");
}

/* Misaligned: each page's end is crossed. */
static naked void crooked(void)
{
	asm("1: lw t0, 3(a0); add a1, a1, t0; addi a0, a0, 4; j 1b");
}

/* Over and over the same place, through a register that stays; a1 times. */
static naked void stay(void)
{
	asm("li t1, 0; 1: ld t0, 0(a0); add t1, t1, t0; addi t0, t0, 1; sd t0, 0(a0); addi a1, a1, -1; bnez a1, 1b;"
	    "mv a0, t1; ret");
}

/* Eight words from a0 on: two of them, which bits of a1 choose, change places. */
static naked void exchange(void)
{
	asm("andi t0, a1, 7; slli t0, t0, 3; add t0, t0, a0; srli t1, a1, 3; andi t1, t1, 7; slli t1, t1, 3; add t1, t1, a0;"
	    "ld t2, 0(t0); ld t3, 0(t1); sd t2, 0(t1); sd t3, 0(t0); ret");
}

/* Of eight words from a0 on, one after the other grows by one, round and round; a1 times. */
static naked void grow(void)
{
	asm("1: andi t0, a1, 7; slli t0, t0, 3; add t0, a0, t0; ld t1, 0(t0); addi t1, t1, 1; sd t1, 0(t0);"
	    "addi a1, a1, -1; bnez a1, 1b; ret");
}

/* The same with 256 words, which bytes choose; and where the table moves on by 128 words, between two loops, four times. */
static naked void count(void)
{
	asm("1: andi t0, a1, 255; slli t0, t0, 3; add t0, a0, t0; ld t1, 0(t0); addi t1, t1, 1; sd t1, 0(t0);"
	    "addi a1, a1, -1; bnez a1, 1b; ret");
}
/* Each element's place is made in the round before. */
static naked void count_ahead(void)
{
	asm("andi t0, a1, 255; slli t0, t0, 3; add t0, a0, t0; 1: ld t1, 0(t0); addi t1, t1, 1; sd t1, 0(t0);"
	    "addi a1, a1, -1; andi t0, a1, 255; slli t0, t0, 3; add t0, a0, t0; bnez a1, 1b; ret");
}
static naked void count_on(void)
{
	asm("li t3, 4; 1: mv t2, a1; 2: andi t0, t2, 255; slli t0, t0, 3; add t0, t0, a0; ld t1, 0(t0); addi t1, t1, 1; sd t1, 0(t0);"
	    "addi t2, t2, -1; bnez t2, 2b; addi a0, a0, 1024;"
	    "mv t2, a1; 2: andi t0, t2, 255; slli t0, t0, 3; add t0, t0, a0; ld t1, 0(t0); addi t1, t1, 2; sd t1, 0(t0);"
	    "addi t2, t2, -1; bnez t2, 2b; addi t3, t3, -1; bnez t3, 1b; ret");
}

/* The table moves on where a way out of the loop leads, far behind it, and back from there. */
static naked void count_round(void)
{
	asm("li t3, 4; mv t2, a1; 1: beqz t3, 3f; andi t0, t2, 255; slli t0, t0, 3; add t0, t0, a0; ld t1, 0(t0);"
	    "addi t1, t1, 1; sd t1, 0(t0); addi t2, t2, -1; beqz t2, 2f;"
	    "xor t4, t4, t2; slli t4, t4, 1; xor t5, t5, t4; slli t5, t5, 1; xor t4, t4, t5; slli t4, t4, 2; xor t5, t5, t4;"
	    "slli t5, t5, 3; xor t4, t4, t5; slli t4, t4, 4; xor t5, t5, t4; j 1b;"
	    "2: addi a0, a0, 1024; mv t2, a1; addi t3, t3, -1; j 1b; 3: ret");
}

/* The way back to the first label lies in the second loop, before what moves the base. a1 is how often it moves. */
static naked void entangled(void)
{
	asm("li t1, 1; ld t2, 0(a0); 1: ld t3, 8(a0); 2: addi a1, a1, -1; beq a1, t1, 1b; addi a0, a0, 8; bgtz a1, 2b;"
	    "mv a0, t3; ret");
}

/* A place a gigabyte from here, in a register that is overwritten by what lies there; and a store to it. */
static naked void known(void)
{
	asm("auipc a0, 0x40000; ld a0, 16(a0); ret");
}
static naked void known_store(void)
{
	asm("auipc a0, 0x40000; sd a1, 16(a0); li a0, 0; ret");
}

static void ends(const void *code, uint64_t from, uint64_t a1, uint64_t cause, uint64_t at, uint64_t tval)
{
	last = run(S, code, from, a1);
	check(last.cause, cause);
	check(last.a0, at);
	check(last.tval, tval);
}

static void faults(void)
{
	uint64_t end = VIRTUAL + PAGES * PAGE;

	context("up", 0, 0, 0);
	for (unsigned i = 0; i < 16; i += 5)
		ends(up, VIRTUAL + i * 8, 0, page_fault('r'), end - (i & 1 ? 8 : 0), end);
	context("down", 0, 0, 0);
	ends(down, end, 0, page_fault('r'), VIRTUAL, VIRTUAL - 1);
	context("known", 0, 0, 0);
	ends(known, 0, 0, page_fault('r'), (uint64_t)known + (UINT64_C(1) << 30), (uint64_t)known + (UINT64_C(1) << 30) + 16);
	ends(known_store, 0, 0, page_fault('w'), (uint64_t)known_store + (UINT64_C(1) << 30),
	     (uint64_t)known_store + (UINT64_C(1) << 30) + 16);
	context("crooked", 0, 0, 0);
	ends(crooked, VIRTUAL, 0, page_fault('r'), end - 4, end);
}

/* A page may not be written. The store before it in the loop is done, that of the page is not. */
static void read_only(unsigned which)
{
	uint64_t at = VIRTUAL + which * PAGE, *entry = paging_entry(at, 0), flags = PTE_ALL & ~(PTE_W | PTE_D);
	unsigned before = which ? order[which - 1] : PAGES;

	fresh();
	*entry = pte((uint64_t)memory[order[which]], flags);
	fence_vma();
	context("read only", which, 0, 0);
	ends(change, VIRTUAL, (uint64_t)memory[PAGES], page_fault('w'), at, at);
	check(memory[order[which]][0], value(which, 0));
	if (which)
		check(memory[before][WORDS - 1], value(which - 1, WORDS - 1) + 1);
	check(memory[PAGES][0], value(0, 0));
	*entry = pte((uint64_t)memory[order[which]], PTE_ALL);
	fence_vma();
}

/* Between two runs of a loop its page moves. */
static void moves(void)
{
	uint64_t *entry = paging_entry(VIRTUAL, 0);

	for (unsigned i = 0; i < 20; i++) {
		unsigned page = i & 1;
		uint64_t was = memory[page][0];

		*entry = pte((uint64_t)memory[page], PTE_ALL);
		asm volatile("sfence.vma %0, x0" ::"r"(VIRTUAL) : "memory");
		context("moves", i, 0, 0);
		last = run(S, stay, VIRTUAL, 100);
		check(last.cause, ECALL_S);
		check(last.a0, 100 * was + 99 * 100 / 2);
		check(memory[page][0], was + 100);
		check(memory[1 - page][0], value(page ? 1 : 3, 0) + (i + 1) / 2 * 100);
	}
}

static uint64_t *word(uint64_t at)
{
	return &memory[order[(at - VIRTUAL) / PAGE]][(at - VIRTUAL) % PAGE / 8];
}

/* Words that are chosen by small numbers, in one page and in two. */
static void chosen(uint64_t base)
{
	fresh();
	for (unsigned n = 0; n < 64; n += 5) {
		uint64_t first = base + n % 8 * 8, second = base + n / 8 * 8;
		uint64_t a = *word(first), b = *word(second);

		context("chosen", base, n, 0);
		last = run(S, exchange, base, n);
		check(last.cause, ECALL_S);
		check(*word(first), b);
		check(*word(second), a);
	}
	fresh();
	last = run(S, grow, base, 80);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t at = base + i * 8;

		context("grown", base, i, 0);
		check(*word(at), value((unsigned)((at - VIRTUAL) / PAGE), (unsigned)((at - VIRTUAL) % PAGE / 8)) + 10);
	}
}

/* The same where the upper four words may not be `denied`. */
static void not_chosen(uint64_t base, char denied)
{
	for (unsigned n = 0; n < 64; n += 3) {
		unsigned i = n % 8, j = n / 8, bad = denied == 'r' ? (i > 3 ? i : j) : (j > 3 ? j : i);
		uint64_t first = *word(base), at = base + bad * 8;

		context("not chosen", base, n, (uint64_t)denied);
		last = run(S, exchange, base, n);
		check(last.cause, bad > 3 ? page_fault(denied) : ECALL_S);
		if (bad > 3)
			check(last.tval, at);
		/* Before a store that faults, another may be done. */
		if (bad > 3 && (denied == 'r' || j > 3))
			check(*word(base), first);
	}
}

static void tables(void)
{
	static const unsigned from[] = {0, PAGE / 2, PAGE - 64, PAGE - 56, PAGE - 32, PAGE - 8, 2 * PAGE - 48};
	uint64_t *entry = paging_entry(VIRTUAL + PAGE, 0);

	for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++)
		chosen(VIRTUAL + from[i]);
	fresh();
	*entry = pte((uint64_t)memory[order[1]], PTE_ALL & ~(PTE_W | PTE_D));
	fence_vma();
	not_chosen(VIRTUAL + PAGE - 32, 'w');
	*entry = pte((uint64_t)memory[order[1]], PTE_ALL);
	fence_vma();
	not_chosen(VIRTUAL + PAGES * PAGE - 32, 'r');
}

static uint64_t was(uint64_t at)
{
	return value((unsigned)((at - VIRTUAL) / PAGE), (unsigned)((at - VIRTUAL) % PAGE / 8));
}

/* How many of the tables that begin at four places, 128 words apart from `first` on, have word i. */
static unsigned covering(unsigned first, unsigned i)
{
	unsigned n = 0;

	for (unsigned j = first; j < first + 4; j++)
		n += i >= j * 128 && i < j * 128 + 256;
	return n;
}

/* A table of 256 words, in one page or in two; 600 elements of it, from the 88th down and round. */
static void counted(const void *code, uint64_t base)
{
	fresh();
	last = run(S, code, base, 600);
	check(last.cause, ECALL_S);
	for (unsigned i = 0; i < 256; i++) {
		context("counted", base, i, 0);
		check(*word(base + i * 8), was(base + i * 8) + 2 + (i > 0 && i <= 88));
	}
}

static void counted_on(uint64_t base)
{
	fresh();
	last = run(S, count_on, base, 256);
	check(last.cause, ECALL_S);
	for (unsigned i = 0; i < 256 + 4 * 128; i++) {
		context("counted on", base, i, 0);
		check(*word(base + i * 8), was(base + i * 8) + covering(0, i) + 2 * covering(1, i));
	}
	fresh();
	last = run(S, count_round, base, 256);
	check(last.cause, ECALL_S);
	for (unsigned i = 0; i < 256 + 4 * 128; i++) {
		context("counted round", base, i, 0);
		check(*word(base + i * 8), was(base + i * 8) + covering(0, i));
	}
}

/* Words that lie across the end of a page: all bits are ones, so that a carry goes through each. */
static void counted_across(uint64_t base)
{
	fresh();
	for (unsigned i = 0; i <= 256; i++)
		*word(base + i * 8) = UINT64_MAX;
	context("counted across", base, 0, 0);
	last = run(S, count, base + 4, 256);
	check(last.cause, ECALL_S);
	check(*word(base), UINT32_MAX);
	for (unsigned i = 1; i < 256; i++)
		check(*word(base + i * 8), 0);
	check(*word(base + 256 * 8), UINT64_MAX << 32);
}

/* The table's upper words, from `bad` on, may not be accessed so: it faults at once, or when those below were counted. */
static void not_counted(const void *code, uint64_t base, unsigned bad, char denied)
{
	for (unsigned round = 0; round < 3; round++) {
		fresh();
		context("not counted", base, bad, (uint64_t)denied);
		last = run(S, code, base, 255);
		check(last.cause, page_fault(denied));
		check(last.tval, base + 255 * 8);
		last = run(S, code, base, bad - 1);
		check(last.cause, ECALL_S);
		last = run(S, code, base, 256 + bad - 1);
		check(last.cause, page_fault(denied));
		check(last.tval, base + 255 * 8);
		for (unsigned i = 0; i < bad; i++)
			check(*word(base + i * 8), was(base + i * 8) + 1 + (i != 0));
	}
}

static void large_tables(void)
{
	static const unsigned from[] = {0, PAGE / 2 - 64, PAGE / 2, PAGE / 2 + 8, PAGE - 8, 2 * PAGE - 1024};
	uint64_t *entry = paging_entry(VIRTUAL + PAGE, 0);

	for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++)
		counted(count, VIRTUAL + from[i]);
	for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++)
		counted(count_ahead, VIRTUAL + from[i]);
	for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++)
		counted_on(VIRTUAL + from[i]);
	counted_across(VIRTUAL + PAGE - 512);
	fresh();
	*entry = pte((uint64_t)memory[order[1]], PTE_ALL & ~(PTE_W | PTE_D));
	fence_vma();
	not_counted(count, VIRTUAL + PAGE - 800, 100, 'w');
	not_counted(count_ahead, VIRTUAL + PAGE - 800, 100, 'w');
	*entry = pte((uint64_t)memory[order[1]], PTE_ALL);
	fence_vma();
	not_counted(count, VIRTUAL + PAGES * PAGE - 800, 100, 'r');
	not_counted(count_ahead, VIRTUAL + PAGES * PAGE - 800, 100, 'r');
}

static void tangle(void)
{
	static const unsigned times[] = {2, 100, WORDS + 1, 4 * WORDS};

	fresh();
	for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++) {
		context("entangled", times[i], 0, 0);
		last = run(S, entangled, VIRTUAL, times[i]);
		check(last.cause, ECALL_S);
		check(last.a0, was(VIRTUAL + (times[i] - 1) * 8));
	}
}

int main(void)
{
	paging_reset(3);
	map(PTE_ALL);
	paging_map(RAM, RAM, 2, PTE_ALL);
	paging_on(1);
	fresh();
	faults();
	for (unsigned i = 0; i < PAGES; i++)
		read_only(i);
	fresh();
	moves();
	map(PTE_ALL);
	fence_vma();
	tables();
	large_tables();
	tangle();
	/* Now pages that are neighbours are so in memory, too. */
	for (unsigned i = 0; i < PAGES; i++)
		order[i] = i;
	map(PTE_ALL);
	fence_vma();
	large_tables();
	return 0;
}
