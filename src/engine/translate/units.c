/*
 * Units: found by where their guest code lies, made on demand, verified after fence.i.
 */
#include <string.h>

#include "engine/translate/optimize.h"
#include "engine/translate/riscv.h"
#include "engine/translate/translator.h"

#define INSTRUCTIONS 64 /* in one unit at most */
#define FENCES_KEPT  32 /* that the jump table outlives */
#define ENTRY_JUMP   5  /* bytes of the jump that a stale unit's entry becomes */
#define JUMP_REL32   0xe9

/* What units are known by. */
struct key {
	const uint8_t *source;
	unsigned kind;
	uint16_t rest; /* as in struct unit */
};

/* The bytes at `source` stand for their physical address: each page of guest memory has one place in the host's. What
 * lies together in a page has buckets that lie together, so that what is looked up in turn is mostly in the host's cache. */
static _Atomic(struct unit *) *bucket_of(struct depot *s, const uint8_t *source, unsigned kind)
{
	uint64_t at = (uintptr_t)source, page = at / GUEST_PAGE_SIZE * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	uint64_t in_page = at % GUEST_PAGE_SIZE / (GUEST_PAGE_SIZE / PAGE_BUCKETS);

	return &s->buckets[(page * PAGE_BUCKETS + in_page + kind * 7919u) % DEPOT_BUCKETS];
}

static struct unit *look_up(struct depot *s, const struct key *key)
{
	struct unit *unit = atomic_load_explicit(bucket_of(s, key->source, key->kind), memory_order_acquire);

	while (unit && (unit->source != key->source || unit->kind != key->kind || unit->rest != key->rest))
		unit = atomic_load_explicit(&unit->chain, memory_order_acquire);
	return unit;
}

static void leave_page(struct depot *s, struct unit *unit)
{
	struct code_page *page = unit->page;

	*unit->back = unit->next;
	if (unit->next)
		unit->next->back = unit->back;
	/* First: whoever reads the page's time through the unit after that finds it stale. */
	unit->stale = true;
	s->unit_count--;
	if (!page->units)
		page_put(&s->pages, page);
}

static void leave_bucket(struct depot *s, struct unit *unit)
{
	_Atomic(struct unit *) *place = bucket_of(s, unit->source, unit->kind);

	while (*place && *place != unit)
		place = &(*place)->chain;
	if (*place)
		atomic_store_explicit(place, unit->chain, memory_order_release);
}

void unit_remove(struct depot *s, struct unit *unit)
{
	if (!unit->stale)
		leave_page(s, unit);
	leave_bucket(s, unit);
}

/* Whoever enters the unit leaves to look up its pc again. The bytes behind the jump are the first instruction's, which
 * is longer; one aligned store changes it as a whole. */
static void make_stale(struct depot *s, struct unit *unit)
{
	uint8_t *entry = code_cache_write(s->cache, depot_code(s, unit));
	int32_t distance = (int32_t)unit->invalid - ENTRY_JUMP;
	uint8_t bytes[8];
	uint64_t whole;

	_Static_assert(EMIT_ENTRY_BYTES >= ENTRY_JUMP, "no instruction is cut");
	memcpy(bytes, entry, sizeof bytes);
	bytes[0] = JUMP_REL32;
	memcpy(bytes + 1, &distance, sizeof distance);
	memcpy(&whole, bytes, sizeof whole);
	__atomic_store_n((uint64_t *)(void *)entry, whole, __ATOMIC_RELEASE);
	leave_page(s, unit);
}

/* The lines that it was made from. */
static uint64_t lines_of(const struct unit *unit)
{
	unsigned at = (unsigned)((uintptr_t)unit->source & ~PAGE_MASK);

	return page_lines(at, unit->bytes) | (unit->tail_bytes ? page_lines(unit->tail, unit->tail_bytes) : 0);
}

static bool still_holds(const struct unit *unit, const uint8_t *bytes, uint64_t changed)
{
	unsigned at = (unsigned)((uintptr_t)unit->source & ~PAGE_MASK);

	return page_holds(unit->page, bytes, at, unit->bytes, changed) &&
	       page_holds(unit->page, bytes, unit->tail, unit->tail_bytes, changed);
}

/* The bytes of these lines, which have changed, are as in the copy now: units that were made of others are stale. */
static void absorb(struct depot *s, struct code_page *page, struct page_copy *copy, uint64_t changed)
{
	const uint8_t *bytes = copy->bytes;
	struct unit *next;
	uint64_t used = 0;

	for (uint64_t left = changed; left; left &= left - 1)
		page_look(copy, (unsigned)__builtin_ctzll(left) * PAGE_LINE_BYTES);
	for (struct unit *unit = changed ? page->units : NULL; unit; unit = next) {
		uint64_t lines = lines_of(unit);

		next = unit->next;
		if ((lines & changed) && !still_holds(unit, bytes, changed))
			make_stale(s, unit);
		else
			used |= lines;
	}
	/* The lines are there already: nothing is allocated. */
	if (used)
		(void)!page_keep(&s->pages, page, bytes, changed & used, used);
}

