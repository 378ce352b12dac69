#include "riscv/mmu.h"

#include "riscv/pmp.h"

/* Page table entry (Privileged 4.4.1; Svnapot 5, Svpbmt 6). */
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
#define PTE_PPN      UINT64_C(0x003ffffffffffc00)
#define PTE_RESERVED UINT64_C(0x1fc0000000000000)
#define PTE_PBMT     UINT64_C(0x6000000000000000)
#define PTE_NAPOT    UINT64_C(0x8000000000000000)

enum { SATP_BARE = 0, SATP_SV39 = 8, SATP_SV57 = 10 };
#define SATP_MODE(satp) ((unsigned)((satp) >> 60))
#define SATP_PPN(satp)  ((satp) & ((UINT64_C(1) << 44) - 1))

static const enum riscv_cause page_fault[] = {
	[MMU_FETCH] = CAUSE_FETCH_PAGE, [MMU_LOAD] = CAUSE_LOAD_PAGE, [MMU_STORE] = CAUSE_STORE_PAGE};
static const enum riscv_cause access_fault[] = {
	[MMU_FETCH] = CAUSE_FETCH_ACCESS, [MMU_LOAD] = CAUSE_LOAD_ACCESS, [MMU_STORE] = CAUSE_STORE_ACCESS};
static const unsigned pmp_need[] = {
	[MMU_FETCH] = PMP_EXECUTE, [MMU_LOAD] = PMP_READ, [MMU_STORE] = PMP_WRITE};

struct walk {
	struct hart *hart;
	uint64_t address;
	enum mmu_access access;
	unsigned priv;
	/* Where the leaf was found. */
	_Atomic uint64_t *entry;
	gpa_t entry_address;
	uint64_t pte;
	unsigned level;
	bool global; /* an entry on the way had G set */
};

bool mmu_mode_supported(uint64_t value)
{
	unsigned mode = SATP_MODE(value);

	return mode == SATP_BARE || (mode >= SATP_SV39 && mode <= SATP_SV57);
}

