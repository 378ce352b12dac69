/*
 * Address translation (Privileged 4.3 to 4.6): Sv39, Sv48, Sv57, with Svnapot, Svpbmt, Svade and Svadu.
 *
 * A/D bits: while menvcfg.ADUE is clear, an access that needs A or D set faults (Svade); while it is set the
 * walk sets them atomically in memory (Svadu).
 *
 * mmu_translate walks the tables each time; engines keep results in caches of their own and drop them as
 * flush_tlb tells. A second stage (hypervisor extension) would be a further call of the same walk on the
 * first one's result; nothing here depends on there being one stage.
 *
 * Thread: the hart's own.
 */
#ifndef DOPPEL_RISCV_MMU_H
#define DOPPEL_RISCV_MMU_H

#include "riscv/hart.h"

enum mmu_access { MMU_FETCH, MMU_LOAD, MMU_STORE };

/* One 4 KiB page of the guest's virtual address space as seen by one access. */
struct mmu_page {
	gpa_t base; /* of the 4 KiB page */
	/* Bytes that the leaf entry maps: sfence.vma of any address in them means this page too. */
	uint64_t span;
	bool global; /* the same in every address space (Privileged 4.3.1): G was set, or it is M-mode */
	/* Which further accesses in the same mode need no new walk: bit 1 << enum mmu_access. Empty when PMP
	 * divides the page: then the result holds for this access only. */
	uint8_t reusable;
};

/* Translates one access of `size` bytes that lies within one page, in privilege `priv` (the effective one:
 * mmu_data_privilege for loads and stores). CAUSE_NONE, or the exception to raise with tval = address. */
enum riscv_cause mmu_translate(struct hart *hart, gva_t address, unsigned size, enum mmu_access access,
			       unsigned priv, struct mmu_page *page);

/* The privilege that governs loads and stores: mstatus.MPRV in M-mode (Privileged 3.1.6.3). */
static inline unsigned mmu_data_privilege(const struct hart *hart)
{
	if (unlikely(hart->mstatus & MSTATUS_MPRV))
		return hart->mstatus >> 11 & 3;
	return hart->priv;
}

/* Whether satp's mode field in `value` is one we have: Bare, Sv39, Sv48, Sv57. */
bool mmu_mode_supported(uint64_t value);

/* Loads and stores of 1, 2, 4 or 8 bytes at any alignment, through translation, to RAM or devices: the way for
 * whatever an engine's fast path does not cover. CAUSE_NONE, or the exception with *tval set to the address of the
 * part that failed; a store that faults has written nothing. riscv/access.c */
enum riscv_cause hart_load(struct hart *hart, gva_t address, unsigned size, uint64_t *value, uint64_t *tval);
enum riscv_cause hart_store(struct hart *hart, gva_t address, unsigned size, uint64_t value, uint64_t *tval);

/* Host address of `size` naturally aligned bytes in RAM for an atomic access (LR, SC, AMO) or a cache-block one; the
 * page is marked dirty when `access` is a store. Misaligned, device and faulting addresses give the exception. */
enum riscv_cause hart_atomic_pointer(struct hart *hart, gva_t address, unsigned size, enum mmu_access access,
				     void **host, gpa_t *physical);

/* The instruction word at pc (two halves fetched apart when it crosses a page); the upper half is 0 for a compressed
 * one. On an exception *tval is the address of the half that failed. */
enum riscv_cause hart_fetch(struct hart *hart, gva_t pc, uint32_t *word, uint64_t *tval);

#endif