/* What is compared from now on is at least as new as the clock that is read first. */
static void verify(struct depot *s, struct code_page *page)
{
	uint64_t now = atomic_load(&s->clock), changed = page_changed(page, page->source, UINT64_MAX);
	struct page_copy copy;

	if (unlikely(changed)) {
		page_copy_begin(&copy, page->source);
		absorb(s, page, &copy, changed);
	}
	atomic_store_explicit(&page->verified, now, memory_order_release);
}

static uint8_t link_kind(const struct emit_link *from, unsigned kind)
{
	static const uint8_t kinds[] = {
		[EMIT_PLAIN] = UNIT_PLAIN, [EMIT_APART] = UNIT_APART, [EMIT_NO_TABLES] = UNIT_NO_TABLES};

	if (from->to_kind == EMIT_SAME)
		return kind & (UNIT_APART | UNIT_NO_TABLES);
	return kinds[from->to_kind];
}

static struct unit *write_record(struct depot *s, const struct emit_result *result, unsigned kind, struct link *links)
{
	struct unit *unit = (struct unit *)(links + result->link_count);

	for (unsigned i = 0; i < result->link_count; i++) {
		const struct emit_link *from = &result->links[i];

		links[i] = (struct link){.place = from->place,
					 .stub = (int32_t)(x64_patched(from->place) - from->place),
					 .to = (uint16_t)from->to,
					 .kind = link_kind(from, kind)};
	}
	memset(unit, 0, sizeof *unit);
	unit->links = (uint16_t)result->link_count;
	depot_take(s, unit);
	return unit;
}

/* Emits t->ir; NULL when there is no room left in this segment. */
static struct unit *emit(struct translator *t, unsigned kind)
{
	struct depot *s = t->depot;
	size_t room = code_cache_room(s->cache);
	const uint8_t *run;
	struct unit *unit;
	uint8_t *write;
	void *record;
	struct x64 a;

	record = depot_room(s, sizeof *unit + EMIT_LINKS_MAX * sizeof(struct link));
	if (!record || !code_cache_begin(s->cache, room, &write, &run))
		return NULL;
	/* No longer than struct unit can tell. */
	a = x64_begin(write, room < UINT16_MAX ? room : UINT16_MAX, run);
	emit_unit(&a, &t->ir, (enum frame_mode)(kind & ~UNIT_FLAGS), &s->runtime, link_number(s, record), &t->result);
	if (a.overflow)
		return NULL;
	code_cache_end(s->cache, (size_t)(a.at - write));
	unit = write_record(s, &t->result, kind, record);
	unit->bytes = kind & UNIT_STRADDLES ? 2 : t->ir.bytes; /* those in its page */
	unit->tail = t->ir.tail;
	unit->tail_bytes = t->ir.tail_bytes;
	unit->code = (uint32_t)code_cache_offset(s->cache, run);
	unit->invalid = (uint16_t)((const uint8_t *)t->result.invalid - run);
	unit->kind = (uint8_t)kind;
	counter_add(&t->interpreter.statistics.blocks_built, 1);
	return unit;
}

/* The new unit is found, and takes over what led to the stale one that it replaces. */
static void publish(struct depot *s, struct unit *unit, struct unit *stale)
{
	_Atomic(struct unit *) *bucket = bucket_of(s, unit->source, unit->kind);
	struct code_page *page = unit->page;

	unit->next = page->units;
	unit->back = &page->units;
	if (unit->next)
		unit->next->back = &unit->next;
	page->units = unit;
	s->unit_count++;
	if (stale) {
		links_move(s, stale, unit);
		leave_bucket(s, stale);
	}
	atomic_store_explicit(&unit->chain, *bucket, memory_order_relaxed);
	atomic_store_explicit(bucket, unit, memory_order_release);
}

/* Whether what is kept of the page is what it was at `now`, for all that is known, and in the lines that were looked at. */
static bool is_new(const struct code_page *page, const struct page_copy *copy, uint64_t now)
{
	return !page->lines || (page->verified == now && !page_changed(page, copy->bytes, copy->lines));
}

/* Makes the bytes of these lines, which a unit is made of, those of the page, which was copied after `now`; NULL without
 * memory. */
static struct code_page *page_with(struct depot *s, struct page_copy *copy, uint64_t lines, uint64_t now)
{
	struct code_page *page = page_get(&s->pages, copy->source);

