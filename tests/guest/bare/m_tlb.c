/*
 * Translations that are remembered must not outlive what made them: address spaces by ASID, page-table changes
 * behind each form of fence, status bits and privilege that change while the translation stays.
 */
#include "paging.h"

static uint64_t first[512] __attribute__((aligned(4096))), second[512] __attribute__((aligned(4096)));
/* Far from the places of the code in any cache of translations that is indexed by low bits. */
#define VIRTUAL UINT64_C(0x1234a5000)

/* sinval.vma behind the fences that go with it (Svinval). */
#define sinval_all()                                                                                              \
	asm volatile(".word 0x18000073; .insn r 0x73, 0, 0x0b, x0, x0, x0; .word 0x18100073" ::: "memory")
#define sinval_both(a, asid)                                                                                      \
	asm volatile(".word 0x18000073; .insn r 0x73, 0, 0x0b, x0, %0, %1; .word 0x18100073" ::"r"(a), "r"(asid)  \
		     : "memory")

static void fence_none(uint64_t address, uint64_t asid)
{
	(void)address;
	(void)asid;
	asm volatile("sfence.vma x0, x0" ::: "memory");
}
static void fence_address(uint64_t address, uint64_t asid)
{
	(void)asid;
	asm volatile("sfence.vma %0, x0" ::"r"(address) : "memory");
}
static void fence_asid(uint64_t address, uint64_t asid)
{
	(void)address;
	asm volatile("sfence.vma x0, %0" ::"r"(asid) : "memory");
}
static void fence_both(uint64_t address, uint64_t asid)
{
	asm volatile("sfence.vma %0, %1" ::"r"(address), "r"(asid) : "memory");
}
static void fence_inval(uint64_t address, uint64_t asid)
{
	(void)address;
	(void)asid;
	sinval_all();
}
static void fence_inval_both(uint64_t address, uint64_t asid)
{
	sinval_both(address, asid);
}

static void (*const fences[])(uint64_t address, uint64_t asid) = {fence_none, fence_address, fence_asid,
								  fence_both, fence_inval,   fence_inval_both};

static uint64_t seen(uint64_t address)
{
	return try_load(S, address, 8) ? last.cause << 32 : last.a0;
}

/* What the code of the page returns. */
static uint64_t executed(uint64_t address)
{
	return try_fetch(S, address + 16) ? FAULT(last.cause) : last.a0;
}

/* A page that moves, becomes read-only, goes away and comes back, behind each kind of fence. */
static void changed_entries(void)
{
	for (unsigned i = 0; i < sizeof(fences) / sizeof(fences[0]); i++) {
		uint64_t asid = 5, *entry;

		paging_reset(3);
		entry = paging_map(VIRTUAL, (uint64_t)first, 0, PTE_ALL);
		paging_on(asid);
		context("fence", i, 0, 0);
		check(seen(VIRTUAL), 1);
		check(executed(VIRTUAL), 1);
		*entry = pte((uint64_t)second, PTE_ALL);
		fences[i](VIRTUAL, asid);
		check(seen(VIRTUAL), 2);
		check(executed(VIRTUAL), 2);
		check(try_store(S, VIRTUAL + 8, 8), 0);
		*entry = pte((uint64_t)second, PTE_ALL & ~PTE_W);
		fences[i](VIRTUAL + 0x18, asid);
		check(try_store(S, VIRTUAL + 8, 8), STORE_PAGE);
		check(seen(VIRTUAL), 2);
		*entry = 0;
		fences[i](VIRTUAL + 0xfff, asid);
		check(seen(VIRTUAL), FAULT(LOAD_PAGE));
		check(executed(VIRTUAL), FAULT(FETCH_PAGE));
		*entry = pte((uint64_t)first, PTE_ALL);
		fences[i](VIRTUAL, asid);
		check(seen(VIRTUAL), 1);
	}
}

