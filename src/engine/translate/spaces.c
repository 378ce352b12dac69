#include "engine/translate/spaces.h"

#include <string.h>
#include <sys/random.h>

#include "engine/translate/translator.h"

static void nothing_local(struct spaces *s)
{
	memset(s->is_local, 0, sizeof s->is_local);
	s->local_count = 0;
}

static void forget_page(struct frame_tlb *entry)
{
	entry->load = entry->store = FRAME_NO_PAGE;
}

static void empty_mode(struct translator *t, unsigned mode)
{
	const struct frame_part *part = &frame_parts[mode];

	if (!t->spaces.filled[mode])
		return;
	for (unsigned i = 0; i < part->count; i++)
		forget_page(&t->frame->tlb[part->first + i]);
	t->spaces.filled[mode] = false;
}

static void empty_all(struct translator *t)
{
	for (unsigned mode = 0; mode < FRAME_MODES; mode++)
		empty_mode(t, mode);
	nothing_local(&t->spaces);
}

static void note_one(struct spaces *s, unsigned slot)
{
	uint64_t *word = &s->is_local[slot / 64], bit = UINT64_C(1) << (slot % 64);

	if (*word & bit)
		return;
	*word |= bit;
	s->local[s->local_count++] = (uint16_t)slot;
}

/* A page that is the space's own lies in the slot, and may come to lie in the other. */
static void note_local(struct spaces *s, unsigned slot)
{
	note_one(s, slot);
	note_one(s, frame_slot_other(slot));
}

void spaces_forget_jumps(struct translator *t)
{
	struct spaces *s = &t->spaces;

	for (unsigned i = 0; i < SPACES; i++)
		memset(s->all[i].code.salts, 0, sizeof s->all[i].code.salts);
	memset(s->global.salts, 0, sizeof s->global.salts);
	t->entered = false;
	t->pages_entered_count = t->straddling_count = t->fences = 0;
}

