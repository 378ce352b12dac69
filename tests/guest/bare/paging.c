#include "paging.h"

#define POOL 96

static uint64_t pool[POOL][512] __attribute__((aligned(4096)));
static unsigned used, levels;

uint64_t *paging_page(void)
{
	if (used == POOL) {
		note("out of pages");
		finish(3);
	}
	for (unsigned i = 0; i < 512; i++)
		pool[used][i] = 0;
	return pool[used++];
}

void paging_reset(unsigned levels_)
{
	csr_write(satp, 0);
	fence_vma();
	levels = levels_;
	used = 0;
	paging_page();
}

uint64_t *paging_entry(uint64_t address, unsigned level)
{
	uint64_t *table = pool[0];

	for (unsigned i = levels - 1; i > level; i--) {
		uint64_t *entry = &table[address >> (12 + 9 * i) & 511];

		if (!(*entry & PTE_V))
			*entry = pte((uint64_t)paging_page(), PTE_V);
		table = (uint64_t *)(*entry >> 10 << 12);
	}
	return &table[address >> (12 + 9 * level) & 511];
}

uint64_t *paging_map(uint64_t address, uint64_t physical, unsigned level, uint64_t flags)
{
	uint64_t *entry = paging_entry(address, level);

	*entry = pte(physical & ~(SPAN(level) - 1), flags);
	return entry;
}

void paging_on(uint64_t asid)
{
	csr_write(satp, (uint64_t)(levels + 5) << 60 | asid << 44 | (uint64_t)pool[0] >> 12);
	fence_vma();
}

uint64_t paging_address(unsigned level, uint64_t physical, uint64_t index)
{
	uint64_t address = physical & (SPAN(level) - 1);
	unsigned unused = 64 - (12 + 9 * levels);

	for (unsigned i = level; i < levels; i++)
		address |= index << (12 + 9 * i);
	return (uint64_t)((int64_t)(address << unused) >> unused);
}

uint64_t page_fault(char access)
{
	return access == 'r' ? LOAD_PAGE : access == 'w' ? STORE_PAGE : FETCH_PAGE;
}