/* A superpage that is split into pages, and back. */
static void split_superpage(void)
{
	uint64_t address, *entry, *table, whole;

	paging_reset(3);
	address = paging_address(1, (uint64_t)first, 5);
	entry = paging_map(address, (uint64_t)first, 1, PTE_ALL);
	whole = *entry;
	paging_on(1);
	context("split", 0, 0, 0);
	check(seen(address), 1);
	check(seen(address + ((uint64_t)second - (uint64_t)first)), 2);
	table = paging_page();
	table[address >> 12 & 511] = pte((uint64_t)second, PTE_ALL);
	*entry = pte((uint64_t)table, PTE_V);
	asm volatile("sfence.vma %0, x0" ::"r"(address) : "memory");
	check(seen(address), 2);
	check(seen(address + PAGE), FAULT(LOAD_PAGE));
	*entry = whole;
	asm volatile("sfence.vma" ::: "memory");
	check(seen(address), 1);
}

/* Two address spaces, told apart by ASID without a single fence between them. */
static void address_spaces(void)
{
	uint64_t one, two, *root, *middle, *low;

	paging_reset(3);
	paging_map(VIRTUAL, (uint64_t)first, 0, PTE_ALL);
	root = paging_page();
	middle = paging_page();
	low = paging_page();
	root[VIRTUAL >> 30 & 511] = pte((uint64_t)middle, PTE_V);
	middle[VIRTUAL >> 21 & 511] = pte((uint64_t)low, PTE_V);
	low[VIRTUAL >> 12 & 511] = pte((uint64_t)second, PTE_ALL);
	two = UINT64_C(8) << 60 | UINT64_C(2) << 44 | (uint64_t)root >> 12;
	paging_on(1);
	one = csr_read(satp);
	for (unsigned i = 0; i < 8; i++) {
		context("asid", i, 0, 0);
		csr_write(satp, i & 1 ? two : one);
		check(seen(VIRTUAL), i & 1 ? 2 : 1);
	}
	/* A fence for one leaves the other right. */
	low[VIRTUAL >> 12 & 511] = pte((uint64_t)first, PTE_ALL);
	asm volatile("sfence.vma x0, %0" ::"r"(UINT64_C(2)) : "memory");
	csr_write(satp, two);
	check(seen(VIRTUAL), 1);
	csr_write(satp, one);
	check(seen(VIRTUAL), 1);
	low[VIRTUAL >> 12 & 511] = pte((uint64_t)second, PTE_ALL);
	/* The same ASID with another root, behind a fence. */
	context("root", 0, 0, 0);
	csr_write(satp, (two & ~(UINT64_C(0xffff) << 44)) | UINT64_C(1) << 44);
	fence_vma();
	check(seen(VIRTUAL), 2);
	/* Off and on: Bare has no translation to remember. */
	csr_write(satp, 0);
	check(seen((uint64_t)second), 2);
	csr_write(satp, one);
	fence_vma();
	check(seen(VIRTUAL), 1);
	check(seen((uint64_t)second), FAULT(LOAD_PAGE));
}

/* What depends on status and mode is decided at each access, not when the translation was made. */
static void status_bits(void)
{
	uint64_t supervisor = VIRTUAL, user = VIRTUAL + PAGE, hidden = VIRTUAL + 2 * PAGE;

	paging_reset(4);
	paging_map(supervisor, (uint64_t)first, 0, PTE_ALL);
	paging_map(user, (uint64_t)first, 0, PTE_ALL | PTE_U);
	paging_map(hidden, (uint64_t)first, 0, PTE_V | PTE_X | PTE_A);
	paging_on(3);
	for (unsigned i = 0; i < 3; i++) {
		context("status round", i, 0, 0);
		csr_clear(mstatus, STATUS_SUM | STATUS_MXR);
		check(try_load(U, user, 8), 0);
		check(try_load(S, user, 8), LOAD_PAGE);
		check(try_load(S, supervisor, 8), 0);
		check(try_load(U, supervisor, 8), LOAD_PAGE);
		check(try_load(S, hidden, 8), LOAD_PAGE);
		csr_set(mstatus, STATUS_SUM);
		check(try_load(S, user, 8), 0);
		check(try_store(S, user + 8, 8), 0);
		csr_set(mstatus, STATUS_MXR);
		check(try_load(S, hidden, 8), 0);
		check(try_store(S, hidden, 8), STORE_PAGE);
	}
	csr_clear(mstatus, STATUS_SUM | STATUS_MXR);
}

