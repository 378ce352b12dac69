/*
 * The A and D bits: with menvcfg.ADUE clear the hart faults where a bit is missing (Svade), with ADUE set it
 * sets the bit (Svadu), and exactly then.
 */
#include "paging.h"

static uint32_t target[1024] __attribute__((aligned(4096))) = {[0] = 0x00000073};
static uint64_t *entry, *tables[5], address;

static void prepare(unsigned levels, unsigned level)
{
	paging_reset(levels);
	address = paging_address(level, (uint64_t)target, 9);
	entry = paging_entry(address, level);
	for (unsigned i = level; i < levels; i++)
		tables[i] = paging_entry(address, i);
	paging_on(0);
}

/* The cause of an access to a page with these flags; *after is what the flags have become. */
static uint64_t access(unsigned level, uint64_t flags, char kind, uint64_t *after)
{
	uint64_t cause;

	*entry = pte((uint64_t)target & ~(SPAN(level) - 1), flags);
	fence_vma();
	cause = try_access(kind, S, kind == 'x' ? address : address + 2048);
	*after = *entry & 1023;
	check(*entry & ~UINT64_C(1023), pte((uint64_t)target & ~(SPAN(level) - 1), 0));
	return cause;
}

#define FLAGS (PTE_V | PTE_RWX)

static void updated(unsigned levels, unsigned level)
{
	uint64_t after, pointers[5];

	prepare(levels, level);
	context("updated", levels, level, 0);
	for (unsigned i = level + 1; i < levels; i++)
		pointers[i] = *tables[i];
	check(access(level, FLAGS, 'r', &after), 0);
	check(after, FLAGS | PTE_A);
	check(access(level, FLAGS, 'x', &after), 0);
	check(after, FLAGS | PTE_A);
	check(access(level, FLAGS, 'w', &after), 0);
	check(after, FLAGS | PTE_A | PTE_D);
	check(access(level, FLAGS | PTE_A, 'w', &after), 0);
	check(after, FLAGS | PTE_A | PTE_D);
	check(access(level, FLAGS | PTE_A | BIT(8) | PTE_G, 'r', &after), 0);
	check(after, FLAGS | PTE_A | BIT(8) | PTE_G);
	/* A load first, then a store to the same page: D is set though the translation was known. */
	check(access(level, FLAGS, 'r', &after), 0);
	check(try_access('w', S, address + 2048), 0);
	check(*entry & 255, FLAGS | PTE_A | PTE_D);
	/* Who may not, leaves no trace. */
	check(access(level, PTE_V | PTE_R, 'w', &after), STORE_PAGE);
	check(after, PTE_V | PTE_R);
	check(access(level, PTE_V | PTE_R, 'x', &after), FETCH_PAGE);
	check(after, PTE_V | PTE_R);
	check(access(level, FLAGS | PTE_U, 'r', &after), LOAD_PAGE);
	check(after, FLAGS | PTE_U);
	/* Never in the tables above. */
	for (unsigned i = level + 1; i < levels; i++)
		check(*tables[i], pointers[i]);
}

static void faulting(unsigned levels, unsigned level)
{
	uint64_t after;

	prepare(levels, level);
	context("faulting", levels, level, 0);
	check(access(level, FLAGS, 'r', &after), LOAD_PAGE);
	check(after, FLAGS);
	check(access(level, FLAGS | PTE_D, 'r', &after), LOAD_PAGE);
	check(after, FLAGS | PTE_D);
	check(access(level, FLAGS, 'x', &after), FETCH_PAGE);
	check(after, FLAGS);
	check(access(level, FLAGS, 'w', &after), STORE_PAGE);
	check(after, FLAGS);
	check(access(level, FLAGS | PTE_A, 'w', &after), STORE_PAGE);
	check(after, FLAGS | PTE_A);
	check(access(level, FLAGS | PTE_A, 'r', &after), 0);
	check(after, FLAGS | PTE_A);
	/* Known for loads, but not dirty: the store faults all the same. */
	check(try_access('w', S, address + 2048), STORE_PAGE);
	check(access(level, FLAGS | PTE_A | PTE_D, 'w', &after), 0);
	check(after, FLAGS | PTE_A | PTE_D);
}

static void each(void (*test)(unsigned levels, unsigned level))
{
	for (unsigned levels = 3; levels <= 5; levels++)
		for (unsigned level = 0; level < levels; level++)
			test(levels, level);
}

int main(void)
{
	bool choice;

	csr_write(menvcfg, ENVCFG_ADUE);
	choice = csr_read(menvcfg) & ENVCFG_ADUE;
	/* QEMU 7.2 has no ADUE and always updates. */
	if (choice || on_qemu())
		each(updated);
	csr_write(menvcfg, 0);
	if (!on_qemu())
		each(faulting);
	return 0;
}
