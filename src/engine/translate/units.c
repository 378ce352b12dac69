/*
 * Units: found by physical address, made on demand, verified after fence.i.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/translate/optimize.h"
#include "engine/translate/riscv.h"
#include "engine/translate/translator.h"

#define CODE_BYTES   (64 * MIB)
#define ARENA_BYTES  (32 * MIB)
#define UNIT_ROOM    (32 * 1024) /* host code of the longest unit, generously */
#define INSTRUCTIONS 64          /* in one unit at most */
#define JUMP_REL32   0xe9

static int make_runtime(struct translator *t, struct error *e)
{
	const uint8_t *run;
	uint8_t *write;
	struct x64 a;

	if (!code_cache_begin(t->cache, UNIT_ROOM, &write, &run))
		return error_set(e, ERROR_FAILED, -ENOSPC, "the code cache is too small");
	a = x64_begin(write, UNIT_ROOM, run);
	emit_runtime(&a, &t->runtime, &translator_callbacks);
	code_cache_end(t->cache, (size_t)(a.at - write));
	t->runtime_bytes = code_cache_use(t->cache).used;
	return a.overflow ? error_set(e, ERROR_FAILED, -ENOSPC, "the code cache is too small") : 0;
}

int units_init(struct translator *t, struct error *e)
{
	t->cache = code_cache_new(CODE_BYTES, e);
	if (!t->cache)
		return -ENOMEM;
	t->arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (t->arena == MAP_FAILED) {
		t->arena = NULL;
		return error_errno(e, -ENOMEM, "room for translated units");
	}
	return make_runtime(t, e);
}

void units_finish(struct translator *t)
{
	if (t->arena)
		munmap(t->arena, ARENA_BYTES);
	free(t->links);
	code_cache_free(t->cache);
}

void units_drop_all(struct translator *t)
{
	memset(t->units, 0, sizeof t->units);
	memset(t->pages, 0, sizeof t->pages);
	t->arena_used = 0;
	t->link_count = 0;
	t->emptied++;
	code_cache_reset(t->cache, t->runtime_bytes);
	memset(t->frame->jumps, 0xff, sizeof t->frame->jumps);
}

static void *take(struct translator *t, size_t size)
{
	void *p = t->arena + t->arena_used;

	size = (size + 15) & ~(size_t)15;
	if (t->arena_used + size > ARENA_BYTES)
		return NULL;
	t->arena_used += size;
	return p;
}

static unsigned unit_bucket(uint64_t physical, enum frame_mode mode)
{
	return (unsigned)((physical >> 1 ^ physical >> 13) + mode * 7919u) % UNIT_BUCKETS;
}

static unsigned page_bucket(uint64_t physical, enum frame_mode mode)
{
	return (unsigned)((physical >> GUEST_PAGE_SHIFT) + mode * 2047u) % PAGE_BUCKETS;
}

/* Nothing finds the unit any more, and whoever jumps to it leaves to look up its pc again. */
static void invalidate(struct translator *t, struct unit *unit)
{
	struct unit **link = &t->units[unit_bucket(unit->physical, (enum frame_mode)unit->mode)];
	int32_t distance = (int32_t)(unit->invalid - (unit->entry + 5));

	while (*link != unit)
		link = &(*link)->chain;
	*link = unit->chain;
	unit->entry[0] = JUMP_REL32;
	memcpy(unit->entry + 1, &distance, sizeof distance);
}

static void verify(struct translator *t, struct code_page *page)
{
	struct unit **link = &page->units;

	while (*link) {
		struct unit *unit = *link;

		if (memcmp(unit->copy, page->host + (unit->physical & ~PAGE_MASK), unit->bytes) == 0) {
			link = &unit->next;
			continue;
		}
		*link = unit->next;
		invalidate(t, unit);
	}
	page->generation = t->interpreter.generation;
}

static struct code_page *page_of(struct translator *t, const uint8_t *host, uint64_t physical, enum frame_mode mode)
{
	struct code_page **bucket = &t->pages[page_bucket(physical, mode)], *page;

	for (page = *bucket; page; page = page->chain) {
		if (page->physical != physical || page->mode != mode)
			continue;
		if (unlikely(page->generation != t->interpreter.generation))
			verify(t, page);
		return page;
	}
	page = take(t, sizeof *page);
	if (!page)
		return NULL;
	*page = (struct code_page){.physical = physical,
				   .chain = *bucket,
				   .host = host,
				   .generation = t->interpreter.generation,
				   .mode = (uint8_t)mode};
	*bucket = page;
	return page;
}