static naked void do_sinval(void)
{
	asm(".word 0x18000073; .insn r 0x73, 0, 0x0b, x0, x0, x0; .word 0x18100073; ret");
}
static naked void do_sinval_only(void)
{
	asm(".insn r 0x73, 0, 0x0b, x0, x0, x0; ret");
}

static void inval_privilege(void)
{
	csr_write(satp, 0);
	fence_vma();
	context(NULL, 0, 0, 0);
	check(run(S, do_sinval, 0, 0).cause, ECALL_S);
	check(run(U, do_sinval, 0, 0).cause, ILLEGAL);
	check(run(U, do_sinval_only, 0, 0).cause, ILLEGAL);
	csr_set(mstatus, STATUS_TVM);
	check(run(S, do_sinval_only, 0, 0).cause, ILLEGAL);
	csr_clear(mstatus, STATUS_TVM);
}

/* In S-mode itself: satp, a load through the new space, satp back. */
static naked void switch_and_load(void)
{
	asm("csrr t1, satp; csrw satp, a0; ld a0, 0(a1); csrw satp, t1; ret");
}

static void from_supervisor(void)
{
	uint64_t one, two;

	paging_reset(3);
	paging_map(VIRTUAL, (uint64_t)first, 0, PTE_ALL);
	paging_map(0x80000000, 0x80000000, 2, PTE_ALL);
	paging_on(7);
	one = csr_read(satp);
	two = (one & ~(UINT64_C(0xffff) << 44)) | UINT64_C(8) << 44;
	for (unsigned i = 0; i < 4; i++) {
		struct trap t = run(S, switch_and_load, i & 1 ? two : one, VIRTUAL);

		context("switch", i, 0, 0);
		check(t.cause, ECALL_S);
		check(t.a0, 1);
	}
	csr_write(satp, 0);
}

static naked void plain_load(void)
{
	asm("ld a0, 0(a0); ret");
}
static naked void plain_store(void)
{
	asm("sd zero, 8(a0); ret");
}

/* In the mode itself, U or S, which MPRV is not: who runs there, and what makes a page its own. */
static unsigned who;
static uint64_t own(uint64_t flags)
{
	return flags | (who == U ? PTE_U : 0);
}

static uint64_t ecall(void)
{
	return who == U ? ECALL_U : ECALL_S;
}

static uint64_t sees(uint64_t address)
{
	struct trap t = run(who, plain_load, address, 0);

	return t.cause == ecall() ? t.a0 : FAULT(t.cause);
}
static uint64_t stores(uint64_t address)
{
	uint64_t cause = run(who, plain_store, address, 0).cause;

	return cause == ecall() ? 0 : cause;
}

/* Pages so far apart that each takes the place of the others in caches of up to 4096 entries, the last in larger ones. */
#define PAGES_APART 3
static const uint64_t apart[PAGES_APART] = {UINT64_C(1) << 24, UINT64_C(1) << 26, UINT64_C(1) << 28};

static void crowd(unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		check(sees(VIRTUAL + apart[i]), 2);
		check(stores(VIRTUAL + apart[i]), 0);
	}
}

/* A page that moves, becomes read-only and goes away while `pages` others have taken its place: with one of them a cache
 * may still have it in a second place. */
