#include "shoot.h"

#include "crowd.h"
#include "paging.h"
#include "supervisor.h"

#ifdef LONG
#define MILLISECONDS 60000
#else
#define MILLISECONDS 1500
#endif

#define WINDOWS UINT64_C(0x1000000000) /* virtual: 2 MiB a hart */
#define SUPERS  UINT64_C(0x2000000000) /* virtual: 2 MiB a hart, mapped by a superpage or by pages */
#define FRAMES  UINT64_C(0x82000000)   /* physical, from here on */
#define FAULT_VALUE UINT64_MAX
#define SPACES  2

/* Pages of a window. The data pages alternate between two frames, whose first and last words hold the number of the
 * change that put them there; a frame that is not mapped is all zero. */
enum { DATA = 4, GLOBAL = 4, CODE = 5, PAGES = 6, SUPER = PAGES, PLACES };
#define CODES 8 /* frames with a function that returns its number */

static struct {
	volatile uint64_t written, acked, pad[6];
} changes[CROWD_MAX][PLACES] __attribute__((aligned(64)));
static volatile uint64_t end, wrong, first_wrong[3], faults[CROWD_MAX];
static uint64_t tables[SPACES]; /* values for satp */
static uint64_t *leaves[SPACES][CROWD_MAX]; /* the window's last-level tables */
static uint64_t *super_entry[CROWD_MAX], *super_pages[CROWD_MAX];

static void failed(uint64_t place, uint64_t value, uint64_t number)
{
	if (amo_add(&wrong, 1))
		return;
	first_wrong[0] = place;
	first_wrong[1] = value;
	first_wrong[2] = number;
}

/* Frames: 16 a hart for its window; then 2 MiB areas, two a hart. */
static uint64_t frame(uint64_t owner, uint64_t page, uint64_t number)
{
	uint64_t base = FRAMES + owner * 32 * PAGE;

	return page == CODE ? base + (16 + number % CODES) * PAGE : base + (page * 2 + (number & 1)) * PAGE;
}

/* What the other address space has at a page, always. */
static uint64_t constant_frame(uint64_t owner, uint64_t page)
{
	return FRAMES + owner * 32 * PAGE + (24 + page) * PAGE;
}

static uint64_t area(uint64_t owner, uint64_t which)
{
	return FRAMES + SPAN(1) * (1 + owner * 2 + (which & 1));
}

static uint64_t address_of(uint64_t owner, uint64_t page)
{
	return WINDOWS + owner * SPAN(1) + page * PAGE;
}

/* What a change makes of a page: one in four takes a data page away, one in four makes it read-only. */
static bool is_mapped(uint64_t page, uint64_t number)
{
	return page >= DATA || number % 4 != 3;
}

static bool is_writable(uint64_t page, uint64_t number)
{
	return page == GLOBAL || (page < DATA && number % 4 < 2);
}

static uint64_t leaf(uint64_t owner, uint64_t page, uint64_t number)
{
	uint64_t flags = PTE_V | PTE_A | PTE_R | (page == GLOBAL ? PTE_G : 0) | (page == CODE ? PTE_X : 0);

	if (!is_mapped(page, number))
		return 0;
	return pte(frame(owner, page, number), flags | (is_writable(page, number) ? PTE_W | PTE_D : 0));
}

static bool on_trap(uint64_t cause, uint64_t epc)
{
	if (cause != LOAD_PAGE && cause != STORE_PAGE)
		return false;
	faults[csr_read(sscratch)] = cause;
	csr_write(sepc, epc + 4);
	return true;
}

/* A load that may fault: FAULT_VALUE then. Of four bytes each, for on_trap. */
static uint64_t load(uint64_t address)
{
	uint64_t value = FAULT_VALUE;

	asm volatile(".option push; .option norvc; ld %0, (%1); .option pop" : "+r"(value) : "r"(address) : "memory");
	return value;
}