static void empty_jumps(struct translator *t)
{
	memset(t->frame->jumps, 0xff, sizeof t->frame->jumps);
	t->spaces.next_salt = 1;
	spaces_forget_jumps(t);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* A salt that no entry has. */
static uint64_t new_salt(struct translator *t)
{
	struct spaces *s = &t->spaces;
	uint64_t number;

	if (s->next_salt == SALTS)
		empty_jumps(t);
	number = s->next_salt++;
	s->secret += UINT64_C(0x9e3779b97f4a7c15);
	/* Bit 56 tells the halves of the address space apart, and pcs are even. */
	return number << 57 | (mix(s->secret) & UINT64_C(0x00fffffffffffffe));
}

static bool has_own_code(const struct spaces *s, unsigned mode)
{
	return mode == FRAME_USER || (mode != FRAME_MACHINE && s->now->local_code);
}

static struct code_owner *owner_of(struct spaces *s, unsigned mode)
{
	return has_own_code(s, mode) ? &s->now->code : &s->global;
}

static void forget_code(struct code_owner *owner)
{
	memset(owner->salts, 0, sizeof owner->salts);
	memset(owner->keys, 0, sizeof owner->keys);
	memset(owner->seen, 0, owner->seen_bits / 8);
	owner->halves[0] = owner->halves[1] = false;
}

static void take_salts(struct translator *t)
{
	struct spaces *s = &t->spaces;
	bool complete;

	/* Running out of salts takes back those already taken. */
	do {
		complete = true;
		for (unsigned mode = 0; mode < FRAME_MODES; mode++) {
			struct code_owner *owner = owner_of(s, mode);

			if (!owner->keys[mode])
				owner->keys[mode] = ++s->last_key;
			if (!owner->salts[mode]) {
				uint64_t fresh = new_salt(t);

				owner->salts[mode] = fresh;
				complete &= fresh >> 57 != 1;
			}
			t->frame->salt_of_mode[mode] = owner->salts[mode];
		}
	} while (!complete);
}

/* Puts the present space's own entries aside. */
static void put_aside(struct translator *t)
{
	struct spaces *s = &t->spaces;
	struct space *space = s->now;

	space->count = 0;
	space->fences = s->fences;
	for (unsigned i = 0; i < s->local_count; i++) {
		struct frame_tlb *entry = &t->frame->tlb[s->local[i]];

		if (space->count < SPACE_ENTRIES && entry->load + entry->store != 2 * FRAME_NO_PAGE)
			space->entries[space->count++] = (struct space_entry){.load = entry->load,
									      .store = entry->store,
									      .addend = entry->addend,
									      .slot = s->local[i]};
		forget_page(entry);
	}
	nothing_local(s);
}

static struct second_entry *second_of(struct spaces *s, uint64_t page)
{
	return &s->second[page / GUEST_PAGE_SIZE % SECOND];
}

/* The number of the present space. When they run out, all begins anew. */
static unsigned number_of(struct spaces *s)
{
	if (likely(s->now->number))
		return s->now->number;
	if (++s->last_number == SECOND_NUMBERS) {
		/* Reading takes no memory where nothing was written. */
		for (unsigned i = 0; i < SECOND; i++)
			if (s->second[i].tag)
				s->second[i].tag = 0;
		for (unsigned i = 0; i < SPACES; i++)
			s->all[i].number = 0;
		s->last_number = 1;
	}
	s->now->number = s->last_number;
	return s->now->number;
}

static uint64_t second_tag(struct spaces *s, uint64_t page, bool store)
{
	return page | number_of(s) << 2 | (uint64_t)store << 1 | 1;
}

/* Before a slot is filled: what it has for another page goes to that page's other slot. */
static void make_room(struct translator *t, unsigned slot, uint64_t page)
{
	struct frame_tlb *entry = &t->frame->tlb[slot];

	if (entry->load != page && entry->load != FRAME_NO_PAGE)
		t->frame->tlb[frame_slot_other(slot)] = *entry;
}

/* Fills an entry of the user's TLB from the second level; false: it is not there. */
static bool second_find(struct translator *t, uint64_t page, bool store)
{
	struct second_entry *second = second_of(&t->spaces, page);
	unsigned slot = frame_slot(FRAME_USER, page);
	bool may_store = second->tag >> 1 & 1;

	if (second->tag != second_tag(&t->spaces, page, may_store) || (store && !may_store))
		return false;
	make_room(t, slot, page);
	t->frame->tlb[slot] = (struct frame_tlb){
		.load = page, .store = may_store ? page : FRAME_NO_PAGE, .addend = second->addend};
	t->spaces.filled[FRAME_USER] = true;
	note_local(&t->spaces, slot);
	return true;
}

static bool was_fenced(const struct spaces *s, const struct space_entry *entry, uint64_t since)
{
	uint64_t page = entry->load != FRAME_NO_PAGE ? entry->load : entry->store;

	for (uint64_t i = since; i < s->fences; i++)
		if (s->fenced[i % FENCES_KNOWN] == page)
			return true;
	return false;
}

static void put_back(struct translator *t)
{
	struct spaces *s = &t->spaces;
	struct space *space = s->now;

	if (s->fences - space->fences > FENCES_KNOWN)
		return;
	for (unsigned i = 0; i < space->count; i++) {
		const struct space_entry *entry = &space->entries[i];
		if (was_fenced(s, entry, space->fences))
			continue;
		t->frame->tlb[entry->slot] = (struct frame_tlb){
			.load = entry->load, .store = entry->store, .addend = entry->addend};
		note_local(s, entry->slot);
	}
	if (space->count)
		memset(s->filled, true, sizeof s->filled);
}

static bool is_bare(uint64_t satp)
{
	return satp >> 60 == 0;
}

static void forget_space(struct space *space)
{
	forget_code(&space->code);
	space->count = 0;
	space->number = 0;
	/* What is global is so among spaces that have pages at all. */
	space->local_code = is_bare(space->satp);
}

static struct space *space_of(struct spaces *s, uint64_t satp)
{
	struct space *space;

	for (unsigned i = 0; i < SPACES; i++)
		if (s->all[i].satp == satp)
			return &s->all[i];
	do {
		space = &s->all[s->next++ % SPACES];
	} while (space == s->now);
	space->satp = satp;
	forget_space(space);
	return space;
}

void spaces_reset(struct translator *t)
{
	struct spaces *s = &t->spaces;

	if (!s->secret && getrandom(&s->secret, sizeof s->secret, GRND_NONBLOCK) < 0)
		s->secret = (uint64_t)(uintptr_t)t;
	memset(s->filled, true, sizeof s->filled);
	empty_all(t);
	superpages_forget(&s->superpages);
	for (unsigned i = 0; i < SPACES; i++) {
		s->all[i].satp = i ? UINT64_MAX : t->interpreter.hart->satp; /* no space has the former */
		s->all[i].code.seen = s->all[i].seen;
		s->all[i].code.seen_bits = SPACE_CODE_SEEN;
		forget_space(&s->all[i]);
	}
	s->now = &s->all[0];
	s->global.seen = s->seen;
	s->global.seen_bits = CODE_SEEN;
	forget_code(&s->global);
	empty_jumps(t);
}

static void change_space(struct translator *t, uint64_t satp)
{
	struct spaces *s = &t->spaces;
	uint64_t before = s->now->satp;

	put_aside(t);
	if (before >> 60 != satp >> 60)
		for (unsigned mode = 0; mode < FRAME_MACHINE; mode++)
			empty_mode(t, mode);
	s->now = space_of(s, satp);
	put_back(t);
	t->entered = false;
}

void spaces_enter(struct translator *t, enum frame_mode mode)
{
	struct spaces *s = &t->spaces;
	uint64_t satp = t->interpreter.hart->satp;

	if (unlikely(satp != s->now->satp)) {
		change_space(t, satp);
	}
	if (unlikely(!t->entered))
		take_salts(t);
	t->entered = true;
	t->frame->mode = mode;
	t->frame->salt = t->frame->salt_of_mode[mode];
}

static unsigned seen_bit(const struct code_owner *owner, uint64_t page)
{
	return (unsigned)mix(page) & (owner->seen_bits - 1);
}

static void see_code(struct code_owner *owner, uint64_t page)
{
	unsigned bit = seen_bit(owner, page);

	owner->seen[bit / 8] |= (uint8_t)(1u << (bit % 8));
	owner->halves[page >> 63] = true;
}

static bool code_was_seen(const struct code_owner *owner, uint64_t page)
{
	unsigned bit;

	if (!owner->halves[page >> 63])
		return false;
	bit = seen_bit(owner, page);
	return owner->seen[bit / 8] >> (bit % 8) & 1;
}

static void flush_page(struct translator *t, uint64_t address)
{
	uint64_t page = address & PAGE_MASK;
	struct spaces *s = &t->spaces;

	for (unsigned mode = 0; mode < FRAME_MODES; mode++) {
		unsigned slot = frame_slot(mode, page);

		forget_page(&t->frame->tlb[slot]);
		forget_page(&t->frame->tlb[frame_slot_other(slot)]);
	}
	second_of(s, page)->tag = 0;
	s->fenced[s->fences++ % FENCES_KNOWN] = page;
	for (unsigned i = 0; i <= SPACES; i++) {
		struct code_owner *owner = i < SPACES ? &s->all[i].code : &s->global;

		if (!code_was_seen(owner, page))
			continue;
		forget_code(owner);
		t->entered = false;
	}
}

/* What belongs to the address spaces of one number; what is global stays (Privileged 4.2.1). */
static void flush_asid(struct translator *t, uint16_t asid)
{
	struct spaces *s = &t->spaces;

	if (asid == (uint16_t)(s->now->satp >> 44))
		put_aside(t);
	for (unsigned i = 0; i < SPACES; i++)
		if (asid == (uint16_t)(s->all[i].satp >> 44))
			forget_space(&s->all[i]);
	t->entered = false;
}

void spaces_flush(struct translator *t, bool one_page, uint64_t address, bool one_asid, uint16_t asid)
{
	struct spaces *s = &t->spaces;

	if (one_page && !superpages_hold(&s->superpages, address)) {
		flush_page(t, address);
		return;
	}
	if (one_asid) {
		flush_asid(t, asid);
		return;
	}
	empty_all(t);
	for (unsigned i = 0; i < SPACES; i++)
		forget_space(&s->all[i]);
	superpages_forget(&s->superpages);
	forget_code(&s->global);
	t->entered = false;
}

void spaces_drop_writes(struct translator *t)
{
	for (unsigned i = 0; i < FRAME_TLB; i++)
		t->frame->tlb[i].store = FRAME_NO_PAGE;
	for (unsigned i = 0; i < SPACES; i++)
		t->spaces.all[i].count = t->spaces.all[i].number = 0;
}

/* RAM behind a page that may be kept, or NULL. */
static uint8_t *keepable(struct translator *t, const struct mmu_page *page, enum mmu_access access)
{
	return page->reusable & 1u << access ? memory_host(t->interpreter.memory, page->base, GUEST_PAGE_SIZE) : NULL;
}

static void fill(struct translator *t, struct frame_tlb *entry, uint64_t tag, const struct mmu_page *page, bool store,
		 uint8_t *host)
{
	/* The addend is for both: what the slot held for another page goes. */
	entry->load = tag;
	if (entry->store != tag)
		entry->store = FRAME_NO_PAGE;
	if (store) {
		memory_mark_dirty(t->interpreter.memory, page->base, GUEST_PAGE_SIZE);
		entry->store = tag;
	}
	entry->addend = (uint64_t)(uintptr_t)host - tag;
}

enum spaces_filled spaces_fill(struct translator *t, uint64_t address, unsigned size, bool store,
			       enum riscv_cause *cause)
{
	unsigned mode = t->frame->mode, slot = frame_slot(mode, address);
	uint64_t tag = address & PAGE_MASK;
	enum mmu_access access = store ? MMU_STORE : MMU_LOAD;
	struct hart *hart = t->interpreter.hart;
	struct mmu_page page;
	uint8_t *host;

	count_tlb_miss(&t->interpreter, t->frame->mode);
	if ((address ^ (address + size - 1)) & PAGE_MASK)
		return SPACES_OTHER;
	if (mode == FRAME_USER && second_find(t, tag, store))
		return SPACES_FILLED;
	*cause = mmu_translate(hart, gva(address), size, access, mmu_data_privilege(hart), &page);
	if (*cause != CAUSE_NONE)
		return SPACES_FAULT;
	host = keepable(t, &page, access);
	/* Where one may store one may load: a group that stores first relies on it. */
	if (!host || !(page.reusable & 1u << MMU_LOAD))
		return SPACES_OTHER;
	superpages_note(&t->spaces.superpages, address, page.span);
	/* Who loads often stores next. While changes are tracked only stores may mark a page. */
	if (page.reusable & 1u << MMU_STORE && !memory_tracking(t->interpreter.memory))
		store = true;
	make_room(t, slot, tag);
	fill(t, &t->frame->tlb[slot], tag, &page, store, host);
	if (mode == FRAME_USER)
		*second_of(&t->spaces, tag) = (struct second_entry){
			.tag = second_tag(&t->spaces, tag, t->frame->tlb[slot].store == tag),
			.addend = t->frame->tlb[slot].addend};
	t->spaces.filled[mode] = true;
	if (!page.global)
		note_local(&t->spaces, slot);
	return SPACES_FILLED;
}

/* A supervisor's page that is not global: from now on the space has supervisor's entries of its own. */
static void code_is_local(struct translator *t)
{
	t->spaces.now->local_code = true;
	t->entered = false;
	spaces_enter(t, (enum frame_mode)t->frame->mode);
}

const uint8_t *spaces_fetch(struct translator *t, uint64_t pc, uint64_t *physical)
{
	struct spaces *s = &t->spaces;
	struct fetched *fetched = &s->fetched[(pc >> GUEST_PAGE_SHIFT) % FETCH_PAGES];
	struct hart *hart = t->interpreter.hart;
	uint64_t tag = pc & PAGE_MASK;
	struct code_owner *owner;
	struct mmu_page page;
	uint8_t *host;

	*physical = fetched->physical;
	if (likely(fetched->page == tag && fetched->key == owner_of(s, t->frame->mode)->keys[t->frame->mode]))
		return fetched->host;
	count_tlb_miss(&t->interpreter, t->frame->mode);
	if (mmu_translate(hart, gva(pc), 2, MMU_FETCH, hart->priv, &page) != CAUSE_NONE)
		return NULL;
	host = keepable(t, &page, MMU_FETCH);
	if (!host)
		return NULL;
	superpages_note(&s->superpages, pc, page.span);
	if (!page.global && !has_own_code(s, t->frame->mode))
		code_is_local(t);
	*physical = page.base.value;
	owner = owner_of(s, t->frame->mode);
	*fetched = (struct fetched){
		.page = tag, .key = owner->keys[t->frame->mode], .host = host, .physical = page.base.value};
	see_code(owner, tag);
	return host;
}
