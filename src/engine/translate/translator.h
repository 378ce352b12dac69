/*
 * The translator's own structures: units by physical address, pages that are verified after fence.i, links.
 *
 * Everything here belongs to one hart: caches are private, so that no lock and no other hart's fence stands in the
 * way of running code. What the translator does not translate (privileged instructions, devices, accesses across
 * pages, faults) the interpreter that it contains does, one instruction at a time.
 *
 * Changed code: after a fence.i a page of code is entered anew through find_unit only (links never leave a page, the
 * jump table is emptied), which first compares the bytes of all its units with those they were made from.
 *
 * Thread: the hart's.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_TRANSLATOR_H
#define DOPPEL_ENGINE_TRANSLATE_TRANSLATOR_H

#include "engine/interpret/vcpu.h"
#include "engine/translate/cache.h"
#include "engine/translate/emit.h"
#include "engine/translate/spaces.h"

struct unit {
	uint64_t physical;  /* of the first instruction */
	struct unit *chain; /* in its hash bucket */
	struct unit *next;  /* in its page */
	const uint8_t *code;
	uint8_t *entry;         /* the same place, writable */
	const uint8_t *invalid; /* writer's address of the way out once the unit is invalid */
	uint16_t bytes;
	uint8_t mode;
	bool plain; /* its accesses are not grouped */
	uint8_t copy[]; /* what it was made from */
};

struct code_page {
	uint64_t physical;
	struct code_page *chain;
	struct unit *units;
	const uint8_t *host;
	uint32_t generation; /* of fence.i, in which it was last verified */
	uint8_t mode;
};

#define UNIT_BUCKETS 32768
#define PAGE_BUCKETS 8192
#define OPS_REMEMBERED  256

struct translator {
	struct engine_vcpu interpreter; /* first: an engine_vcpu of this engine is a translator */
	struct frame *frame;
	struct code_cache *cache;
	size_t runtime_bytes; /* at the start of the cache */
	struct emit_runtime runtime;

	struct unit *units[UNIT_BUCKETS];
	struct code_page *pages[PAGE_BUCKETS];
	uint8_t *arena; /* units and pages */
	size_t arena_used;
	struct emit_link *links;
	uint32_t link_count, link_room;
	uint32_t emptied; /* counts resets of the cache */

	struct spaces spaces;
	bool entered; /* the frame has the salts of the present space */

	/* While generated code runs: hart->instret at its entry, and the budget it got. */
	uint64_t instret_base;
	int64_t given;
	unsigned detours; /* that C may still take without a look around */
	struct op ops[OPS_REMEMBERED]; /* decoded instructions that C does, by hash of the word */
	uint32_t op_words[OPS_REMEMBERED];

	struct ir_unit ir;
	struct emit_result result;
};

static inline struct translator *translator_of(struct hart *hart)
{
	return (struct translator *)hart->engine_vcpu;
}

/* The mode that code at the hart's privilege is translated for; false: this state is left to the interpreter. */
bool translator_mode(const struct hart *hart, enum frame_mode *mode);

/* units.c */
MUST_USE int units_init(struct translator *t, struct error *e);
void units_finish(struct translator *t);
void units_drop_all(struct translator *t);
/* Code for virtual pc, or NULL: the interpreter must do the instruction (or raise the exception). Enters it in the
 * jump table. */
const uint8_t *find_unit(struct translator *t, uint64_t pc, enum frame_mode mode);
/* The same for a unit whose accesses are not grouped, which no jump entry is for. */
const uint8_t *find_plain_unit(struct translator *t, uint64_t pc, enum frame_mode mode);

/* spaces.c */
void spaces_reset(struct translator *t);
/* Makes TLBs and jump table fit the hart's satp, and mode, which it is in. */
void spaces_enter(struct translator *t, enum frame_mode mode);
void spaces_flush(struct translator *t, bool one_page, uint64_t address, bool one_asid, uint16_t asid);
void spaces_forget_jumps(struct translator *t);
void spaces_drop_writes(struct translator *t);
/* Fills the TLB for an access in the mode entered: no page to keep (a device, say, or two pages), or a fault. */
enum spaces_filled { SPACES_FILLED, SPACES_OTHER, SPACES_FAULT };
enum spaces_filled spaces_fill(struct translator *t, uint64_t address, unsigned size, bool store,
			       enum riscv_cause *cause);
/* Where the page that pc lies in is, to run code from in the mode entered; NULL: not in memory that may be kept, or
 * not at all. */
const uint8_t *spaces_fetch(struct translator *t, uint64_t pc, uint64_t *physical);

/* floats.c: the host's float unit in the guest's service. */
/* Fills the frame's constants. */
void floats_init(struct frame *frame);
bool floats_begin(struct translator *t);
void floats_end(struct translator *t);

/* calls.c: what generated code has C do. */
extern const struct emit_callbacks translator_callbacks;

#endif