static bool add_links(struct translator *t, const struct emit_result *result)
{
	if (t->link_count + result->link_count > t->link_room) {
		uint32_t room = t->link_room * 2 + EMIT_LINKS_MAX;
		struct emit_link *grown = realloc(t->links, room * sizeof *grown);

		if (!grown)
			return false;
		t->links = grown;
		t->link_room = room;
	}
	for (unsigned i = 0; i < result->link_count; i++)
		t->links[t->link_count++] = result->links[i];
	return true;
}

/* Emits t->ir; NULL when there is no room left. */
static struct unit *emit(struct translator *t, const uint8_t *bytes, enum frame_mode mode)
{
	struct unit *unit;
	const uint8_t *run;
	uint8_t *write;
	struct x64 a;

	if (!code_cache_begin(t->cache, UNIT_ROOM, &write, &run))
		return NULL;
	unit = take(t, sizeof *unit + t->ir.bytes);
	if (!unit)
		return NULL;
	a = x64_begin(write, UNIT_ROOM, run);
	emit_unit(&a, &t->ir, mode, &t->runtime, t->link_count, &t->result);
	if (a.overflow || !add_links(t, &t->result))
		return NULL;
	code_cache_end(t->cache, (size_t)(a.at - write));
	unit->code = run;
	unit->entry = write;
	unit->invalid = write + ((const uint8_t *)t->result.invalid - run);
	unit->bytes = t->ir.bytes;
	unit->mode = (uint8_t)mode;
	memcpy(unit->copy, bytes, unit->bytes);
	t->interpreter.statistics.blocks_built++;
	return unit;
}

/* A unit for the code at `at` of the page; the code is copied first, so that what is compared later is what was
 * translated. NULL with *full when there was no room. */
static struct unit *build(struct translator *t, struct code_page *page, unsigned at, bool plain, bool *full)
{
	uint8_t bytes[GUEST_PAGE_SIZE];
	unsigned length = (unsigned)GUEST_PAGE_SIZE - at;
	struct unit *unit, **bucket;

	if (length > INSTRUCTIONS * 4)
		length = INSTRUCTIONS * 4;
	memcpy(bytes + at, page->host + at, length);
	*full = false;
	if (!riscv_to_ir(&t->ir, bytes, at, INSTRUCTIONS))
		return NULL;
	if (!plain)
		optimize(&t->ir);
	unit = emit(t, bytes + at, (enum frame_mode)page->mode);
	if (!unit) {
		*full = true;
		return NULL;
	}
	unit->physical = page->physical | at;
	unit->plain = plain;
	unit->next = page->units;
	page->units = unit;
	bucket = &t->units[unit_bucket(unit->physical, (enum frame_mode)page->mode)];
	unit->chain = *bucket;
	*bucket = unit;
	return unit;
}

static struct unit *unit_at(struct translator *t, const uint8_t *host, uint64_t physical, enum frame_mode mode,
			    bool plain, bool *full)
{
	/* The page first: it may have to be verified, and units to go. */
	struct code_page *page = page_of(t, host, physical & PAGE_MASK, mode);

	*full = !page;
	if (!page)
		return NULL;
	for (struct unit *unit = t->units[unit_bucket(physical, mode)]; unit; unit = unit->chain)
		if (unit->physical == physical && unit->mode == mode && unit->plain == plain)
			return unit;
	return build(t, page, (unsigned)(physical & ~PAGE_MASK), plain, full);
}

static const uint8_t *find(struct translator *t, uint64_t pc, enum frame_mode mode, bool plain)
{
	const uint8_t *host;
	uint64_t physical;
	struct unit *unit;
	bool full;

	host = spaces_fetch(t, pc, &physical);
	if (!host)
		return NULL;
	physical |= pc & ~PAGE_MASK;
	unit = unit_at(t, host, physical, mode, plain, &full);
	if (full) {
		units_drop_all(t);
		unit = unit_at(t, host, physical, mode, plain, &full);
	}
	return unit ? unit->code : NULL;
}

const uint8_t *find_unit(struct translator *t, uint64_t pc, enum frame_mode mode)
{
	struct frame_jump *jump = frame_jump_of(t->frame, pc);
	const uint8_t *code;

	if (jump->tag == (pc ^ t->frame->salt))
		return (const uint8_t *)(uintptr_t)jump->code;
	code = find(t, pc, mode, false);
	/* The salt may be another since. */
	if (code)
		*frame_jump_of(t->frame, pc) =
			(struct frame_jump){.tag = pc ^ t->frame->salt, .code = (uint64_t)(uintptr_t)code};
	return code;
}

const uint8_t *find_plain_unit(struct translator *t, uint64_t pc, enum frame_mode mode)
{
	return find(t, pc, mode, true);
}
