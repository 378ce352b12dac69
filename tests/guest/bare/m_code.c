/* Code that changes under the hart, that is seen at two addresses, and that lies across two pages. */
#include "paging.h"

static uint32_t code[3072] __attribute__((aligned(4096)));
#define THIRD_OFFSET (2 * PAGE)
#define FIRST  ((uint64_t)code)
#define SECOND ((uint64_t)code + PAGE)
#define THIRD  ((uint64_t)code + THIRD_OFFSET)
#define RET    0x00008067
#define ECALL  0x00000073
#define PLACES 80
#define ROUNDS 40
/* li a0, n */
#define LI(n) ((uint32_t)(n) << 20 | 0x513)

static void fence_i(void)
{
	asm volatile("fence.i" ::: "memory");
}

static uint64_t result(unsigned mode, uint64_t address)
{
	last = run(mode, (const void *)address, 0, 0);
	return last.cause == ECALL_U + mode ? last.a0 : last.cause << 32;
}

static void put(uint64_t address, uint32_t instruction)
{
	*(volatile uint16_t *)address = (uint16_t)instruction;
	*(volatile uint16_t *)(address + 2) = (uint16_t)(instruction >> 16);
}

/* Code that tells `value`. */
static void put_answer(uint64_t address, unsigned value)
{
	put(address, LI(value));
	put(address + 4, ECALL);
}

static void modified(void)
{
	put(FIRST + 4, ECALL);
	for (unsigned i = 0; i < 200; i++) {
		put(FIRST, LI(i));
		fence_i();
		context("modified", i, 0, 0);
		check(result(i & 1 ? S : M, FIRST), i);
	}
	/* From 32 bits to two times 16, in the middle of what ran before: c.li a0, 3; c.li a0, 4. */
	put(FIRST, 0x4511450d);
	fence_i();
	context("compressed", 0, 0, 0);
	check(result(M, FIRST), 4);
	check(result(M, FIRST + 2), 4);
}

/* Code that writes the instruction that follows it. a0: the instruction. */
static naked void write_ahead(void)
{
	asm(".option push; .option norvc; la t0, 1f; sw a0, 0(t0); fence.i; .balign 4; 1: li a0, 0; ret; .option pop");
}

static void ahead(void)
{
	for (unsigned i = 0; i < 20; i++) {
		struct trap t = run(M, write_ahead, LI(i), 0);

		context("ahead", i, 0, 0);
		check(t.cause, ECALL_M);
		check(t.a0, i);
	}
}

#define VIRTUAL UINT64_C(0x223400000)

static void set(uint64_t *entry, uint64_t value)
{
	*entry = value;
	fence_vma();
}

/* The same page at two addresses, written through a third. */
static void aliases(void)
{
	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	paging_map(VIRTUAL + PAGE, FIRST, 0, PTE_ALL);
	paging_map(VIRTUAL + 2 * PAGE, FIRST, 0, PTE_ALL | PTE_U);
	put(FIRST + 4, ECALL);
	paging_on(0);
	for (unsigned i = 0; i < 20; i++) {
		put(FIRST, LI(100 + i));
		fence_i();
		context("alias", i, 0, 0);
		check(result(S, VIRTUAL), 100 + i);
		check(result(S, VIRTUAL + PAGE), 100 + i);
		check(result(U, VIRTUAL + 2 * PAGE), 100 + i);
	}
}

/* Another page under the same address: no fence.i is due, only sfence.vma. */
static void moved(void)
{
	uint64_t *entry;

	paging_reset(3);
	entry = paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	put_answer(FIRST, 1);
	put_answer(SECOND, 2);
	fence_i();
	paging_on(0);
	for (unsigned i = 0; i < 6; i++) {
		set(entry, pte(i & 1 ? SECOND : FIRST, PTE_ALL));
		context("moved", i, 0, 0);
		check(result(S, VIRTUAL), i & 1 ? 2 : 1);
	}
}