/* False: it faulted. */
static bool store(uint64_t id, uint64_t address, uint64_t value)
{
	faults[id] = 0;
	asm volatile(".option push; .option norvc; sd %0, (%1); .option pop" ::"r"(value), "r"(address) : "memory");
	return faults[id] == 0;
}

/* A value read between `acked` and `written`: not older than the one, not younger than the other. */
static void judge(uint64_t page, uint64_t value, uint64_t acked, uint64_t written)
{
	bool still = acked == written;

	if (value == FAULT_VALUE ? still && is_mapped(page, acked) :
				   value < acked || value > written || (still && !is_mapped(page, acked)))
		failed(page, value, acked);
}

static void use_data(uint64_t id, uint64_t owner, uint64_t page)
{
	uint64_t acked = changes[owner][page].acked, value, written;
	bool stored;

	asm volatile("fence" ::: "memory");
	value = load(address_of(owner, page));
	asm volatile("fence" ::: "memory");
	judge(page, value, acked, changes[owner][page].written);
	acked = changes[owner][page].acked;
	asm volatile("fence" ::: "memory");
	stored = store(id, address_of(owner, page) + 64 + 8 * id, 1);
	asm volatile("fence" ::: "memory");
	written = changes[owner][page].written;
	if (acked == written && stored != is_writable(page, acked))
		failed(16 + page, stored, acked);
}

/* Four bytes at the end of a page, four at the start of the next. */
static void use_across(uint64_t owner, uint64_t page)
{
	uint64_t acked[2], written[2], value;

	for (unsigned i = 0; i < 2; i++)
		acked[i] = changes[owner][page + i].acked;
	asm volatile("fence" ::: "memory");
	value = load(address_of(owner, page + 1) - 4);
	asm volatile("fence" ::: "memory");
	for (unsigned i = 0; i < 2; i++) {
		written[i] = changes[owner][page + i].written;
		if (value != FAULT_VALUE)
			judge(page + i, value >> 32 * i & UINT32_MAX, acked[i], written[i]);
	}
	if (value == FAULT_VALUE && acked[0] == written[0] && acked[1] == written[1] && is_mapped(page, acked[0]) &&
	    is_mapped(page + 1, acked[1]))
		failed(32 + page, value, acked[0]);
}

static void use_code(uint64_t owner)
{
	uint64_t acked = changes[owner][CODE].acked, value, written;

	asm volatile("fence" ::: "memory");
	value = ((uint64_t(*)(void))address_of(owner, CODE))();
	asm volatile("fence" ::: "memory");
	written = changes[owner][CODE].written;
	if (written - acked < CODES && (value - acked) % CODES > written - acked)
		failed(CODE, value, acked);
}

/* A superpage's two areas hold their number and the page's; an odd change splits it, with one page, which the change
 * chooses, out of the other area. */
static uint64_t super_value(uint64_t number, uint64_t page)
{
	uint64_t which = number >> 1 & 1;

	if (number & 1 && page == number * 37 % 512)
		which ^= 1;
	return (which + 1) << 32 | page;
}

static void use_super(uint64_t owner, uint64_t page)
{
	uint64_t acked = changes[owner][SUPER].acked, value, written, offset = page * PAGE;

	asm volatile("fence" ::: "memory");
	value = load(SUPERS + owner * SPAN(1) + offset);
	asm volatile("fence" ::: "memory");
	written = changes[owner][SUPER].written;
	if (acked == written ? value != super_value(acked, page) : (value & UINT32_MAX) != page)
		failed(SUPER, value, acked);
}

/* The other address space and back, with no fence. */
static void use_other_space(uint64_t owner, uint64_t page)
{
	uint64_t acked = changes[owner][GLOBAL].acked, value, shared;

	csr_write(satp, tables[1]);
	value = load(address_of(owner, page));
	shared = load(address_of(owner, GLOBAL));
	csr_write(satp, tables[0]);
	asm volatile("fence" ::: "memory");
	judge(GLOBAL, shared, acked, changes[owner][GLOBAL].written);
	if (value != (owner << 8 | page))
		failed(48 + page, value, acked);
}

