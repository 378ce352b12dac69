/*
 * The translator's vCPU.
 *
 * What the translator does not translate (devices, accesses across pages, rare states) the interpreter that it contains
 * does, one instruction at a time.
 *
 * Thread: the hart's, but for `epoch`, which others read.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_TRANSLATOR_H
#define DOPPEL_ENGINE_TRANSLATE_TRANSLATOR_H

#include "engine/interpret/vcpu.h"
#include "engine/translate/spaces.h"
#include "engine/translate/depot.h"

#define OPS_REMEMBERED  256
#define PAGES_ENTERED   64
#define STRADDLING      8

struct translator {
	struct engine_vcpu interpreter; /* first: an engine_vcpu of this engine is a translator */
	struct frame *frame;
	struct depot *depot;
	_Atomic uint64_t epoch; /* of the depot, in which this hart last came by */
	uint64_t fenced;        /* the depot's clock at this hart's last fence.i */
	int64_t allowance;      /* for new units, in instructions (depot_afford) */
	bool wanting;           /* units_find found code that it could have translated, had there been room or allowance */

	struct spaces spaces;
	bool entered; /* the frame has the salts of the present space */

	/* Pages that entries of the jump table lead to, and tags of entries for what lies in two, since all were forgotten:
	 * a fence.i has the former compared and forgets the latter, or all if it is too much. */
	struct code_page *pages_entered[PAGES_ENTERED];
	uint64_t straddling[STRADDLING];
	unsigned pages_entered_count, straddling_count; /* one more than there is room for: more */
	unsigned fences; /* since then */
	uint64_t begun;  /* the depot's `begun` when they were noted */
	bool again;      /* a fence.i was met, and what it asks for is still to be done */

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
#define NO_JUMP UINT64_MAX /* tag of an empty entry of the jump table */
/* Code for virtual pc, or NULL: the interpreter must do the instruction (or raise the exception), and more than that
 * if t->wanting. Enters it in the jump table. */
const uint8_t *units_find(struct translator *t, uint64_t pc, enum frame_mode mode);
/* Generated code left at `pc`: the jump table does not know it, or knows a stale unit. */
void units_forget(struct translator *t, uint64_t pc);
/* Generated code left at a link: makes it lead to its unit from now on. hart->pc is that unit's. False: there is none,
 * and the interpreter must go on: the unit that left may be what a look-up of pc finds, and would leave again. */
MUST_USE bool units_connect(struct translator *t, uint32_t link);

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