	if (!page)
		return NULL;
	if (!is_new(page, copy, now)) {
		absorb(s, page, copy, page_changed(page, copy->bytes, copy->lines) |
						page_changed(page, copy->source, ~copy->lines));
		/* It may have gone with its last unit. */
		page = page_get(&s->pages, copy->source);
		if (!page)
			return NULL;
	}
	if (!page_keep(&s->pages, page, copy->bytes, lines & ~page->lines, UINT64_MAX)) {
		if (!page->units)
			page_put(&s->pages, page);
		return NULL;
	}
	/* All its units are made of what was read after that. */
	atomic_store_explicit(&page->verified, now, memory_order_release);
	return page;
}

static enum optimize_tables tables_of(unsigned kind)
{
	if (kind & UNIT_NO_TABLES)
		return OPTIMIZE_NO_TABLES;
	return kind & UNIT_APART ? OPTIMIZE_TABLES_APART : OPTIMIZE_TABLES;
}

/* The operations for the code of `key`, in `page`; false: there are none. */
static bool translate(struct translator *t, const struct key *key, struct page_copy *page)
{
	unsigned at = (unsigned)((uintptr_t)key->source & ~PAGE_MASK);

	if (key->kind & UNIT_STRADDLES) {
		riscv_straddling_to_ir(&t->ir, (uint32_t)key->rest << 16 | page_half(page, at));
	} else if (!riscv_to_ir(&t->ir, page, at, INSTRUCTIONS)) {
		return false;
	}
	if (!(key->kind & UNIT_PLAIN))
		optimize(&t->ir, tables_of(key->kind));
	return true;
}

/* A unit for the code of `key`; NULL when there is no room now, or nothing to translate. Lines are copied as they are read,
 * so that what is compared later is what was translated. */
static struct unit *build(struct translator *t, const struct key *key)
{
	uint64_t now = atomic_load(&t->depot->clock);
	struct depot *s = t->depot;
	struct page_copy page;
	struct unit *unit;

	page_copy_begin(&page, (const uint8_t *)((uintptr_t)key->source & PAGE_MASK));
	if (!translate(t, key, &page))
		return NULL;
	unit = emit(t, key->kind);
	if (!unit && depot_advance(s))
		unit = emit(t, key->kind);
	if (!unit) {
		t->wanting = true;
		return NULL;
	}
	unit->source = key->source;
	unit->rest = key->rest;
	/* To advance has cut off units, perhaps pages: they are looked up only now. */
	unit->page = page_with(s, &page, lines_of(unit), now);
	if (!unit->page) {
		unit->stale = true;
		return NULL;
	}
	publish(s, unit, look_up(s, key));
	return unit;
}

/* The unit, if it is known and as new as the hart's last fence. */
static struct unit *known(const struct translator *t, const struct key *key)
{
	struct unit *unit = look_up(t->depot, key);

	if (!unit || atomic_load_explicit(&unit->page->verified, memory_order_acquire) < t->fenced || unit->stale)
		return NULL;
	return unit;
}

static struct unit *unit_at(struct translator *t, const struct key *key)
{
	struct unit *unit = known(t, key);

	if (likely(unit))
		return unit;
	pthread_mutex_lock(&t->depot->lock);
	unit = look_up(t->depot, key);
	if (unit && !unit->stale && unit->page->verified < t->fenced)
		verify(t->depot, unit->page);
	if (!unit || unit->stale) {
		t->wanting = !depot_afford(t);
		unit = t->wanting ? NULL : build(t, key);
	}
	pthread_mutex_unlock(&t->depot->lock);
	return unit;
}

static void forget_tag(struct frame *frame, uint64_t tag)
{
	struct frame_jump *places[] = {frame_jump_at(frame, tag), frame_jump_other(frame, tag)};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i]->tag == tag)
			places[i]->tag = NO_JUMP;
}

static void forget_jump(struct frame *frame, uint64_t pc)
{
	forget_tag(frame, pc ^ frame->salt);
}

/* The key of an instruction that begins at `pc` in the last half word of a page, and ends in the next. */
static bool find_rest(struct translator *t, uint64_t pc, struct key *key)
{
	uint64_t physical;
	const uint8_t *next = spaces_fetch(t, pc + 2, &physical), *page;

	if (!next)
		return false;
	memcpy(&key->rest, next, sizeof key->rest);
	key->kind |= UNIT_STRADDLES;
	/* Once more: whose pages these are may only now be known, and both are to be seen under that owner. */
	page = spaces_fetch(t, pc, &physical);
	return page && page + (pc & ~PAGE_MASK) == key->source;
}

/* Whether the entry may be found in the present space and mode. */
static bool may_be_found(const struct frame *frame, const struct frame_jump *jump)
{
	uint64_t pc = jump->tag ^ frame->salt;

	return jump->tag != NO_JUMP && pc >> 57 == (pc >> 56 & 1 ? 127 : 0);
}

