#include "engine/translate/depot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/translate/translator.h"

#define SEGMENT_LEAST (64 * KIB)
#define SEGMENTS_LEAST 4
#define RUNTIME_ROOM  (32 * KIB)
/* A unit costs as many instructions: interpreted, they take about as long as it takes to make one. */
#define UNIT_PRICE 2000
#define UNIT_SIZE  512 /* about, in the cache */
#define REST_LEAST MIB /* of code: less is not worth making it again */
#define RECORD_ALIGNMENT sizeof(struct link) /* records begin with links, which are numbered */

_Static_assert(sizeof(struct link) == 32, "links in generated code are numbered from the start of the records");
_Static_assert(CODE_CACHE_MIN >= SEGMENTS_LEAST * SEGMENT_LEAST + RUNTIME_ROOM, "a ring needs room to turn");

static size_t segment_start(const struct depot *s, unsigned segment)
{
	return s->segment_at + segment * s->segment_size;
}

static unsigned segment_of(const struct depot *s, size_t offset)
{
	return (unsigned)((offset - s->segment_at) / s->segment_size);
}

bool depot_is_live(const struct depot *s, const void *record)
{
	return s->segments[segment_of(s, (size_t)((const uint8_t *)record - s->records))].live;
}

static void enter_segment(struct depot *s, unsigned segment)
{
	size_t start = segment_start(s, segment);

	s->current = segment;
	s->segments[segment].live = true;
	s->segments[segment].last = 0;
	s->record_end = start;
	code_cache_move(s->cache, start, start + s->segment_size);
}

/* The code that units share, at the start; the ring begins behind it. */
static int lay_out(struct depot *s, struct error *e)
{
	uint64_t size = code_cache_use(s->cache).size;
	const uint8_t *run;
	uint8_t *write;
	struct x64 a;

	if (!code_cache_begin(s->cache, RUNTIME_ROOM, &write, &run))
		return error_set(e, ERROR_FAILED, -ENOSPC, "the code cache is too small");
	a = x64_begin(write, RUNTIME_ROOM, run);
	emit_runtime(&a, &s->runtime, &translator_callbacks);
	if (a.overflow)
		return error_set(e, ERROR_FAILED, -ENOSPC, "the code cache is too small");
	code_cache_end(s->cache, (size_t)(a.at - write));
	/* A page's start, so that segments of records and code lie alike. */
	s->segment_at = (code_cache_use(s->cache).used + GUEST_PAGE_SIZE - 1) & PAGE_MASK;
	s->segment_count = (unsigned)((size - s->segment_at) / SEGMENT_LEAST);
	if (s->segment_count > DEPOT_SEGMENTS)
		s->segment_count = DEPOT_SEGMENTS;
	s->segment_size = (size - s->segment_at) / s->segment_count & PAGE_MASK;
	s->allowance = (int64_t)(size / UNIT_SIZE / 4) * UNIT_PRICE;
	enter_segment(s, 0);
	return 0;
}

