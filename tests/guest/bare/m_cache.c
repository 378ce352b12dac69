/* Cache-block instructions (Zicbom, Zicboz): what they do, what menvcfg and senvcfg forbid, what they fault
 * with. */
#include "paging.h"

#define BLOCK   64
#define CBIE(n) ((uint64_t)(n) << 4)
#define CBCFE   BIT(6)
#define CBZE    BIT(7)

static uint8_t area[4096] __attribute__((aligned(4096)));

static naked void cbo_inval(void)
{
	asm(".insn i 0x0f, 2, x0, a0, 0; ret");
}
static naked void cbo_clean(void)
{
	asm(".insn i 0x0f, 2, x0, a0, 1; ret");
}
static naked void cbo_flush(void)
{
	asm(".insn i 0x0f, 2, x0, a0, 2; ret");
}
static naked void cbo_zero(void)
{
	asm(".insn i 0x0f, 2, x0, a0, 4; ret");
}

static const struct {
	const void *code;
	uint64_t enable;
} operations[] = {{cbo_inval, CBIE(3)}, {cbo_clean, CBCFE}, {cbo_flush, CBCFE}, {cbo_zero, CBZE}};

static void fill(void)
{
	for (unsigned i = 0; i < sizeof(area); i++)
		area[i] = (uint8_t)(i | 1);
}

/* Whichever byte of the block is named, all of it is cleared, and no more. */
static void zero(void)
{
	csr_write(menvcfg, CBZE);
	for (unsigned offset = 0; offset < BLOCK; offset += 7) {
		context("zero", offset, 0, 0);
		fill();
		check(run(S, cbo_zero, (uint64_t)area + 1024 + offset, 0).cause, ECALL_S);
		for (unsigned i = 1024 - 8; i < 1024 + BLOCK + 8; i++)
			check(area[i], i >= 1024 && i < 1024 + BLOCK ? 0 : (uint8_t)(i | 1));
	}
}

/* Data in memory is what it was: there is no cache that could hold newer. */
static void harmless(void)
{
	csr_write(menvcfg, CBIE(3) | CBCFE);
	fill();
	for (unsigned i = 0; i < 3; i++)
		check(run(S, operations[i].code, (uint64_t)area + 64, 0).cause, ECALL_S);
	for (unsigned i = 0; i < 256; i++)
		check(area[i], (uint8_t)(i | 1));
}

static void enables(void)
{
	for (unsigned i = 0; i < 4; i++)
		for (unsigned bits = 0; bits < 4; bits++) {
			uint64_t machine = bits & 1 ? operations[i].enable : 0;
			uint64_t supervisor = bits & 2 ? operations[i].enable : 0;

			context("operation, menvcfg, senvcfg", i, machine, supervisor);
			csr_write(menvcfg, machine);
			csr_write(0x10a, supervisor);
			check(run(M, operations[i].code, (uint64_t)area, 0).cause, ECALL_M);
			check(run(S, operations[i].code, (uint64_t)area, 0).cause, machine ? ECALL_S : ILLEGAL);
			check(run(U, operations[i].code, (uint64_t)area, 0).cause,
			      machine && supervisor ? ECALL_U : ILLEGAL);
		}
	csr_write(menvcfg, CBIE(3) | CBCFE | CBZE);
	csr_write(0x10a, CBIE(3) | CBCFE | CBZE);
}

/* Zeroing is a store. Management needs any permission, and its faults are those of a store. */
static void faults(void)
{
	uint64_t at = UINT64_C(0x123400000), *entry;
	static const uint64_t flags[] = {0, PTE_V | PTE_R | PTE_A, PTE_V | PTE_X | PTE_A,
					 PTE_V | PTE_R | PTE_W | PTE_A | PTE_D, PTE_ALL | PTE_U};

	paging_reset(3);
	paging_map(0x80000000, 0x80000000, 2, PTE_ALL);
	entry = paging_map(at, (uint64_t)area, 0, 0);
	paging_on(0);
	for (unsigned f = 0; f < 5; f++)
		for (unsigned i = 0; i < 4; i++) {
			bool valid = (flags[f] & PTE_V) && !(flags[f] & PTE_U);
			bool fine = valid && (i < 3 || (flags[f] & PTE_W));

			/* An execute-only page is left to the implementation's reading of "any". */
			if (flags[f] == (PTE_V | PTE_X | PTE_A) && i < 3)
				continue;
			context("fault: operation, flags", i, flags[f], 0);
			*entry = pte((uint64_t)area, flags[f]);
			fence_vma();
			last = run(S, operations[i].code, at + 64 + 5, 0);
			check(last.cause, fine ? ECALL_S : STORE_PAGE);
			/* The address in the register, or that of its block. */
			if (!fine)
				check(last.tval & ~UINT64_C(63), at + 64);
		}
	csr_write(satp, 0);
	fence_vma();
	context("fault: nothing there", 0, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		check(run(S, operations[i].code, HOLE, 0).cause, STORE_ACCESS);
}

int main(void)
{
	if (on_qemu()) {
		note("QEMU 7.2 has no Zicbom");
		finish(SKIPPED);
	}
	zero();
	harmless();
	enables();
	faults();
	return 0;
}
