/*
 * What generated code and C share: the register assignment, and the memory that generated code reaches from rbp.
 *
 * rbp points FRAME_BIAS bytes into struct hart, so that every x register is in reach of an 8-bit displacement. Behind
 * the struct lies the hart's engine area (hart_new), which holds a struct frame.
 *
 * While generated code runs, the guest registers listed in frame_pinned (and, while frame.floats_live, those in
 * frame_pinned_float) live in host registers, everywhere: no unit spills or reloads at its ends. r15 counts down
 * the instructions that may still run. rax, rcx, rdx and xmm0 to xmm2 are free within an operation. rsp is
 * a multiple of 16 at the entry of each unit; above it lie pairs of a guest return address and a host one, one for
 * each guest call that is expected to return.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_FRAME_H
#define DOPPEL_ENGINE_TRANSLATE_FRAME_H

#include "engine/translate/ir.h"
#include "engine/translate/x64.h"
#include "riscv/hart.h"

#define FRAME_BIAS   128
#define FRAME_JUMPS_LOG2 14
#define FRAME_JUMPS  (1 << FRAME_JUMPS_LOG2)
#define FRAME_BUDGET X64_R15

/* How loads and stores are translated; each has a TLB of its own, and units are made for one of them. */
enum frame_mode { FRAME_USER, FRAME_SUPERVISOR, FRAME_SUPERVISOR_USER, FRAME_MACHINE, FRAME_MODES };

/* An entry of a TLB; two lie in one line of the host's cache. */
struct frame_tlb {
	uint64_t load, store; /* virtual page, or FRAME_NO_PAGE */
	uint64_t addend;      /* host address = virtual address + addend */
	uint64_t unused;
};
#define FRAME_NO_PAGE UINT64_C(1)

/* Loops by vectors in a unit. */
#define FRAME_VECTORS 4

/* Where a group was last, as long as its unit runs: `room` addresses from `page` on are good for its lowest byte. */
struct frame_walk {
	uint64_t page, addend;
	union {
		uint64_t room;
		uint64_t other; /* of what may lie in two pages: the addend from `page` on, where the second begins */
	};
};

/* Which entries of frame.tlb are a mode's; the count is a power of two. */
struct frame_part {
	uint16_t first, count;
};
#define FRAME_TLB 7424
static const struct frame_part frame_parts[FRAME_MODES] = {
	[FRAME_USER] = {0, 4096},
	[FRAME_SUPERVISOR] = {4096, 2048},
	[FRAME_SUPERVISOR_USER] = {6144, 1024},
	[FRAME_MACHINE] = {7168, 256},
};

static inline unsigned frame_slot(unsigned mode, uint64_t address)
{
	return frame_parts[mode].first + (unsigned)(address / 4096 & (frame_parts[mode].count - 1u));
}

static inline unsigned frame_mode_of_slot(unsigned slot)
{
	unsigned mode = 0;

	while (slot - frame_parts[mode].first >= frame_parts[mode].count)
		mode++;
	return mode;
}

/* The other slot that a page may be in, when another page has taken its own, which is in the same part: C puts it there,
 * and generated code changes the two before it calls C. */
static inline unsigned frame_slot_other(unsigned slot)
{
	return slot ^ frame_parts[frame_mode_of_slot(slot)].count / 2u;
}

struct frame_jump {
	uint64_t tag;  /* virtual pc ^ salt */
	uint64_t code; /* where it runs */
};

/*
 * AMD's processors guess from the base register and the low ten bits of the displacement which store a load from memory
 * reads, and pay some forty cycles for a wrong guess, time and again: a guest register in memory that is written and a
 * field that is read soon after, 1 KiB or a multiple from it, made one call out of the page as dear as five. Hence what
 * generated code uses often lies beside none of the guest's registers.
 */
#define FRAME_GUESSED  1024
#define FRAME_APART    offsetof(struct hart, pc)
_Static_assert(HART_ENGINE_AREA_AT % FRAME_GUESSED == 0, "as far from the frame's start as from the hart's");

struct frame {
	/* Read by the float unit, or seldom. */
	_Alignas(16) uint64_t box[2], sign32[2], sign64[2]; /* constants for float logic */
	uint8_t flags_of_mxcsr[64]; /* guest float flags by the six low bits of MXCSR */
	uint8_t unused[FRAME_APART - 112];

	uint64_t page;        /* virtual address of the page that the running unit lies in */
	uint64_t salt;        /* of jump entries that are valid now: salt_of_mode[mode] */
	/* The load reservation while generated code runs (translate.c carries it in and out). */
	uint64_t reserved_host, reserved_value; /* address, 0 for none; sign-extended value */
	uint32_t reserved_size;
	uint32_t mode;        /* enum frame_mode of the code that runs */
	uint64_t stack_limit; /* no guest call is pushed below this */
	uint64_t budget;
	uint64_t host_stack;
	uint64_t barrier;     /* in the stack, below the frames of the mode that was left last (emit_system.c) */
	uint32_t floats_live; /* floats are in host registers, MXCSR is the guest's */
	uint32_t mxcsr;       /* scratch */
	uint64_t salt_of_mode[FRAME_MODES];
	uint64_t link;        /* which exit was taken */
	uint64_t trapped;     /* instructions used that did not retire */
	uint64_t address;     /* rax while late operations are done */
	uint32_t vectors[FRAME_VECTORS]; /* whether it is worth looking if vectors may do rounds of a loop (emit_vector.c) */
	uint64_t groups[IR_GROUPS + 1]; /* host address of the lowest byte of each group of accesses */
	struct frame_walk walks[IR_GROUPS + 1]; /* of groups that walk, instead */
	uint64_t batches, batch_register, batch_floats[16]; /* of a loop that vectors do: how many, and what registers held */
	struct frame_jump jumps[FRAME_JUMPS];
	_Alignas(64) struct frame_tlb tlb[FRAME_TLB];
};
_Static_assert(offsetof(struct frame, page) == FRAME_APART && offsetof(struct frame, walks) < FRAME_GUESSED,
	       "only the walks of units with many of them lie beside registers");

static inline struct frame *frame_of(struct hart *hart)
{
	return hart_engine_area(hart);
}

static inline struct frame_jump *frame_jump_at(struct frame *frame, uint64_t tag)
{
	return &frame->jumps[tag >> 1 & (FRAME_JUMPS - 1)];
}

static inline struct frame_jump *frame_jump_of(struct frame *frame, uint64_t pc)
{
	return frame_jump_at(frame, pc ^ frame->salt);
}

/* Where an entry is put when another takes its place: generated code looks there before it calls C. */
static inline struct frame_jump *frame_jump_other(struct frame *frame, uint64_t tag)
{
	return &frame->jumps[(tag ^ tag >> FRAME_JUMPS_LOG2) >> 1 & (FRAME_JUMPS - 1)];
}

#define FRAME_X(n)     ((int32_t)(offsetof(struct hart, x) + 8 * (n)) - FRAME_BIAS)
#define FRAME_F(n)     ((int32_t)(offsetof(struct hart, f) + 8 * (n)) - FRAME_BIAS)
#define FRAME_HART(member) ((int32_t)offsetof(struct hart, member) - FRAME_BIAS)
#define FRAME_AT(member) ((int32_t)(HART_ENGINE_AREA_AT + offsetof(struct frame, member)) - FRAME_BIAS)

/* Host register of a global, or X64_NONE: it lives in memory. */
extern const uint8_t frame_pinned[32];
/* The same for floats; FRAME_NO_XMM: in memory. */
#define FRAME_NO_XMM 0xff
extern const uint8_t frame_pinned_float[32];

#endif