static void depot_free(struct depot *s)
{
	if (!s)
		return;
	if (s->records)
		munmap(s->records, code_cache_use(s->cache).size);
	code_cache_free(s->cache);
	pages_finish(&s->pages);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int depot_new(struct depot **out, uint64_t bytes, struct error *e)
{
	struct depot *s = calloc(1, sizeof *s);
	int code;

	if (!s) {
		error_errno(e, -ENOMEM, "translated code");
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->epoch = s->clock = 1;
	s->cache = code_cache_new(bytes, e);
	code = s->cache ? 0 : -ENOMEM;
	if (code == 0) {
		s->records = mmap(NULL, code_cache_use(s->cache).size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (s->records == MAP_FAILED) {
			s->records = NULL;
			code = error_errno(e, -ENOMEM, "room for translated units");
		}
	}
	if (code == 0)
		code = lay_out(s, e);
	if (code < 0)
		depot_free(s);
	else
		*out = s;
	return code;
}

int depot_join(struct translator *t, struct error *e)
{
	struct hart *hart = t->interpreter.hart;
	struct hart_cluster *cluster = hart->cluster;
	struct depot *s = cluster->engine_shared;
	int code = s ? 0 : depot_new(&s, cluster->code_cache ? cluster->code_cache : DEPOT_BYTES, e);

	if (code < 0)
		return code;
	cluster->engine_shared = t->depot = s;
	t->epoch = s->epoch;
	t->begun = s->begun;
	t->allowance = s->allowance;
	s->harts[hart->cpu.id] = t;
	s->users++;
	s->runtime.alone = cluster->count == 1;
	return 0;
}

void depot_leave(struct translator *t)
{
	struct hart *hart = t->interpreter.hart;
	struct depot *s = t->depot;

	if (!s)
		return;
	s->harts[hart->cpu.id] = NULL;
	if (--s->users)
		return;
	hart->cluster->engine_shared = NULL;
	depot_free(s);
}

bool depot_afford(struct translator *t)
{
	if (likely(!atomic_load_explicit(&t->depot->recycled, memory_order_relaxed)))
		return true;
	if (t->allowance < UNIT_PRICE)
		return false;
	t->allowance -= UNIT_PRICE;
	return true;
}

void depot_earn(struct translator *t, int64_t instructions)
{
	int64_t sum = t->allowance + instructions, most = t->depot->allowance;

	t->allowance = sum < most ? sum : most;
}

void depot_catch_up(struct depot *s, struct translator *t)
{
	uint64_t now = atomic_load(&s->epoch), before = t->epoch;

	for (unsigned i = 0; i < FRAME_JUMPS; i++) {
		struct frame_jump *jump = &t->frame->jumps[i];
		const void *code = (const void *)(uintptr_t)jump->code;

		if (jump->tag == NO_JUMP)
			continue;
		if (s->segments[segment_of(s, code_cache_offset(s->cache, code))].retired > before)
			jump->tag = NO_JUMP;
	}
	/* No entry is left that led to the pages that went. */
	if (t->begun != s->begun)
		t->pages_entered_count = 0;
	t->begun = s->begun;
	atomic_store_explicit(&t->epoch, now, memory_order_release);
}

/* Whether every hart has come by since `epoch`, or has yet to enter. A hart that enters sets in_guest and then looks at
 * the epoch; here it is the other way round, so that one of both sees the other. */
static bool all_passed(const struct depot *s, uint64_t epoch)
{
	for (unsigned i = 0; i < RISCV_HARTS_MAX; i++) {
		const struct translator *t = s->harts[i];

		if (t && atomic_load(&t->interpreter.hart->in_guest) &&
		    atomic_load_explicit(&t->epoch, memory_order_acquire) < epoch)
			return false;
	}
	return true;
}

static void cut_off(struct depot *s, unsigned segment)
{
	struct unit *unit;

	for (uint32_t at = s->segments[segment].last; at; at = unit->earlier) {
		unit = (struct unit *)(void *)(s->records + at);
		unit_remove(s, unit);
		links_cut(unit);
	}
	s->segments[segment].live = false;
	s->segments[segment].retired = s->epoch + 1;
	atomic_fetch_add(&s->epoch, 1);
}

static void retire(struct depot *s, unsigned segment)
{
	if (!s->segments[segment].live)
		return;
	cut_off(s, segment);
	s->recycled++;
}

static size_t used_bytes(const struct depot *s)
{
	return s->recycled ? (s->segment_count - 1) * s->segment_size : code_cache_use(s->cache).used;
}

/* Nothing lives, and no hart has a pointer to anything: all segments are as new. */
static void begin_anew(struct depot *s)
{
	size_t size = code_cache_use(s->cache).size;

	code_cache_release(s->cache, s->segment_at);
	(void)madvise(s->records + s->segment_at, size - s->segment_at, MADV_DONTNEED);
	pages_reset(&s->pages);
	s->begun++;
	s->recycled = 0;
	enter_segment(s, 0);
}

static void close_segment(struct depot *s)
{
	size_t end = segment_start(s, s->current) + s->segment_size;

	code_cache_move(s->cache, end, end);
}

void depot_rest(struct depot *s)
{
	pthread_mutex_lock(&s->lock);
	if (used_bytes(s) >= REST_LEAST && all_passed(s, UINT64_MAX)) {
		for (unsigned i = 0; i < s->segment_count; i++)
			if (s->segments[i].live)
				cut_off(s, i);
		/* A hart that began to run meanwhile may still have old pointers. */
		if (all_passed(s, s->epoch))
			begin_anew(s);
		else
			close_segment(s);
	}
	pthread_mutex_unlock(&s->lock);
}

bool depot_advance(struct depot *s)
{
	unsigned next = (s->current + 1) % s->segment_count;

	if (!all_passed(s, s->segments[next].retired))
		return false;
	enter_segment(s, next);
	retire(s, (next + 1) % s->segment_count);
	return true;
}

void *depot_room(const struct depot *s, size_t size)
{
	size_t end = segment_start(s, s->current) + s->segment_size;

	return size <= end - s->record_end ? s->records + s->record_end : NULL;
}

void depot_take(struct depot *s, struct unit *unit)
{
	size_t end = (size_t)((const uint8_t *)(unit + 1) - s->records);

	unit->earlier = s->segments[s->current].last;
	s->segments[s->current].last = (uint32_t)((const uint8_t *)unit - s->records);
	s->record_end = (end + RECORD_ALIGNMENT - 1) & ~(RECORD_ALIGNMENT - 1);
}

void depot_statistics(struct depot *s, struct engine_statistics *out)
{
	pthread_mutex_lock(&s->lock);
	out->code_size = code_cache_use(s->cache).size;
	out->code_used = used_bytes(s);
	out->code_pages = s->pages.count;
	out->code_recycled = s->recycled;
	out->code_units = s->unit_count;
	pthread_mutex_unlock(&s->lock);
}