static void enter_jump(struct frame *frame, uint64_t pc, const uint8_t *code)
{
	struct frame_jump *jump = frame_jump_of(frame, pc);

	forget_jump(frame, pc);
	if (may_be_found(frame, jump))
		*frame_jump_other(frame, jump->tag) = *jump;
	*jump = (struct frame_jump){.tag = pc ^ frame->salt, .code = (uint64_t)(uintptr_t)code};
}

/* The jump table has an entry for the unit. */
static void note(struct translator *t, uint64_t tag, struct unit *unit)
{
	unsigned i = t->pages_entered_count;

	if ((unit->kind & UNIT_STRADDLES) && t->straddling_count <= STRADDLING) {
		if (t->straddling_count < STRADDLING)
			t->straddling[t->straddling_count] = tag;
		t->straddling_count++;
	}
	if (i > PAGES_ENTERED)
		return;
	while (i-- > 0)
		if (t->pages_entered[i] == unit->page)
			return;
	if (t->pages_entered_count < PAGES_ENTERED)
		t->pages_entered[t->pages_entered_count] = unit->page;
	t->pages_entered_count++;
}

static struct unit *unit_for(struct translator *t, uint64_t pc, unsigned kind)
{
	uint64_t physical;
	const uint8_t *page = spaces_fetch(t, pc, &physical);
	struct key key = {.kind = kind};
	struct unit *unit;

	if (!page)
		return NULL;
	key.source = page + (pc & ~PAGE_MASK);
	if ((pc & ~PAGE_MASK) == GUEST_PAGE_SIZE - 2 && riscv_straddles(page) && !find_rest(t, pc, &key))
		return NULL;
	unit = unit_at(t, &key);
	/* The salt may be another since it was looked at. */
	if (unit && !(kind & UNIT_LINKED)) {
		enter_jump(t->frame, pc, depot_code(t->depot, unit));
		note(t, pc ^ t->frame->salt, unit);
	}
	return unit;
}

/* After a fence.i the jump table stays, as long as what it leads to can be compared: code between two fences is mostly that
 * between the two before, in a kernel that patches itself in a thousand places, and what has changed becomes stale. What
 * lies in two pages is looked up again. Now and then all is forgotten, for what is not in use any more. */
static void obey_fence(struct translator *t)
{
	t->again = false;
	if (t->pages_entered_count > PAGES_ENTERED || t->straddling_count > STRADDLING || ++t->fences == FENCES_KEPT) {
		spaces_forget_jumps(t);
		spaces_enter(t, (enum frame_mode)t->frame->mode);
		return;
	}
	pthread_mutex_lock(&t->depot->lock);
	for (unsigned i = 0; i < t->pages_entered_count; i++)
		if (t->pages_entered[i]->verified < t->fenced)
			verify(t->depot, t->pages_entered[i]);
	pthread_mutex_unlock(&t->depot->lock);
	for (unsigned i = 0; i < t->straddling_count; i++)
		forget_tag(t->frame, t->straddling[i]);
	t->straddling_count = 0;
}

const uint8_t *units_find(struct translator *t, uint64_t pc, enum frame_mode mode)
{
	const struct frame_jump *jump;
	struct unit *unit;

	if (unlikely(t->again))
		obey_fence(t);
	jump = frame_jump_of(t->frame, pc);
	if (jump->tag != (pc ^ t->frame->salt))
		jump = frame_jump_other(t->frame, pc ^ t->frame->salt);
	if (jump->tag == (pc ^ t->frame->salt))
		return (const uint8_t *)(uintptr_t)jump->code;
	count_cause(&t->interpreter, ENGINE_CAUSE_LOOKUP);
	unit = unit_for(t, pc, mode);
	return unit ? depot_code(t->depot, unit) : NULL;
}

void units_forget(struct translator *t, uint64_t pc)
{
	forget_jump(t->frame, pc);
}

/* Read under the lock: the unit may be another hart's work that generated code led to. */
static struct link read_link(struct depot *s, const struct link *link)
{
	struct link copy;

	pthread_mutex_lock(&s->lock);
	copy = *link;
	pthread_mutex_unlock(&s->lock);
	return copy;
}

bool units_connect(struct translator *t, uint32_t number)
{
	struct link *link = link_by_number(t->depot, number), here = read_link(t->depot, link);
	struct hart *hart = t->interpreter.hart;
	struct unit *unit;

	hart->pc = t->frame->page + here.to;
	unit = unit_for(t, hart->pc, t->frame->mode | here.kind);
	if (!unit)
		return false;
	if (unit->kind & UNIT_STRADDLES)
		return !here.kind;
	pthread_mutex_lock(&t->depot->lock);
	link_connect(t->depot, link, unit);
	pthread_mutex_unlock(&t->depot->lock);
	return true;
}
