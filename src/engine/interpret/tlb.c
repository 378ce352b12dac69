/*
 * The interpreter's translation caches.
 */
#include <string.h>

#include "engine/interpret/vcpu.h"

#define MODE_VALID 0x100u
#define MODE_SUM   0x10u
#define MODE_MXR   0x20u

void tlb_flush_all(struct engine_vcpu *v)
{
	memset(v->load, 0, sizeof v->load);
	memset(v->store, 0, sizeof v->store);
	memset(v->fetch, 0, sizeof v->fetch);
	memset(v->contexts, 0, sizeof v->contexts);
	v->next_context = 1;
	superpages_forget(&v->superpages);
	v->epoch++;
	v->context_modes = 0;
	tlb_update_contexts(v);
}

void tlb_drop_writes(struct engine_vcpu *v)
{
	memset(v->store, 0, sizeof v->store);
}

static uint16_t asid_of(uint64_t satp)
{
	return (uint16_t)(satp >> 44);
}

/* Entries of a forgotten context can never match again: its id is not given out until everything was cleared. */
static void forget_contexts(struct engine_vcpu *v, bool one_asid, uint16_t asid)
{
	for (unsigned i = 0; i < CONTEXTS; i++)
		if (!one_asid || asid_of(v->contexts[i].satp) == asid)
			v->contexts[i].mode = 0;
	if (!one_asid)
		superpages_forget(&v->superpages);
}

static void clear_slot(struct tlb_entry *entry, uint64_t address)
{
	if (((entry->tag ^ address) & PAGE_MASK) == 0)
		entry->tag = 0;
}

void tlb_flush(struct engine_vcpu *v, bool one_page, uint64_t address, bool one_asid, uint16_t asid)
{
	if (one_page && !superpages_hold(&v->superpages, address)) {
		clear_slot(&v->load[tlb_index(address)], address);
		clear_slot(&v->store[tlb_index(address)], address);
		clear_slot(&v->fetch[tlb_index(address) % FETCH_ENTRIES], address);
	} else {
		forget_contexts(v, one_asid, asid);
	}
	v->epoch++;
	v->context_modes = 0;
	tlb_update_contexts(v);
}

static uint64_t context_id(struct engine_vcpu *v, uint64_t satp, uint32_t mode)
{
	uint64_t hash = (satp ^ satp >> 44 ^ mode * 5) * UINT64_C(0x9e3779b97f4a7c15);
	struct context *context = &v->contexts[hash >> 58];

	if (likely(context->satp == satp && context->mode == mode))
		return context->id;
	if (v->next_context == CONTEXT_IDS) {
		tlb_flush_all(v);
		return context_id(v, satp, mode);
	}
	*context = (struct context){.satp = satp, .mode = mode, .id = v->next_context++};
	return context->id;
}

static uint32_t status_mode(const struct hart *hart, unsigned priv)
{
	uint32_t mode = priv | MODE_VALID;

	if (hart->mstatus & MSTATUS_MXR)
		mode |= MODE_MXR;
	if (priv == PRIV_S && (hart->mstatus & MSTATUS_SUM))
		mode |= MODE_SUM;
	return mode;
}

void tlb_update_contexts(struct engine_vcpu *v)
{
	struct hart *hart = v->hart;
	unsigned data = mmu_data_privilege(hart);
	uint32_t modes = (uint32_t)hart->priv << 16 | status_mode(hart, data), ids;

	if (likely(v->context_modes == modes && v->context_satp == hart->satp))
		return;
	v->context_modes = modes;
	v->context_satp = hart->satp;
	do {
		ids = v->next_context;
		v->fetch_context =
			context_id(v, hart->priv == PRIV_M ? 0 : hart->satp, hart->priv | MODE_VALID);
		v->data_context = context_id(v, data == PRIV_M ? 0 : hart->satp, status_mode(hart, data));
		/* Running out of ids clears them all, those just taken included. */
	} while (v->next_context < ids);
}

/* Keeps a page that was just translated, when it is RAM and may be kept; NULL otherwise. */
static uint8_t *fill(struct engine_vcpu *v, struct tlb_entry *entry, uint64_t address, uint64_t context,
		     enum mmu_access access, const struct mmu_page *page)
{
	uint8_t *host = memory_host(v->memory, page->base, GUEST_PAGE_SIZE);

