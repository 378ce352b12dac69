/*
 * The address spaces behind generated code: TLBs and jump table of a hart.
 */
#include <string.h>

#include "engine/translate/translator.h"

static void empty(uint64_t *tags)
{
	for (unsigned i = 0; i < FRAME_TLB; i++)
		tags[i] = FRAME_NO_PAGE;
}

static void empty_mode(struct translator *t, enum frame_mode mode)
{
	empty(t->frame->tlb[mode].load);
	empty(t->frame->tlb[mode].store);
	if (mode == FRAME_SUPERVISOR)
		t->supervisor_local = false;
}

void spaces_forget_jumps(struct translator *t)
{
	memset(t->salts, 0, sizeof t->salts);
	memset(t->salt_of_mode, 0, sizeof t->salt_of_mode);
	memset(t->code_seen, 0, sizeof t->code_seen);
	t->entered = false;
}

void spaces_reset(struct translator *t)
{
	for (unsigned mode = 0; mode < FRAME_MODES; mode++)
		empty_mode(t, (enum frame_mode)mode);
	superpages_forget(&t->superpages);
	t->satp = t->interpreter.hart->satp;
	memset(t->frame->jumps, 0xff, sizeof t->frame->jumps);
	t->next_salt = 1;
	spaces_forget_jumps(t);
}

/* A number of its own for each address space and mode that has jump entries. */
static uint64_t salt_of(struct translator *t, enum frame_mode mode)
{
	uint64_t satp = mode == FRAME_MACHINE ? 0 : t->satp;
	unsigned free_slot = SALTS;

	for (unsigned i = 1; i < SALTS; i++) {
		if (t->salts[i].mode == mode + 1u && t->salts[i].satp == satp)
			return (uint64_t)i << 57;
		if (!t->salts[i].mode && i >= t->next_salt && free_slot == SALTS)
			free_slot = i;
	}
	if (free_slot == SALTS) {
		memset(t->frame->jumps, 0xff, sizeof t->frame->jumps);
		spaces_forget_jumps(t);
		free_slot = t->next_salt = 1;
	}
	t->next_salt = free_slot + 1;
	t->salts[free_slot].satp = satp;
	t->salts[free_slot].mode = mode + 1u;
	return (uint64_t)free_slot << 57;
}

void spaces_enter(struct translator *t, enum frame_mode mode)
{
	uint64_t satp = t->interpreter.hart->satp;

	if (likely(t->entered && t->mode == mode && satp == t->satp))
		return;
	t->entered = true;
	t->mode = mode;
	tlb_update_contexts(&t->interpreter);
	if (unlikely(satp != t->satp)) {
		memset(t->salt_of_mode, 0, sizeof t->salt_of_mode);
		t->satp = satp;
		empty_mode(t, FRAME_USER);
		empty_mode(t, FRAME_SUPERVISOR_USER);
		if (t->supervisor_local)
			empty_mode(t, FRAME_SUPERVISOR);
	}
	if (!t->salt_of_mode[mode])
		t->salt_of_mode[mode] = salt_of(t, mode);
	t->entered = true;
	t->frame->salt = t->salt_of_mode[mode];
}

static bool code_was_seen(const struct translator *t, uint64_t address)
{
	unsigned hash = (unsigned)(address >> GUEST_PAGE_SHIFT) % CODE_PAGES_SEEN;

	return t->code_seen[hash / 8] >> (hash % 8) & 1;
}

static void flush_page(struct translator *t, uint64_t address)
{
	unsigned index = (address >> GUEST_PAGE_SHIFT) % FRAME_TLB;

	for (unsigned mode = 0; mode < FRAME_MODES; mode++) {
		struct frame_tlb *tlb = &t->frame->tlb[mode];

		tlb->load[index] = tlb->store[index] = FRAME_NO_PAGE;
	}
	if (code_was_seen(t, address))
		spaces_forget_jumps(t);
}

void spaces_flush(struct translator *t, bool one_page, uint64_t address, bool one_asid, uint16_t asid)
{
	if (one_page && !superpages_hold(&t->superpages, address)) {
		flush_page(t, address);
		return;
	}
	if (!one_asid || asid == (uint16_t)(t->satp >> 44)) {
		for (unsigned mode = 0; mode < FRAME_MODES; mode++)
			empty_mode(t, (enum frame_mode)mode);
		superpages_forget(&t->superpages);
	}
	spaces_forget_jumps(t);
}

void spaces_drop_writes(struct translator *t)
{
	for (unsigned mode = 0; mode < FRAME_MODES; mode++)
		empty(t->frame->tlb[mode].store);
}

bool spaces_fill(struct translator *t, enum frame_mode mode, uint64_t address, unsigned size, bool store)
{
	struct hart *hart = t->interpreter.hart;
	struct frame_tlb *tlb = &t->frame->tlb[mode];
	unsigned index = (address >> GUEST_PAGE_SHIFT) % FRAME_TLB;
	uint64_t tag = address & PAGE_MASK;
	enum mmu_access access = store ? MMU_STORE : MMU_LOAD;
	struct mmu_page page;
	uint8_t *host;

	t->interpreter.statistics.tlb_misses++;
	if (((address ^ (address + size - 1)) & PAGE_MASK) ||
	    mmu_translate(hart, gva(address), size, access, mmu_data_privilege(hart), &page) != CAUSE_NONE)
		return false;
	host = memory_host(t->interpreter.memory, page.base, GUEST_PAGE_SIZE);
	/* Where one may store one may load: a group that stores first relies on it. */
	if (!host || !(page.reusable & 1u << access) || !(page.reusable & 1u << MMU_LOAD))
		return false;
	superpages_note(&t->superpages, address, page.span);
	if (mode == FRAME_SUPERVISOR && !page.global)
		t->supervisor_local = true;
	/* The addend is for both: what the slot held for another page goes. */
	if (tlb->load[index] != tag)
		tlb->load[index] = tag;
	if (tlb->store[index] != tag)
		tlb->store[index] = FRAME_NO_PAGE;
	if (store) {
		memory_mark_dirty(t->interpreter.memory, page.base, GUEST_PAGE_SIZE);
		tlb->store[index] = tag;
	}
	tlb->addend[index] = (uint64_t)(uintptr_t)host - tag;
	return true;
}
