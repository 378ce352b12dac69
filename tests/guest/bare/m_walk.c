/*
 * Page-table walks: every combination of the low eight bits of a leaf, at each level of Sv39, Sv48 and Sv57,
 * for loads, stores and fetches of S and U with and without SUM and MXR, held against the rules of Privileged
 * 4.3.2 written down a second time here.
 */
#include "paging.h"

/* A fetch needs an ecall to land on; stores must not hit it. */
static uint32_t target[1024] __attribute__((aligned(4096))) = {[0] = 0x00000073};
#define CODE ((uint64_t)target)
#define DATA ((uint64_t)(target + 512))

static const char accesses[] = {'r', 'w', 'x'};
static const uint64_t statuses[] = {0, STATUS_SUM, STATUS_MXR, STATUS_SUM | STATUS_MXR};

/* Whether the hart sets A and D by itself. menvcfg.ADUE is 0 here; QEMU 7.2 knows no such bit and always does. */
static bool updates;

static bool allowed(uint64_t flags, char access, unsigned mode, uint64_t status)
{
	bool readable = (flags & PTE_R) || ((status & STATUS_MXR) && (flags & PTE_X));

	if (!(flags & PTE_V) || ((flags & PTE_W) && !(flags & PTE_R)))
		return false;
	if (access == 'r' ? !readable : access == 'w' ? !(flags & PTE_W) : !(flags & PTE_X))
		return false;
	if (mode == U && !(flags & PTE_U))
		return false;
	if (mode == S && (flags & PTE_U) && (access == 'x' || !(status & STATUS_SUM)))
		return false;
	return updates || ((flags & PTE_A) && (access != 'w' || (flags & PTE_D)));
}

static void one(uint64_t *entry, uint64_t address, uint64_t flags, char access, unsigned mode, uint64_t status)
{
	uint64_t before = *entry, cause = try_access(access, mode, address);
	bool allow = allowed(flags, access, mode, status);

	check(cause, allow ? 0 : page_fault(access));
	if (cause) {
		check(last.tval, address);
		check(*entry, before);
	}
	if (cause && access == 'x')
		check(last.epc, address);
	if (*entry != before) {
		*entry = before;
		fence_vma();
	}
}

static void all_accesses(uint64_t *entry, uint64_t code, uint64_t data, uint64_t flags, unsigned level)
{
	for (unsigned i = 0; i < 4; i++) {
		csr_clear(mstatus, STATUS_SUM | STATUS_MXR);
		csr_set(mstatus, statuses[i]);
		context("flags, level, status", flags, level, statuses[i]);
		for (unsigned mode = U; mode <= S; mode++)
			for (unsigned j = 0; j < 3; j++)
				one(entry, accesses[j] == 'x' ? code : data, flags, accesses[j], mode,
				    statuses[i]);
	}
}

static void permissions(unsigned levels, unsigned level, uint64_t index)
{
	uint64_t code, *entry;

	paging_reset(levels);
	code = paging_address(level, CODE, index);
	entry = paging_entry(code, level);
	paging_on(0);
	for (uint64_t flags = 0; flags < 256; flags++) {
		/* V alone points to a further table: see pointers(). */
		if (level && (flags & (PTE_V | PTE_RWX)) == PTE_V)
			continue;
		*entry = pte(CODE & ~(SPAN(level) - 1), flags);
		fence_vma();
		all_accesses(entry, code, code + 2048, flags, level);
	}
	csr_clear(mstatus, STATUS_SUM | STATUS_MXR);
}

static void expect(uint64_t address, bool works)
{
	for (unsigned i = 0; i < 3; i++) {
		check(try_access(accesses[i], S, accesses[i] == 'x' ? address : address + 2048),
		      works ? 0 : page_fault(accesses[i]));
		if (!works)
			check(last.tval, accesses[i] == 'x' ? address : address + 2048);
	}
}

static void set(uint64_t *entry, uint64_t value)
{
	*entry = value;
	fence_vma();
}

/* QEMU 7.2 with Svnapot and Svpbmt looks neither at bits 54 to 60, which must be zero (Privileged 4.4.1), nor at
 * menvcfg.PBMTE. */
static bool unseen(unsigned bit)
{
	return on_qemu() && bit >= 54 && bit <= 62;
}

