/* Page tables of Sv39, Sv48 and Sv57, built by hand. `levels` is 3, 4 or 5; level 0 holds pages of 4 KiB. */
#ifndef DOPPEL_TESTS_PAGING_H
#define DOPPEL_TESTS_PAGING_H

#include "bare.h"

enum {
	PTE_V = 1,
	PTE_R = 2,
	PTE_W = 4,
	PTE_X = 8,
	PTE_U = 16,
	PTE_G = 32,
	PTE_A = 64,
	PTE_D = 128,
	PTE_RWX = PTE_R | PTE_W | PTE_X,
	PTE_ALL = PTE_V | PTE_RWX | PTE_A | PTE_D,
};
#define PTE_PBMT(n) ((uint64_t)(n) << 61)
#define PTE_N       BIT(63)

#define PAGE UINT64_C(4096)
/* Bytes that an entry of a level maps. */
#define SPAN(level) (PAGE << 9 * (level))

/* Forgets all tables and begins with an empty root, translation off. */
void paging_reset(unsigned levels);
/* The entry of `level` for a virtual address, its tables made as needed. */
uint64_t *paging_entry(uint64_t address, unsigned level);
static inline uint64_t pte(uint64_t physical, uint64_t flags)
{
	return physical >> 12 << 10 | flags;
}
/* Puts an entry for a page or superpage in place: `address` and `physical` are cut to its span. */
uint64_t *paging_map(uint64_t address, uint64_t physical, unsigned level, uint64_t flags);
/* Translation on, everything fenced. */
void paging_on(uint64_t asid);
/* A virtual address that an entry of `level` can map to `physical`: the low bits are the same. The upper ones are
 * `index` at each level above, sign-extended. */
uint64_t paging_address(unsigned level, uint64_t physical, uint64_t index);
/* A page of the pool, zeroed. */
uint64_t *paging_page(void);
/* Cause of a page fault for an access: 'r', 'w' or 'x'. */
uint64_t page_fault(char access);

#endif