static void crowded(uint64_t fence, unsigned pages)
{
	uint64_t asid = 6, *entry;

	paging_reset(3);
	paging_map(0x80000000, 0x80000000, 2, own(PTE_ALL));
	entry = paging_map(VIRTUAL, (uint64_t)first, 0, own(PTE_ALL));
	for (unsigned k = 0; k < PAGES_APART; k++)
		paging_map(VIRTUAL + apart[k], (uint64_t)second, 0, own(PTE_ALL));
	paging_on(asid);
	context("crowded, mode, fence and pages", who, fence, pages);
	check(sees(VIRTUAL), 1);
	check(stores(VIRTUAL), 0);
	crowd(PAGES_APART);
	check(stores(VIRTUAL), 0);
	check(sees(VIRTUAL), 1);
	crowd(pages);
	*entry = pte((uint64_t)second, own(PTE_ALL));
	fences[fence](VIRTUAL, asid);
	check(sees(VIRTUAL), 2);
	crowd(pages);
	*entry = pte((uint64_t)first, own(PTE_ALL & ~PTE_W));
	fences[fence](VIRTUAL + 0xfff, asid);
	check(sees(VIRTUAL), 1);
	crowd(pages);
	check(stores(VIRTUAL), STORE_PAGE);
	check(sees(VIRTUAL), 1);
	crowd(pages);
	*entry = 0;
	fences[fence](VIRTUAL, asid);
	check(stores(VIRTUAL), STORE_PAGE);
	check(sees(VIRTUAL), FAULT(LOAD_PAGE));
}

/* What the pages of one space hold, and the one that all share: each again behind what takes its place. */
static void sees_all(uint64_t one, uint64_t other)
{
	check(sees(VIRTUAL), one);
	check(sees(VIRTUAL + apart[0]), other);
	check(sees(VIRTUAL), one);
	check(sees(VIRTUAL + apart[1]), 2);
	check(sees(VIRTUAL), one);
	check(sees(VIRTUAL + apart[1]), 2);
}

/* Two spaces whose pages crowd each other out of every cache. */
static void crowded_spaces(void)
{
	uint64_t one, two, *root, *middle;

	paging_reset(3);
	paging_map(0x80000000, 0x80000000, 2, own(PTE_ALL));
	paging_map(VIRTUAL, (uint64_t)first, 0, own(PTE_ALL));
	paging_map(VIRTUAL + apart[0], (uint64_t)second, 0, own(PTE_ALL));
	paging_map(VIRTUAL + apart[1], (uint64_t)second, 0, own(PTE_ALL | PTE_G));
	root = paging_page();
	middle = paging_page();
	root[2] = pte(0x80000000, own(PTE_ALL));
	root[VIRTUAL >> 30 & 511] = pte((uint64_t)middle, PTE_V);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t address = VIRTUAL + (i ? apart[i - 1] : 0), *low = paging_page();
		uint64_t flags = own(PTE_ALL) | (i == 2 ? PTE_G : 0);

		middle[address >> 21 & 511] = pte((uint64_t)low, PTE_V);
		low[address >> 12 & 511] = pte((uint64_t)(i == 1 ? first : second), flags);
	}
	paging_on(1);
	one = csr_read(satp);
	/* More ASIDs than any cache has numbers for; the first comes back each time. */
	for (uint64_t asid = 2; asid < 1300; asid++) {
		two = UINT64_C(8) << 60 | asid << 44 | (uint64_t)root >> 12;
		context("crowded spaces, mode", who, asid, 0);
		csr_write(satp, two);
		sees_all(2, 1);
		csr_write(satp, one);
		sees_all(1, 2);
	}
	csr_write(satp, 0);
}

int main(void)
{
	first[0] = 1;
	second[0] = 2;
	/* At 16: li a0, 1 or 2; ecall. */
	first[2] = UINT64_C(0x00000073) << 32 | 0x00100513;
	second[2] = UINT64_C(0x00000073) << 32 | 0x00200513;
	asm volatile("fence.i" ::: "memory");
	changed_entries();
	split_superpage();
	address_spaces();
	status_bits();
	inval_privilege();
	from_supervisor();
	for (unsigned i = 0; i < 2; i++) {
		who = i ? S : U;
		for (unsigned fence = 0; fence < sizeof(fences) / sizeof(fences[0]); fence++)
			for (unsigned pages = 1; pages <= 2; pages++)
				crowded(fence, pages);
		crowded_spaces();
	}
	return 0;
}