/* Bits that software may use, and bits that nobody may. */
static void extra_bits(unsigned levels, unsigned level)
{
	uint64_t code, *entry, good;

	paging_reset(levels);
	code = paging_address(level, CODE, 3);
	entry = paging_map(code, CODE, level, PTE_ALL);
	good = *entry;
	paging_on(0);
	expect(code, true);
	for (unsigned bit = 8; bit < 10; bit++) {
		context("RSW", level, bit, 0);
		set(entry, good | BIT(bit));
		expect(code, true);
	}
	for (unsigned bit = 54; bit < 64; bit++) {
		context("reserved bit", level, bit, 0);
		if (unseen(bit))
			continue;
		/* One of PBMT with menvcfg.PBMTE off; N of a page that is not 64 KiB. */
		set(entry, good | BIT(bit));
		expect(code, false);
	}
	for (unsigned bit = 10; bit < 10 + 9 * level; bit++) {
		context("misaligned superpage", level, bit, 0);
		set(entry, good | BIT(bit));
		expect(code, false);
	}
}

/* Entries that point to a table: D, A, U and the high bits are reserved in them. */
static void pointers(unsigned levels, unsigned level)
{
	uint64_t code, *leaf, *entry, good;

	paging_reset(levels);
	code = paging_address(0, CODE, 7);
	leaf = paging_map(code, CODE, 0, PTE_ALL);
	entry = paging_entry(code, level);
	good = *entry;
	paging_on(0);
	expect(code, true);
	for (unsigned bit = 0; bit < 64; bit++) {
		bool free = bit == 5 || bit == 8 || bit == 9; /* G and RSW */

		/* Not those that make it a leaf or another table. */
		if ((bit > 0 && bit < 4) || (bit >= 10 && bit < 54) || unseen(bit))
			continue;
		context("pointer", level, bit, 0);
		set(entry, good ^ BIT(bit));
		expect(code, free);
	}
	/* The walk itself fails physically: an access fault (Privileged 4.3.2). QEMU 7.2 makes it a page fault. */
	context("pointer to nowhere", level, 0, 0);
	set(entry, pte(HOLE, PTE_V));
	check_strictly(try_load(S, code, 8), LOAD_ACCESS);
	check_strictly(try_store(S, code, 8), STORE_ACCESS);
	check_strictly(try_fetch(S, code), FETCH_ACCESS);
	check_strictly(last.tval, code);
	set(entry, good);
	context("page of nothing", level, 0, 0);
	set(leaf, pte(HOLE, PTE_ALL));
	check(try_load(S, code + 8, 8), LOAD_ACCESS);
	check(last.tval, code + 8);
	check(try_store(S, code + 8, 8), STORE_ACCESS);
	check(try_fetch(S, code), FETCH_ACCESS);
}

/* Bits above the translated ones must all be the sign. */
static void canonical(unsigned levels)
{
	uint64_t code;
	unsigned top = 12 + 9 * levels;

	paging_reset(levels);
	code = paging_address(0, CODE, 3);
	paging_map(code, CODE, 0, PTE_ALL);
	paging_on(0);
	for (unsigned bit = top; bit < 64; bit++) {
		context("canonical", levels, bit, 0);
		expect(code ^ BIT(bit), false);
	}
	/* Of an unaligned address the tval is exact too. */
	context("tval", levels, 0, 0);
	check(try_load(S, (code ^ BIT(63)) + 13, 1), LOAD_PAGE);
	check(last.tval, (code ^ BIT(63)) + 13);
}

/* M-mode itself is not translated, and MPRV with MPP = M neither. */
static void machine_mode(void)
{
	paging_reset(3);
	paging_on(0);
	context(NULL, 0, 0, 0);
	check(try_load(M, DATA, 8), 0);
	check(try_store(M, DATA, 8), 0);
	check(try_load(S, DATA, 8), LOAD_PAGE);
	check(try_fetch(M, CODE), 0);
}

int main(void)
{
	updates = on_qemu();
	csr_write(menvcfg, 0);
	for (unsigned levels = 3; levels <= 5; levels++) {
		for (unsigned level = 0; level < levels; level++) {
			permissions(levels, level, 3);
			extra_bits(levels, level);
			if (level)
				pointers(levels, level);
		}
		/* The upper half of the address space. */
		permissions(levels, 0, 500);
		canonical(levels);
	}
	machine_mode();
	return 0;
}
