/*
 * Misaligned loads and stores work in RAM, also across two pages that are no neighbours; a fault on the second
 * page is told with the address of the first byte there. Atomics must be aligned.
 */
#include "paging.h"

static uint8_t bytes[3 * 4096] __attribute__((aligned(4096)));
#define FIRST   ((uint64_t)bytes)
#define THIRD   ((uint64_t)bytes + 2 * PAGE)
#define VIRTUAL UINT64_C(0x323400000)

static uint64_t expected(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

static void within_a_page(void)
{
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned offset = 0; offset < 70; offset++) {
			context("size, offset", size, offset, 0);
			check(try_load(S, FIRST + offset, size), 0);
			check(last.a0, expected(bytes + offset, size));
		}
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned offset = 101; offset < 110; offset++) {
			for (unsigned i = 100; i < 120; i++)
				bytes[i] = (uint8_t)i;
			context("store size, offset", size, offset, 0);
			check(try_store(S, FIRST + offset, size), 0);
			for (unsigned i = 100; i < 120; i++)
				check(bytes[i], i >= offset && i < offset + size ? 0 : i);
		}
}

static naked void lr_w(void)
{
	asm("lr.w a0, (a0); ret");
}
static naked void sc_w(void)
{
	asm("sc.w a0, zero, (a0); ret");
}
static naked void sc_d(void)
{
	asm("sc.d a0, zero, (a0); ret");
}
static naked void amo_w(void)
{
	asm("amoadd.w a0, zero, (a0); ret");
}
static naked void amo_d(void)
{
	asm("amoswap.d a0, zero, (a0); ret");
}

static void atomics(void)
{
	for (unsigned offset = 1; offset < 8; offset++) {
		uint64_t at = FIRST + offset;
		bool word = offset == 4;

		context("atomic offset", offset, 0, 0);
		check(run(S, lr_w, at, 0).cause, word ? ECALL_S : LOAD_MISALIGNED);
		/* QEMU 7.2 lets the SC fail instead, and gives an AMO the cause of a load. */
		if (on_qemu())
			continue;
		check(run(S, sc_w, at, 0).cause, word ? ECALL_S : STORE_MISALIGNED);
		check(run(S, sc_d, at, 0).cause, STORE_MISALIGNED);
		check(run(S, amo_w, at, 0).cause, word ? ECALL_S : STORE_MISALIGNED);
		last = run(S, amo_d, at, 0);
		check(last.cause, STORE_MISALIGNED);
		check(last.tval, at);
	}
}

/* Pages at VIRTUAL and behind it: FIRST and THIRD. */
static uint64_t *two_pages(void)
{
	uint64_t *entry;

	paging_reset(3);
	paging_map(VIRTUAL, FIRST, 0, PTE_ALL);
	entry = paging_map(VIRTUAL + PAGE, THIRD, 0, PTE_ALL);
	paging_on(0);
	return entry;
}

static void across_pages(void)
{
	uint8_t joined[16];

	two_pages();
	for (unsigned i = 0; i < 8; i++) {
		joined[i] = bytes[PAGE - 8 + i];
		joined[8 + i] = bytes[2 * PAGE + i];
	}
	for (unsigned size = 2; size <= 8; size *= 2)
		for (unsigned offset = 1; offset < 16 - size; offset++) {
			context("across: size, offset", size, offset, 0);
			check(try_load(S, VIRTUAL + PAGE - 8 + offset, size), 0);
			check(last.a0, expected(joined + offset, size));
		}
	context("store across", 0, 0, 0);
	bytes[PAGE] = 0x5a;
	check(try_store(S, VIRTUAL + PAGE - 3, 8), 0);
	for (unsigned i = 0; i < 3; i++)
		check(bytes[PAGE - 3 + i], 0);
	for (unsigned i = 0; i < 5; i++)
		check(bytes[2 * PAGE + i], 0);
	check(bytes[PAGE - 4], joined[4]);
	check(bytes[2 * PAGE + 5], joined[13]);
	check(bytes[PAGE], 0x5a);
}

static void faults(uint64_t *second, uint64_t value, uint64_t load, uint64_t store)
{
	uint64_t at = VIRTUAL + PAGE;

	*second = value;
	fence_vma();
	for (unsigned size = 2; size <= 8; size *= 2)
		for (unsigned before = 1; before < size; before++) {
			context("fault behind: size, before, entry", size, before, value);
			check(try_load(S, at - before, size), load);
			if (load)
				check(last.tval, at);
			check(try_store(S, at - before, size), store);
			if (store)
				check(last.tval, at);
		}
}

static void faults_on_second(void)
{
	uint64_t *second = two_pages();

	faults(second, 0, LOAD_PAGE, STORE_PAGE);
	faults(second, pte(THIRD, PTE_V | PTE_X | PTE_A), LOAD_PAGE, STORE_PAGE);
	faults(second, pte(THIRD, PTE_V | PTE_R | PTE_A), 0, STORE_PAGE);
	faults(second, pte(THIRD, PTE_ALL | PTE_U), LOAD_PAGE, STORE_PAGE);
	/* QEMU 7.2 tells the address of the whole access when a physical one fails. */
	if (!on_qemu())
		faults(second, pte(HOLE, PTE_ALL), LOAD_ACCESS, STORE_ACCESS);
}

/* The first page's fault comes first, with the address of the access itself. */
static void faults_on_first(void)
{
	uint64_t *second = two_pages(), *first = second - 1;

	*first = 0;
	*second = 0;
	fence_vma();
	for (unsigned before = 1; before < 8; before++) {
		uint64_t at = VIRTUAL + PAGE - before;

		context("fault before", before, 0, 0);
		check(try_load(S, at, 8), LOAD_PAGE);
		check(last.tval, at);
		check(try_store(S, at, 8), STORE_PAGE);
		check(last.tval, at);
	}
	csr_write(satp, 0);
}

int main(void)
{
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
	within_a_page();
	atomics();
	across_pages();
	faults_on_second();
	faults_on_first();
	return 0;
}
