/*
 * What an engine remembers between two instructions of the same mode. Other payloads leave the mode for each
 * probe; here supervisor code goes on running while translations, address spaces, status bits and code change
 * under it.
 */
#include "paging.h"

/* Far from the places of the code in any cache of translations that is indexed by low bits. */
#define VIRTUAL UINT64_C(0x1234a5000)
#define USER    (VIRTUAL + PAGE)
#define HIDDEN  (VIRTUAL + 2 * PAGE)
#define RAM     UINT64_C(0x80000000)
/* li a0, n */
#define LI(n) ((uint32_t)(n) << 20 | 0x513)
#define RET   0x00008067

/* Pages of code that return 1 or 2, and begin with it as data too. */
static uint32_t one[1024] __attribute__((aligned(4096))) = {LI(1), RET};
static uint32_t two[1024] __attribute__((aligned(4096))) = {LI(2), RET};
static uint32_t own[2048] __attribute__((aligned(4096)));
static uint64_t *entry, spaces[2];

typedef uint64_t code_t(void);
#define CALL(address) ((code_t *)(address))()
#define LOAD(address) (*(volatile uint32_t *)(address))

/* The fences of one page, of one space, of both, of all; and those of Svinval. */
static void fence(unsigned kind, uint64_t address)
{
	switch (kind) {
	case 0:
		asm volatile("sfence.vma" ::: "memory");
		break;
	case 1:
		asm volatile("sfence.vma %0, x0" ::"r"(address) : "memory");
		break;
	case 2:
		asm volatile("sfence.vma x0, %0" ::"r"(UINT64_C(1)) : "memory");
		break;
	case 3:
		asm volatile("sfence.vma %0, %1" ::"r"(address), "r"(UINT64_C(1)) : "memory");
		break;
	default:
		asm volatile(".word 0x18000073; .insn r 0x73, 0, 0x0b, x0, %0, x0; .word 0x18100073" ::"r"(address)
			     : "memory");
	}
}

/* All of these run in S-mode and return how often they saw something stale. */

static uint64_t moving_code(unsigned kind)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < 50; i++) {
		*entry = pte((uint64_t)(i & 1 ? two : one), PTE_ALL);
		fence(kind, VIRTUAL);
		wrong += CALL(VIRTUAL) != 1 + (i & 1);
		wrong += CALL(VIRTUAL) != 1 + (i & 1);
		wrong += LOAD(VIRTUAL) != LI(1 + (i & 1));
	}
	return wrong;
}

/* A superpage that moves: a fence for one address of it is a fence for all it maps. FAR is free memory. */
#define FAR UINT64_C(0x80400000)
static uint64_t moving_superpage(unsigned kind)
{
	uint64_t *super = paging_entry(VIRTUAL + SPAN(1), 1), offset = (uint64_t)one & (SPAN(1) - 1), wrong = 0;
	uint64_t base = (VIRTUAL & ~(SPAN(1) - 1)) + SPAN(1), here = base + offset;
	volatile uint32_t *there = (volatile uint32_t *)(FAR + offset);

	there[0] = LI(2);
	there[1] = RET;
	asm volatile("fence.i" ::: "memory");
	for (unsigned i = 0; i < 20; i++) {
		*super = pte(i & 1 ? FAR : (uint64_t)one & ~(SPAN(1) - 1), PTE_ALL);
		fence(kind, i & 2 ? base : here + PAGE);
		wrong += CALL(here) != 1 + (i & 1);
		wrong += LOAD(here) != LI(1 + (i & 1));
	}
	return wrong;
}

static uint64_t changing_spaces(void)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < 200; i++) {
		csr_write(satp, spaces[i & 1]);
		wrong += CALL(VIRTUAL) != 1 + (i & 1);
		wrong += LOAD(VIRTUAL) != LI(1 + (i & 1));
	}
	csr_write(satp, spaces[0]);
	return wrong;
}

/* More spaces than an engine will keep apart at a time, all of the same tables. */
static uint64_t many_spaces(void)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < 10000; i++) {
		csr_write(satp, (spaces[i & 1] & ~(UINT64_C(0xffff) << 44)) | (uint64_t)(i & 0xffff) << 44);
		wrong += LOAD(VIRTUAL) != LI(1 + (i & 1));
		if (i % 16 == 0)
			wrong += CALL(VIRTUAL) != 1 + (i & 1);
	}
	csr_write(satp, spaces[0]);
	return wrong;
}

