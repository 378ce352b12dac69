/*
 * Two harts and what one remembers of the other's memory: code that the other rewrites, page tables that the other
 * changes, each made good by an interrupt and the fence of the hart itself, as supervisors do it.
 */
#include "paging.h"

#define ROUNDS  500
#define VIRTUAL UINT64_C(0x123400000)
/* li a0, n */
#define LI(n) ((uint32_t)(n) << 20 | 0x513)
#define RET   0x00008067

static uint64_t pages[2][512] __attribute__((aligned(4096)));
static uint32_t code[16] __attribute__((aligned(64))) = {LI(0), RET};
static uint64_t *volatile entry;
static volatile uint64_t root, turn, seen_code, seen_data, stop;

static uint64_t load_translated(uint64_t address)
{
	uint64_t value, status = STATUS_MPRV | (uint64_t)S << 11;

	csr_clear(mstatus, STATUS_MPP);
	asm volatile("csrs mstatus, %1; ld %0, 0(%2); csrc mstatus, %3"
		     : "=r"(value)
		     : "r"(status), "r"(address), "r"(STATUS_MPRV)
		     : "memory");
	return value;
}

/* The other hart: at each turn, fences, then says what it executes and what it reads. */
static void other(uint64_t id)
{
	uint64_t done = 0;

	(void)id;
	while (!root)
		continue;
	asm volatile("fence" ::: "memory");
	csr_write(satp, root);
	for (;;) {
		while (turn == done)
			continue;
		asm volatile("fence; fence.i; sfence.vma" ::: "memory");
		seen_code = ((uint64_t(*)(void))(uint64_t)code)();
		seen_data = load_translated(VIRTUAL);
		asm volatile("fence" ::: "memory");
		done++;
		stop = done;
	}
}

int main(void)
{
	for (unsigned i = 0; i < 512; i++) {
		pages[0][i] = 100;
		pages[1][i] = 200;
	}
	paging_reset(3);
	entry = paging_map(VIRTUAL, (uint64_t)pages[0], 0, PTE_ALL);
	paging_on(0);
	start_others(other);
	root = csr_read(satp);
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		*(volatile uint32_t *)code = LI(i & 1023);
		*entry = pte((uint64_t)pages[i & 1], PTE_ALL);
		asm volatile("fence" ::: "memory");
		turn = i;
		while (stop != i)
			continue;
		asm volatile("fence" ::: "memory");
		context("round", i, 0, 0);
		check(seen_code, i & 1023);
		check(seen_data, i & 1 ? 200 : 100);
	}
	return 0;
}