/* A jump into the next page, so often that a translator would shorten it; what lies there, and which page it is, change. */
static void next_page(void)
{
	uint64_t *second;

	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	second = paging_map(VIRTUAL + PAGE, SECOND, 0, PTE_ALL);
	put(FIRST, 0x0000106f); /* j 4096 */
	put_answer(SECOND, 1);
	put_answer(THIRD, 2);
	fence_i();
	paging_on(0);
	for (unsigned i = 0; i < 900; i++) {
		uint64_t page = i / 150 & 1 ? THIRD : SECOND;

		context("next page", i, 0, 0);
		if (i % 150 == 0) {
			*second = pte(page, PTE_ALL);
			asm volatile("sfence.vma %0, x0" ::"r"(VIRTUAL + PAGE) : "memory");
		}
		if (i % 150 == 100) {
			put(page, LI(i));
			fence_i();
		}
		if (i % 150 < 100)
			put(page == THIRD ? SECOND : THIRD, LI(page == THIRD ? 1 : 2));
		check(result(S, VIRTUAL), i % 150 >= 100 ? i / 50 * 50 : page == THIRD ? 2 : 1);
	}
	set(second, 0);
	check(result(S, VIRTUAL), FAULT(FETCH_PAGE));
	check(last.epc, VIRTUAL + PAGE);
}

/* An instruction of 32 bits whose halves lie on two pages that are no neighbours in memory. */
static void across(void)
{
	uint64_t at = VIRTUAL + PAGE - 2, *second;

	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	second = paging_map(VIRTUAL + PAGE, THIRD, 0, PTE_ALL);
	*(volatile uint16_t *)(FIRST + PAGE - 2) = (uint16_t)LI(77);
	*(volatile uint16_t *)THIRD = LI(77) >> 16;
	put(THIRD + 2, ECALL);
	*(volatile uint16_t *)SECOND = LI(78) >> 16;
	put(SECOND + 2, ECALL);
	fence_i();
	paging_on(0);
	context("across", 0, 0, 0);
	check(result(S, at), 77);
	check(last.epc, at + 4);
	/* The second half elsewhere. */
	set(second, pte(SECOND, PTE_ALL));
	check(result(S, at), 78);
	set(second, pte(THIRD, PTE_ALL));
	check(result(S, at), 77);
	/* Rewritten in place. */
	*(volatile uint16_t *)THIRD = LI(79) >> 16;
	fence_i();
	check(result(S, at), 79);
	/* Not there, not executable, the user's, nowhere: the fault is the second page's, the pc the
	 * instruction's. */
	set(second, 0);
	check(result(S, at), FAULT(FETCH_PAGE));
	check(last.epc, at);
	check(last.tval, VIRTUAL + PAGE);
	set(second, pte(THIRD, PTE_ALL & ~PTE_X));
	check(result(S, at), FAULT(FETCH_PAGE));
	check(last.tval, VIRTUAL + PAGE);
	set(second, pte(THIRD, PTE_ALL | PTE_U));
	check(result(S, at), FAULT(FETCH_PAGE));
	check(last.tval, VIRTUAL + PAGE);
	/* QEMU 7.2 ends on an assertion here. */
	if (!on_qemu()) {
		set(second, pte(HOLE, PTE_ALL));
		check(result(S, at), FAULT(FETCH_ACCESS));
		check(last.epc, at);
		check(last.tval, VIRTUAL + PAGE);
	}
	set(second, pte(THIRD, PTE_ALL));
	check(result(S, at), 79);
}

/* The same, reached from the instructions before it and by a branch of its page; what lies there and which page follows
 * change, and the fence names the second page alone. */