/* Bits above the translated ones must repeat the highest of them (Privileged 4.4.1). */
static bool canonical(uint64_t address, unsigned levels)
{
	unsigned unused = 64 - (12 + 9 * levels);

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static bool leaf_is_well_formed(const struct walk *w)
{
	uint64_t ppn = w->pte >> 10;
	uint64_t low = (UINT64_C(1) << (9 * w->level)) - 1;

	if ((w->pte & (PTE_R | PTE_W)) == PTE_W)
		return false;
	if (w->pte & PTE_RESERVED || (w->pte & PTE_PBMT) == PTE_PBMT)
		return false;
	if ((w->pte & PTE_PBMT) && !(w->hart->menvcfg & ENVCFG_PBMTE))
		return false;
	if (w->pte & PTE_NAPOT)
		return w->level == 0 && (ppn & 15) == 8; /* 64 KiB is the only size there is */
	return (ppn & low) == 0;
}

/* Non-leaf entries keep A, D, U, PBMT and N clear (Privileged 4.4.1). */
static bool pointer_is_well_formed(uint64_t pte)
{
	return !(pte & (PTE_A | PTE_D | PTE_U | PTE_RESERVED | PTE_PBMT | PTE_NAPOT));
}

/* Follows the tables down to a leaf. */
static enum riscv_cause find_leaf(struct walk *w)
{
	unsigned levels = SATP_MODE(w->hart->satp) - SATP_SV39 + 3;
	uint64_t table = SATP_PPN(w->hart->satp) << 12;

	if (!canonical(w->address, levels))
		return page_fault[w->access];
	w->global = false;
	for (w->level = levels; w->level-- > 0;) {
		w->entry_address = gpa(table + (w->address >> (12 + 9 * w->level) & 511) * 8);
		w->entry = memory_host(w->hart->cluster->memory, w->entry_address, 8);
		if (!w->entry || !(pmp_permissions(w->hart, w->entry_address.value, 8, PRIV_S) & PMP_READ))
			return access_fault[w->access];
		w->pte = atomic_load_explicit(w->entry, memory_order_acquire);
		if (!(w->pte & PTE_V))
			return page_fault[w->access];
		w->global |= (w->pte & PTE_G) != 0;
		if (w->pte & (PTE_R | PTE_W | PTE_X))
			return leaf_is_well_formed(w) ? CAUSE_NONE : page_fault[w->access];
		if (!pointer_is_well_formed(w->pte))
			return page_fault[w->access];
		table = (w->pte & PTE_PPN) << 2;
	}
	return page_fault[w->access];
}

/* The accesses that the leaf's permission bits allow, without regard to A and D: bit 1 << enum mmu_access. */
static unsigned leaf_allows(const struct walk *w)
{
	uint64_t status = w->hart->mstatus;
	uint64_t pte = w->pte;
	unsigned allowed = 0;

	if (w->priv == PRIV_U ? !(pte & PTE_U) : (pte & PTE_U) && !(status & MSTATUS_SUM))
		return 0;
	if ((pte & PTE_R) || ((pte & PTE_X) && (status & MSTATUS_MXR)))
		allowed |= 1 << MMU_LOAD;
	if (pte & PTE_W)
		allowed |= 1 << MMU_STORE;
	/* SUM never lets supervisor code run from user pages. */
	if ((pte & PTE_X) && (w->priv == PRIV_U || !(pte & PTE_U)))
		allowed |= 1 << MMU_FETCH;
	return allowed;
}

/* Sets A, and D for a store, as Svadu asks; false when the entry changed since it was read. */
static bool set_accessed(struct walk *w, uint64_t bits)
{
	uint64_t expected = w->pte;

	if (!atomic_compare_exchange_strong(w->entry, &expected, w->pte | bits))
		return false;
	w->pte |= bits;
	memory_mark_dirty(w->hart->cluster->memory, w->entry_address, 8);
	return true;
}

static enum riscv_cause walk_once(struct walk *w, unsigned *allowed, bool *again)
{
	uint64_t need = PTE_A | (w->access == MMU_STORE ? (uint64_t)PTE_D : 0);
	enum riscv_cause cause = find_leaf(w);

	*again = false;
	if (cause != CAUSE_NONE)
		return cause;
	*allowed = leaf_allows(w);
	if (!(*allowed & 1u << w->access))
		return page_fault[w->access];
	if ((w->pte & need) == need)
		return CAUSE_NONE;
	if (!(w->hart->menvcfg & ENVCFG_ADUE))
		return page_fault[w->access];
	if (!(pmp_permissions(w->hart, w->entry_address.value, 8, PRIV_S) & PMP_WRITE))
		return access_fault[w->access];
	*again = !set_accessed(w, need);
	return CAUSE_NONE;
}

/* Bytes that the leaf maps. */
static uint64_t leaf_span(const struct walk *w)
{
	return w->pte & PTE_NAPOT ? 64 * KIB : UINT64_C(1) << (12 + 9 * w->level);
}

static uint64_t leaf_page(const struct walk *w)
{
	uint64_t within = (leaf_span(w) - 1) & ~UINT64_C(4095);
	uint64_t base = (w->pte & PTE_PPN) << 2;

	return (base & ~within) | (w->address & within);
}

/* What PMP adds: the access itself must pass, and only a page that PMP treats as one may be kept. */
static enum riscv_cause check_pmp(const struct walk *w, unsigned size, unsigned allowed, struct mmu_page *page)
{
	unsigned permissions;

	page->reusable = 0;
	if (pmp_page(w->hart, page->base.value, w->priv, &permissions)) {
		for (unsigned access = MMU_FETCH; access <= MMU_STORE; access++)
			if ((allowed & 1u << access) && (permissions & pmp_need[access]))
				page->reusable |= (uint8_t)(1u << access);
	} else {
		uint64_t address = page->base.value | (w->address & 4095);

		permissions = pmp_permissions(w->hart, address, size, w->priv);
	}
	return permissions & pmp_need[w->access] ? CAUSE_NONE : access_fault[w->access];
}

enum riscv_cause mmu_translate(struct hart *hart, gva_t address, unsigned size, enum mmu_access access,
			       unsigned priv, struct mmu_page *page)
{
	struct walk w = {.hart = hart, .address = address.value, .access = access, .priv = priv};
	unsigned allowed = 1 << MMU_FETCH | 1 << MMU_LOAD | 1 << MMU_STORE;
	struct mmu_page found = {.base = gpa(address.value & ~UINT64_C(4095)), .span = GUEST_PAGE_SIZE, .global = priv == PRIV_M};
	enum riscv_cause cause = CAUSE_NONE;
	bool again = false;

	if (priv != PRIV_M && SATP_MODE(hart->satp) != SATP_BARE) {
		do {
			cause = walk_once(&w, &allowed, &again);
		} while (again);
		if (cause != CAUSE_NONE)
			return cause;
		found.base = gpa(leaf_page(&w));
		found.span = leaf_span(&w);
		found.global = w.global;
		/* A first store must come back here to set D. */
		if (!(w.pte & PTE_D))
			allowed &= ~(1u << MMU_STORE);
	}
	cause = check_pmp(&w, size, allowed, &found);
	if (cause == CAUSE_NONE)
		*page = found;
	return cause;
}
