/* Svnapot: pages of 64 KiB made of sixteen entries. Svpbmt: memory types in leaf entries. */
#include "paging.h"

#define NAPOT (UINT64_C(16) * PAGE)

static uint64_t area[NAPOT / 8] __attribute__((aligned(65536)));

static void set(uint64_t *entry, uint64_t value)
{
	*entry = value;
	fence_vma();
}

static void tag_pages(void)
{
	for (unsigned i = 0; i < 16; i++)
		area[i * PAGE / 8] = 0x1000 + i;
}

static void napot(unsigned levels)
{
	uint64_t base, good = PTE_ALL | PTE_N;
	uint64_t *entry;

	paging_reset(levels);
	base = paging_address(0, (uint64_t)area, 2) & ~(NAPOT - 1);
	for (unsigned i = 0; i < 16; i++)
		*paging_entry(base + i * PAGE, 0) = pte((uint64_t)area + NAPOT / 2, good);
	paging_on(0);
	for (unsigned i = 0; i < 16; i++) {
		context("napot page", levels, i, 0);
		check(try_load(S, base + i * PAGE, 8), 0);
		check(last.a0, 0x1000 + i);
	}
	/* Only 1000 in the low bits of the PPN means 64 KiB; all else is reserved (Svnapot, table 5.1). */
	entry = paging_entry(base, 0);
	for (unsigned low = 0; low < 16; low++) {
		context("napot encoding", levels, low, 0);
		set(entry, pte((uint64_t)area + low * PAGE, good));
		check(try_load(S, base, 8), low == 8 ? 0 : LOAD_PAGE);
		check(try_store(S, base + 8, 8), low == 8 ? 0 : STORE_PAGE);
	}
}

static void napot_superpage(unsigned levels)
{
	for (unsigned level = 1; level < levels; level++) {
		uint64_t address;

		paging_reset(levels);
		address = paging_address(level, (uint64_t)area, 2);
		paging_map(address, (uint64_t)area, level, PTE_ALL | PTE_N);
		paging_on(0);
		context("napot superpage", levels, level, 0);
		check(try_load(S, address, 8), LOAD_PAGE);
	}
}

static void memory_types(unsigned levels, bool enabled)
{
	uint64_t address, *entry;

	csr_write(menvcfg, enabled ? ENVCFG_PBMTE : 0);
	for (unsigned level = 0; level < levels; level++) {
		paging_reset(levels);
		address = paging_address(level, (uint64_t)area, 2);
		entry = paging_entry(address, level);
		paging_on(0);
		for (unsigned type = 0; type < 4; type++) {
			bool fine = type == 0 || (enabled && type < 3);

			context("pbmt level, type, enabled", level, type, enabled);
			set(entry, pte((uint64_t)area & ~(SPAN(level) - 1), PTE_ALL | PTE_PBMT(type)));
			check(try_load(S, address, 8), fine ? 0 : LOAD_PAGE);
			if (fine)
				check(last.a0, 0x1000);
			check(try_store(S, address + 8, 8), fine ? 0 : STORE_PAGE);
		}
	}
	csr_write(menvcfg, 0);
}

int main(void)
{
	tag_pages();
	for (unsigned levels = 3; levels <= 5; levels++) {
		napot(levels);
		napot_superpage(levels);
		/* QEMU 7.2 accepts type 3 and does not look at menvcfg.PBMTE. */
		if (!on_qemu()) {
			memory_types(levels, true);
			memory_types(levels, false);
		}
	}
	return 0;
}