static void across_from_within(void)
{
	static const struct {
		uint16_t last;
		uint64_t page, expected;
	} ways[] = {{(uint16_t)LI(0), THIRD_OFFSET, 77}, {0x0001, 0, 5}, {(uint16_t)LI(0), PAGE, 78}};
	uint64_t edge = FIRST + PAGE - 2, *second;

	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	second = paging_map(VIRTUAL + PAGE, FIRST, 0, PTE_ALL);
	put(FIRST, LI(5));
	put(FIRST + 4, ECALL);
	*(volatile uint16_t *)SECOND = LI(78) >> 16;
	put(SECOND + 2, ECALL);
	*(volatile uint16_t *)THIRD = LI(77) >> 16;
	put(THIRD + 2, ECALL);
	/* beq zero, zero, the last half word; c.nop, twice. */
	put(edge - 12, 0x00000663);
	put(edge - 4, 0x00010001);
	paging_on(0);
	for (unsigned i = 0; i < 15; i++) {
		context("across from within", i, 0, 0);
		*(volatile uint16_t *)edge = ways[i % 3].last;
		fence_i();
		*second = pte(FIRST + ways[i % 3].page, PTE_ALL);
		asm volatile("sfence.vma %0, x0" ::"r"(VIRTUAL + PAGE) : "memory");
		check(result(S, VIRTUAL + PAGE - 6), ways[i % 3].expected);
		check(result(S, VIRTUAL + PAGE - 14), ways[i % 3].expected);
	}
	*(volatile uint16_t *)edge = (uint16_t)LI(0);
	fence_i();
	/* Nothing but the second page changes now. */
	for (unsigned i = 0; i < 15; i++) {
		context("second page", i, 0, 0);
		*second = pte(i & 1 ? SECOND : THIRD, PTE_ALL);
		asm volatile("sfence.vma %0, x0" ::"r"(VIRTUAL + PAGE) : "memory");
		check(result(S, VIRTUAL + PAGE - 6), i & 1 ? 78 : 77);
		check(result(S, VIRTUAL + PAGE - 14), i & 1 ? 78 : 77);
	}
}

/* One of 16 bits at the end of a page needs nothing of the next: c.ebreak. */
static void at_the_end(void)
{
	uint64_t at = VIRTUAL + PAGE - 2;

	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	*(volatile uint16_t *)(FIRST + PAGE - 2) = 0x9002;
	fence_i();
	paging_on(0);
	context("end of page", 0, 0, 0);
	check(result(S, at), FAULT(BREAKPOINT));
	check(last.epc, at);
	/* c.nop: the next page is missing when it is reached. */
	*(volatile uint16_t *)(FIRST + PAGE - 2) = 0x0001;
	fence_i();
	check(result(S, at), FAULT(FETCH_PAGE));
	check(last.epc, VIRTUAL + PAGE);
	check(last.tval, VIRTUAL + PAGE);
}

/* Code written through a physical address while it was run through a virtual one, and executed again in M-mode. */
static void modes(void)
{
	paging_reset(5);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	put(FIRST, LI(5));
	put(FIRST + 4, ECALL);
	fence_i();
	paging_on(0);
	context("modes", 0, 0, 0);
	check(result(S, VIRTUAL), 5);
	check(result(M, FIRST), 5);
	put(FIRST, LI(6));
	fence_i();
	check(result(M, FIRST), 6);
	check(result(S, VIRTUAL), 6);
	check(result(S, FIRST), FAULT(FETCH_PAGE));
}

/* Fence after fence, with little code between and with much, in pages and across two; one place changes each time. */
static void many(void)
{
	static const unsigned counts[] = {3, 24, PLACES};
	static uint32_t pages[(PLACES + 1) * PAGE / 4] __attribute__((aligned(4096)));
	static unsigned values[PLACES];

	for (unsigned round = 0; round < 3 * ROUNDS; round++) {
		unsigned count = counts[round / ROUNDS], changed = round * 7 % count;

		for (unsigned i = 0; i < count; i++) {
			uint64_t at = (uint64_t)pages + (i + 1) * PAGE - (i & 1 ? 2 : 64);

			if (i == changed || round % ROUNDS == 0)
				put_answer(at, values[i] = (i * 31 + round) & 1023);
			if (i == changed)
				fence_i();
		}
		fence_i();
		for (unsigned i = 0; i < count; i++) {
			context("many", round, i, 0);
			check(result(i & 2 ? S : M, (uint64_t)pages + (i + 1) * PAGE - (i & 1 ? 2 : 64)), values[i]);
		}
	}
}

int main(void)
{
	many();
	modified();
	ahead();
	aliases();
	moved();
	next_page();
	across();
	across_from_within();
	at_the_end();
	modes();
	return 0;
}