/* Code rewritten through its physical address, called through both, also where a call crosses pages. */
static uint64_t changing_code(void)
{
	volatile uint32_t *at = (volatile uint32_t *)(uint64_t)one;
	uint64_t wrong = 0;

	for (uint32_t i = 0; i < 500; i++) {
		*at = LI(i);
		asm volatile("fence.i" ::: "memory");
		wrong += CALL(VIRTUAL) != i;
		wrong += CALL(one) != i;
	}
	*at = LI(1);
	asm volatile("fence.i" ::: "memory");
	return wrong;
}

/* Status bits: the second load of each must fault, though the first one filled whatever there is to fill. */
static naked void sum_then_not(void)
{
	asm("li t0, 1 << 18; csrs sstatus, t0; lw t1, 0(a0); lw t1, 0(a0); csrc sstatus, t0;"
	    ".globl sum_fault; sum_fault: lw a0, 0(a0); ret");
}
static naked void sum_store_then_not(void)
{
	asm("li t0, 1 << 18; csrs sstatus, t0; sw zero, 64(a0); sw zero, 64(a0); csrc sstatus, t0;"
	    "sw zero, 64(a0); ret");
}
static naked void mxr_then_not(void)
{
	asm("li t0, 1 << 19; csrs sstatus, t0; lw t1, 0(a0); lw t1, 0(a0); csrc sstatus, t0; lw a0, 0(a0); ret");
}
/* Whatever S may read, U may not: an sret in between. a1: what to continue with in U-mode. */
static naked void to_user(void)
{
	asm("lw t1, 0(a0); csrw sepc, a1; li t0, 0x100; csrc sstatus, t0; sret");
}
extern const char sum_fault[];

static void status_bits(void)
{
	context("status", 0, 0, 0);
	last = run(S, sum_then_not, USER, 0);
	check(last.cause, LOAD_PAGE);
	check(last.epc, sum_fault);
	check(run(S, sum_store_then_not, USER, 0).cause, STORE_PAGE);
	check(run(S, mxr_then_not, HIDDEN, 0).cause, LOAD_PAGE);
	csr_clear(mstatus, STATUS_SUM | STATUS_MXR);
	/* The user's code is that of the page itself: its load is of a supervisor's page. */
	last = run(S, to_user, VIRTUAL, USER + 2048);
	check(last.cause, LOAD_PAGE);
	check(last.epc, USER + 2048);
	check(last.tval, VIRTUAL);
}

static void fill(uint64_t physical)
{
	paging_map(VIRTUAL, physical, 0, PTE_ALL);
	paging_map(USER, (uint64_t)own, 0, PTE_ALL | PTE_U);
	paging_map(HIDDEN, (uint64_t)own, 0, PTE_V | PTE_X | PTE_A);
	paging_map(RAM, RAM, 2, PTE_ALL);
}

/* The other space: only the page of code and RAM, in tables of its own. */
static uint64_t other_space(void)
{
	uint64_t *root = paging_page(), *middle = paging_page(), *low = paging_page();

	low[VIRTUAL >> 12 & 511] = pte((uint64_t)two, PTE_ALL);
	middle[VIRTUAL >> 21 & 511] = pte((uint64_t)low, PTE_V);
	root[VIRTUAL >> 30 & 511] = pte((uint64_t)middle, PTE_V);
	root[RAM >> 30 & 511] = pte(RAM, PTE_ALL);
	return UINT64_C(8) << 60 | UINT64_C(2) << 44 | (uint64_t)root >> 12;
}

static void inside(const void *code, unsigned kind)
{
	last = run(S, code, kind, 0);
	check(last.cause, ECALL_S);
	check(last.a0, 0);
}

int main(void)
{
	own[512] = 0x00052303; /* lw t1, 0(a0) */
	paging_reset(3);
	fill((uint64_t)one);
	entry = paging_entry(VIRTUAL, 0);
	spaces[1] = other_space();
	paging_on(1);
	spaces[0] = csr_read(satp);
	status_bits();
	context("changing spaces", 0, 0, 0);
	inside(changing_spaces, 0);
	context("many spaces", 0, 0, 0);
	inside(many_spaces, 0);
	context("changing code", 0, 0, 0);
	inside(changing_code, 0);
	for (unsigned kind = 0; kind < 5; kind++) {
		context("moving code, fence", kind, 0, 0);
		inside(moving_code, kind);
		context("moving superpage, fence", kind, 0, 0);
		inside(moving_superpage, kind);
	}
	return 0;
}
