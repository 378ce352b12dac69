/*
 * The translations of a machine: units of generated code by the place of their guest code, the links between them,
 * and the memory they live in.
 *
 * Memory: the code cache is a ring of segments, and beside each lies as much room for the records of its units. New
 * units go into the current segment. When that is full the next one follows, whose units were cut off a whole
 * segment earlier: nothing new finds them then, and when every hart has come by depot_catch_up, nothing old points to
 * them either. A hart that has not come by keeps a segment from being used again; until it has, what is not translated
 * is interpreted.
 *
 * Thrashing: once the ring has turned, a hart makes units at the pace at which it runs. Each takes some of an allowance,
 * which instructions that ran fill up; without it the hart interprets for a while. Code that runs often is what it
 * most likely stands at when there is allowance again. An allowance is as large as a good part of the cache, so that only
 * caches that are too small for their guest come to its end.
 *
 * Changed code: a clock counts fences of instructions. Every page of code knows the time at which its units were last
 * compared with the guest's bytes; a hart enters a page through units_find alone after its own fence (links never
 * leave a page, its jump table is emptied), which compares when that time lies before the fence. A unit that differs
 * is stale: its entry leads out of generated code, and the unit that takes its place takes its links as well.
 *
 * Thread: harts look units up without a lock; whatever changes is changed under `lock`, and code that may be running
 * only by aligned stores that leave it valid at each instant.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_DEPOT_H
#define DOPPEL_ENGINE_TRANSLATE_DEPOT_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/translate/cache.h"
#include "engine/translate/emit.h"
#include "engine/translate/pages.h"

struct unit;

/* A place in a unit's code from which it jumps to another unit of its page. */
struct link {
	uint8_t *place;      /* for x64_patch, in the writer's view */
	struct unit *target; /* NULL: it leads to the stub that asks for it */
	struct link *next;   /* among those of the target */
	int32_t stub;        /* from `place` */
	uint16_t to;         /* address in the page */
	uint8_t kind;        /* of the unit that it leads to: flags for those reached by links alone */
};

/* What a unit was made for: an enum frame_mode, and perhaps that its accesses are not grouped. Plain units are reached by
 * links alone. */
#define UNIT_PLAIN 0x80u
/* Tables may lie in two pages that lie apart, or are not grouped. Reached by links alone: from a unit that found it so, and
 * from others of this kind. */
#define UNIT_APART     0x20u
#define UNIT_NO_TABLES 0x10u
/* The unit of an instruction that ends in the next page. Reached through the jump table alone, which forgets it when either
 * page may have changed. */
#define UNIT_STRADDLES 0x40u
#define UNIT_LINKED (UNIT_PLAIN | UNIT_APART | UNIT_NO_TABLES)
#define UNIT_FLAGS (UNIT_LINKED | UNIT_STRADDLES)

/* Lies behind its links. Once a unit is stale it is in no page. What a look-up reads comes first: it never lies in two lines
 * of the host's cache, since records are aligned to 32 bytes. */
struct unit {
	_Atomic(struct unit *) chain; /* in its bucket */
	const uint8_t *source;        /* the guest's bytes */
	struct code_page *page;
	uint32_t code; /* offset in the cache */
	uint16_t rest; /* of the instruction, in the next page, if it straddles; else 0 */
	uint8_t kind;
	_Atomic bool stale;

	struct unit *next, **back; /* in its page */
	struct link *incoming;
	uint32_t earlier;      /* the record made before it in its segment, or 0 */
	uint16_t invalid;      /* where the entry leads once it is stale, from `code` */
	uint16_t bytes, links;
	uint16_t tail, tail_bytes; /* as in struct ir_unit */
};
#define UNIT_LOOKED_AT 32
_Static_assert(offsetof(struct unit, next) == UNIT_LOOKED_AT && sizeof(struct link) % UNIT_LOOKED_AT == 0,
	       "a look-up reads one line of the cache");

struct segment {
	uint32_t last;            /* its newest record, or 0 */
	bool live;                /* its units may be found and linked */
	_Atomic uint64_t retired; /* epoch in which they were last cut off */
};

#define DEPOT_BYTES    (64 * MIB) /* of code, unless the cluster says otherwise */
#define DEPOT_BUCKETS  65536
#define PAGE_BUCKETS   512 /* neighbours, for a page of code */
#define DEPOT_SEGMENTS 64

struct translator;

struct depot {
	struct code_cache *cache;
	struct emit_runtime runtime;
	pthread_mutex_t lock;
	_Atomic uint64_t clock; /* of fences */
	_Atomic uint64_t epoch; /* raised when a segment was cut off */
	struct translator *harts[RISCV_HARTS_MAX];
	unsigned users;

	uint8_t *records;
	size_t record_end; /* of the newest record */
	size_t segment_at, segment_size; /* of the first one, in the cache and in `records` */
	unsigned segment_count, current;
	struct segment segments[DEPOT_SEGMENTS];
	_Atomic uint64_t recycled; /* segments cut off to be used again, since all was forgotten */
	uint64_t begun; /* how often all pages of code went */
	int64_t allowance; /* of a hart, at most */

	_Atomic(struct unit *) buckets[DEPOT_BUCKETS];
	struct code_pages pages;
	uint64_t unit_count; /* that are in pages */
};

/* While no hart of the cluster runs: the hart will run the code of its cluster's depot, which is made for the first and
 * goes with the last. */
MUST_USE int depot_join(struct translator *t, struct error *e);
void depot_leave(struct translator *t);

/* On the thread of a hart that is not running: everything is forgotten and its memory given back to the host, if that is
 * worth it and no other hart runs. */
void depot_rest(struct depot *s);

/* Fills in what is shared. */
void depot_statistics(struct depot *s, struct engine_statistics *out);

/* On the hart's thread, out of generated code and without a pointer into it but its jump table, which is rid of what
 * was cut off. */
void depot_catch_up(struct depot *s, struct translator *t);

/* On the hart's thread. Whether it may make a unit now, which it then does. */
MUST_USE bool depot_afford(struct translator *t);
/* It ran so many instructions. */
void depot_earn(struct translator *t, int64_t instructions);

/* Under the lock. Goes on in the next segment; false: a hart may still be in there. */
MUST_USE bool depot_advance(struct depot *s);
/* Under the lock. Room for a record of `size` bytes, not taken until depot_take; NULL: none in this segment. */
void *depot_room(const struct depot *s, size_t size);
void depot_take(struct depot *s, struct unit *unit);

/* Whether the record lies where units may be found and linked. */
bool depot_is_live(const struct depot *s, const void *record);
static inline const uint8_t *depot_code(const struct depot *s, const struct unit *unit)
{
	return code_cache_at(s->cache, unit->code);
}
static inline struct link *unit_links(struct unit *unit)
{
	return (struct link *)unit - unit->links;
}

/* links.c; under the lock. Numbers are what generated code knows links by. */
struct link *link_by_number(const struct depot *s, uint32_t number);
uint32_t link_number(const struct depot *s, const struct link *link);
void link_connect(struct depot *s, struct link *link, struct unit *target);
/* All that lead to `from` lead to `to` now. */
void links_move(struct depot *s, struct unit *from, struct unit *to);
/* Nothing leads to the unit any more, and it leads nowhere. */
void links_cut(struct unit *unit);

/* units.c; under the lock: nothing finds the unit any more. */
void unit_remove(struct depot *s, struct unit *unit);

#endif