static void use(uint64_t id, uint64_t *random)
{
	uint64_t owner = random_next(random) % crowd_harts, page = random_next(random) % DATA;

	switch (random_next(random) % 8) {
	case 0:
		use_code(owner);
		break;
	case 1:
		use_super(owner, random_next(random) % 512);
		break;
	case 2:
		use_super(owner, changes[owner][SUPER].acked * 37 % 512);
		break;
	case 3:
		use_other_space(owner, page);
		break;
	case 4:
		use_across(owner, page % (DATA - 1));
		break;
	case 5:
		use_data(id, owner, GLOBAL);
		break;
	default:
		use_data(id, owner, page);
	}
}

/* All harts, this one too. What is narrowed by an ASID need not reach global pages; what is narrowed by an
 * address need not reach entries above the leaves. */
static void fence_harts(uint64_t address, uint64_t size, bool global, uint64_t choice)
{
	uint64_t all = BIT(crowd_harts) - 1;
	struct answer answer;

	asm volatile("fence" ::: "memory");
	switch (choice % 4) {
	case 0:
		answer = SBI(RFENCE, 1, all, 0, 0, -1);
		break;
	case 1:
		answer = global ? SBI(RFENCE, 1, all, 0, address, size) : SBI(RFENCE, 2, all, 0, 0, -1, 1);
		break;
	case 2:
		answer = SBI(RFENCE, 1, all, 0, address, size);
		break;
	default:
		answer = global ? SBI(RFENCE, 1, all, 0, 0, 0) : SBI(RFENCE, 2, all, 0, address, size, 1);
	}
	if (answer.error)
		failed(64, (uint64_t)answer.error, choice);
	asm volatile("fence" ::: "memory");
}

/* All zero but for what a store through an old mapping left there. */
static void poison(volatile uint64_t *words)
{
	words[0] = words[511] = 0;
	for (unsigned i = 0; i < CROWD_MAX; i++)
		words[8 + i] = 0;
}

static void check_poison(const volatile uint64_t *words, uint64_t page, uint64_t number)
{
	for (unsigned i = 0; i < CROWD_MAX; i++)
		if (words[8 + i] || words[0] || words[511])
			failed(80 + page, i, number);
}

static void change_page(uint64_t id, uint64_t page, uint64_t choice)
{
	uint64_t number = changes[id][page].written + 1, entry = leaf(id, page, number);
	volatile uint64_t *words = (volatile uint64_t *)frame(id, page, number);
	volatile uint64_t *before = (volatile uint64_t *)frame(id, page, number - 1);

	changes[id][page].written = number;
	if (page != CODE) {
		check_poison(words, page, number);
		words[0] = number;
		words[511] = number << 32;
	}
	asm volatile("fence w, w" ::: "memory");
	*(volatile uint64_t *)&leaves[0][id][page] = entry;
	if (page == GLOBAL)
		*(volatile uint64_t *)&leaves[1][id][page] = entry;
	fence_harts(address_of(id, page), PAGE, page == GLOBAL, choice);
	changes[id][page].acked = number;
	if (page != CODE)
		poison(before);
	/* Not mapped, so nobody may see it: the next change but one begins with it as it is left now. */
	if (!entry)
		poison(words);
}

static void change_super(uint64_t id, uint64_t choice)
{
	uint64_t number = changes[id][SUPER].written + 1, which = number >> 1 & 1;
	uint64_t entry = pte(area(id, which), PTE_ALL);

	changes[id][SUPER].written = number;
	if (number & 1) {
		for (uint64_t i = 0; i < 512; i++)
			super_pages[id][i] = pte(area(id, which ^ (i == number * 37 % 512)) + i * PAGE, PTE_ALL);
		entry = pte((uint64_t)super_pages[id], PTE_V);
	}
	asm volatile("fence w, w" ::: "memory");
	*(volatile uint64_t *)super_entry[id] = entry;
	/* An entry that is no leaf came or went: everything, of all spaces or of this one. */
	fence_harts(0, UINT64_MAX, false, choice & 1);
	changes[id][SUPER].acked = number;
}