	if (!host || !(page->reusable & 1u << access))
		return NULL;
	if (access == MMU_STORE)
		memory_mark_dirty(v->memory, page->base, GUEST_PAGE_SIZE);
	superpages_note(&v->superpages, address, page->span);
	entry->tag = (address & PAGE_MASK) | context;
	entry->addend = (uintptr_t)host - (uintptr_t)(address & PAGE_MASK);
	return host + (address & ~PAGE_MASK);
}

static bool crosses(uint64_t address, unsigned size)
{
	return ((address ^ (address + size - 1)) & PAGE_MASK) != 0;
}

/* The mode that an access of this privilege is counted for. */
static unsigned counted_mode(const struct hart *hart, unsigned privilege)
{
	if (privilege == PRIV_S)
		return hart->mstatus & MSTATUS_SUM ? 2 : 1;
	return privilege == PRIV_U ? 0 : ENGINE_MODES - 1;
}

/* A translation for the TLB; a failure shows again, with its tval, in the complete access that follows. */
static uint8_t *refill(struct engine_vcpu *v, struct tlb_entry *table, uint64_t address, unsigned size,
		       enum mmu_access access)
{
	struct mmu_page page;

	count_tlb_miss(v, counted_mode(v->hart, mmu_data_privilege(v->hart)));
	if (crosses(address, size) || mmu_translate(v->hart, gva(address), size, access,
						    mmu_data_privilege(v->hart), &page) != CAUSE_NONE)
		return NULL;
	return fill(v, &table[tlb_index(address)], address, v->data_context, access, &page);
}

enum riscv_cause slow_load(struct engine_vcpu *v, uint64_t address, unsigned size, uint64_t *value)
{
	refill(v, v->load, address, size, MMU_LOAD);
	return hart_load(v->hart, gva(address), size, value, &v->tval);
}

enum riscv_cause slow_store(struct engine_vcpu *v, uint64_t address, unsigned size, uint64_t value)
{
	refill(v, v->store, address, size, MMU_STORE);
	return hart_store(v->hart, gva(address), size, value, &v->tval);
}

enum riscv_cause atomic_target(struct engine_vcpu *v, uint64_t address, unsigned size, enum mmu_access access,
			       void **host, uint64_t *physical)
{
	struct tlb_entry *table = access == MMU_STORE ? v->store : v->load;
	const struct tlb_entry *entry = &table[tlb_index(address)];
	enum riscv_cause cause;
	gpa_t target;

	if (entry->tag == ((address & PAGE_MASK) | v->data_context) && !(address & (size - 1))) {
		*host = (void *)(entry->addend + address);
		*physical = memory_physical(v->memory, *host).value;
		return CAUSE_NONE;
	}
	refill(v, table, address, 1, access);
	v->tval = address;
	cause = hart_atomic_pointer(v->hart, gva(address), size, access, host, &target);
	*physical = target.value;
	return cause;
}

enum riscv_cause fetch_page(struct engine_vcpu *v, uint64_t pc, const uint8_t **host, uint64_t *physical)
{
	struct tlb_entry *entry = &v->fetch[tlb_index(pc) % FETCH_ENTRIES];
	struct mmu_page page;
	enum riscv_cause cause;

	if (likely(entry->tag == ((pc & PAGE_MASK) | v->fetch_context))) {
		*host = (const uint8_t *)(entry->addend + (pc & PAGE_MASK));
		*physical = memory_physical(v->memory, *host).value;
		return CAUSE_NONE;
	}
	count_tlb_miss(v, counted_mode(v->hart, v->hart->priv));
	v->tval = pc;
	*host = NULL;
	cause = mmu_translate(v->hart, gva(pc), 2, MMU_FETCH, v->hart->priv, &page);
	if (cause == CAUSE_NONE && fill(v, entry, pc, v->fetch_context, MMU_FETCH, &page)) {
		*host = (const uint8_t *)(entry->addend + (pc & PAGE_MASK));
		*physical = page.base.value;
	}
	return cause;
}