static void work(uint64_t id)
{
	uint64_t random = id;

	while (now() < end) {
		uint64_t place = random_next(&random) % PLACES;

		for (unsigned i = 0; i < 12; i++)
			use(id, &random);
		if (place == SUPER)
			change_super(id, random_next(&random));
		else
			change_page(id, place, random_next(&random));
	}
}

static void hart(uint64_t id)
{
	csr_write(sscratch, id);
	csr_write(satp, tables[0]);
	fence_vma();
	asm volatile("fence.i" ::: "memory");
	crowd_barrier();
	work(id);
	crowd_barrier();
}

/* Frames before translation is on: functions that return their number, constants, and the areas. */
static void fill(uint64_t owner)
{
	for (uint64_t i = 0; i < CODES; i++) {
		volatile uint32_t *code = (volatile uint32_t *)frame(owner, CODE, i);

		code[0] = (uint32_t)i << 20 | 0x513;
		code[1] = 0x8067;
	}
	for (uint64_t page = 0; page < DATA; page++)
		*(volatile uint64_t *)constant_frame(owner, page) = owner << 8 | page;
	for (uint64_t which = 0; which < 2; which++)
		for (uint64_t page = 0; page < 512; page++)
			*(volatile uint64_t *)(area(owner, which) + page * PAGE) = (which + 1) << 32 | page;
}

static void map(uint64_t owner)
{
	leaves[0][owner] = paging_entry(address_of(owner, 0), 0);
	leaves[1][owner] = paging_page();
	for (uint64_t page = 0; page < DATA; page++)
		leaves[1][owner][page] = pte(constant_frame(owner, page), PTE_ALL);
	for (uint64_t page = 0; page < PAGES; page++)
		leaves[0][owner][page] = leaf(owner, page, 0);
	leaves[1][owner][GLOBAL] = leaf(owner, GLOBAL, 0);
	super_entry[owner] = paging_map(SUPERS + owner * SPAN(1), area(owner, 0), 1, PTE_ALL);
	super_pages[owner] = paging_page();
}

/* The second space: as the first, but for the windows. */
static void make_spaces(void)
{
	uint64_t *roots[SPACES], *middle = paging_page();

	roots[0] = paging_entry(0, 2);
	roots[1] = paging_page();
	for (unsigned i = 0; i < 512; i++)
		roots[1][i] = roots[0][i];
	roots[1][WINDOWS >> 30 & 511] = pte((uint64_t)middle, PTE_V);
	for (unsigned i = 0; i < crowd_harts; i++)
		middle[i] = pte((uint64_t)leaves[1][i], PTE_V);
	for (unsigned i = 0; i < SPACES; i++)
		tables[i] = UINT64_C(8) << 60 | (uint64_t)(i + 1) << 44 | (uint64_t)roots[i] >> 12;
}

void shoot_run(unsigned harts)
{
	uint64_t changed = 0;

	check(boot.tree >= FRAMES && boot.tree < FRAMES + SPAN(1) * 9, 0);
	paging_reset(3);
	paging_map(0, 0, 2, PTE_ALL);
	paging_map(UINT64_C(0x80000000), UINT64_C(0x80000000), 2, PTE_ALL);
	crowd_harts = harts;
	for (unsigned i = 0; i < harts; i++) {
		fill(i);
		map(i);
	}
	make_spaces();
	trap_hook = on_trap;
	end = now() + MILLISECONDS * TICKS_PER_MS;
	crowd_begin(harts, hart);
	hart(crowd_boot);
	for (unsigned i = 0; i < harts; i++)
		for (unsigned j = 0; j < PLACES; j++)
			changed += changes[i][j].acked;
	print("note: ");
	print_decimal(changed);
	print(" changes\n");
	context("place, value, made good", first_wrong[0], first_wrong[1], first_wrong[2]);
	check(wrong, 0);
	context("changes", changed, 0, 0);
	check(changed > 0, 1);
}
