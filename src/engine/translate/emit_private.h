/* What the parts of the back end share. */
#ifndef DOPPEL_ENGINE_TRANSLATE_EMIT_PRIVATE_H
#define DOPPEL_ENGINE_TRANSLATE_EMIT_PRIVATE_H

#include "engine/translate/emit.h"

/* Code that is put behind the unit, off its hot path. */
enum stub_kind {
	STUB_ACCESS,  /* a TLB miss, or the base is in another page: by the exact address, then back with rcx */
	STUB_ADDRESS, /* the same, where rax has the address already */
	STUB_GROUP,   /* the same for a group, which may lie in two pages: then on without groups, mostly */
	STUB_WALK,    /* a group has left its page: the TLB, then back */
	STUB_VECTOR,  /* as many rounds of a loop as may be by vectors; `to`: which loop */
	STUB_AHEAD,   /* a taken branch within the unit: give back `to` instructions, then there */
	STUB_EXIT,    /* a taken branch: give back what was not run, then to `to` */
	STUB_LINK,    /* the first way of a patchable jump */
	STUB_PLAIN,   /* the same, to a unit without groups */
	STUB_APART,   /* the same, to a unit whose tables may lie in two pages that lie apart */
	STUB_NO_TABLES, /* the same, to a unit without groups of tables */
	STUB_TABLES,  /* a table that may lie so has no pages yet: both, then back */
	STUB_CALL_C,  /* the rare case of a float operation: by C, then back */
	STUB_ELSEWHERE, /* the same, then on in another unit: a single is not boxed, or what is quiet raises a flag */
	STUB_BUDGET,
	STUB_AGAIN, /* a jump back within the unit that the budget does not suffice for */
	STUB_FLOATS,
	STUB_TABLE, /* through the jump table to rax */
	STUB_LOOKUP_CALL, /* a call of rax, which has no entry in its place there */
	STUB_PLAIN_CALL, /* a call without a frame on the host stack, which is full */
};

/* As `to` of a rare case: xmm0 has what the operation's float was before. */
#define STUB_RESTORES 1

struct stub {
	uint8_t kind;
	uint8_t *place;      /* the jump that leads here */
	const void *back;    /* where to go on */
	const struct ir *ir;
	int32_t to;
	bool swapped; /* the unit's own registers are in force */
	uint8_t held; /* as in struct emit: what rax must hold when it goes on behind a look-up */
};

/* A guest register that has a host register in this unit only, and the one that lives in memory instead. */
struct swap {
	uint8_t in, out; /* globals */
	bool written;    /* `in` is */
};

/* A jump within the unit to an operation behind it. */
struct forward {
	uint8_t *place;
	uint16_t op;
};

#define SWAPS_MAX 10
#define STUBS_MAX (UNIT_OPS * 4 + 8)

struct emit {
	struct x64 *a;
	const struct ir_unit *unit;
	const struct ir *ir; /* the operation being emitted */
	enum frame_mode mode;
	const struct emit_runtime *runtime;
	uint32_t first_link;
	struct emit_result *out;
	unsigned stub_count;
	uint32_t boxed; /* float globals known to hold a boxed single */
	/* The global without a register of its own whose value rax holds, stored already, or IR_ZERO: what the next
	 * operation needs most often. Whoever changes rax otherwise must say so (emit_forget). */
	uint8_t held;
	bool kept; /* the present operation ended with emit_keep of rax */
	const uint8_t *map; /* host registers of general globals: frame_pinned, or own */
	uint8_t own[IR_GLOBALS];
	struct swap swaps[SWAPS_MAX];
	unsigned swap_count;
	const void *put_back, *take_again; /* routines of the unit: to frame_pinned and from it */
	unsigned forward_count;
	unsigned late_count;
	uint8_t pointer; /* the group whose slot rcx holds; or 0 */
	uint32_t anchors; /* globals that say where groups lie that stay */
	unsigned vector_count; /* loops that vectors may do */
	uint32_t host_groups; /* whose slot is the host address of their lowest byte; of the others, the addend */

	/* Written before they are read: emit_unit does not clear them, which would cost more than many a unit. */
	const void *labels[UNIT_OPS];
	uint8_t late[UNIT_OPS]; /* operations that are late or narrow */
	struct forward forwards[UNIT_OPS];
	struct stub stubs[STUBS_MAX];
};

void emit_stub(struct emit *e, enum stub_kind kind, uint8_t *place, const void *back, int32_t to);

/* Where a general global lives. */
static inline bool is_pinned(const struct emit *e, unsigned global)
{
	return global < IR_GLOBALS && e->map[global] != X64_NONE;
}
static inline enum x64_reg pinned(const struct emit *e, unsigned global)
{
	return (enum x64_reg)e->map[global];
}
static inline struct x64_mem home(unsigned global)
{
	return x64_at(X64_RBP, FRAME_X(global));
}

/* The same of floats, which stay where they are in every unit. */
static inline bool float_is_pinned(unsigned number)
{
	return frame_pinned_float[number] != FRAME_NO_XMM;
}
static inline struct x64_mem float_home(unsigned number)
{
	return x64_at(X64_RBP, FRAME_F(number));
}

/* emit_swap.c: chooses registers for the unit. */
void emit_choose(struct emit *e);
/* The assignment that is in force in the unit. */
static inline const uint8_t *emit_map(const struct emit *e)
{
	return e->swap_count ? e->own : frame_pinned;
}
/* From frame_pinned to the unit's own assignment, and back. */
void emit_swap_in(struct emit *e);
void emit_swap_out(struct emit *e);

/* A register that holds the value: the global's own, or `scratch`, loaded. */
enum x64_reg emit_value(struct emit *e, unsigned global, enum x64_reg scratch);
/* `reg` = the value. */
void emit_copy(struct emit *e, enum x64_reg reg, unsigned global);
/* Where to compute a result: the destination's own register, or `scratch`; emit_result_to stores it. */
enum x64_reg emit_target(const struct emit *e, enum x64_reg scratch);
void emit_keep(struct emit *e, enum x64_reg reg);
static inline void emit_forget(struct emit *e)
{
	e->held = IR_ZERO;
}

/* Flags of a compared with b, which tell by emit_condition whether a `cc` b. */
void emit_compare(struct emit *e);
enum x64_cc emit_condition(const struct ir *ir, enum x64_cc cc);
/* Flags for the branch at hand, and the condition on which it is taken. */
enum x64_cc emit_decide(struct emit *e);
void emit_integer(struct emit *e);
/* Of a narrow operation: its result as it should be. */
void emit_extend(struct emit *e);
void emit_memory(struct emit *e);
void emit_float(struct emit *e);
void emit_control(struct emit *e);
/* rcx = what leads to the TLB entry of an address; a member of that entry. */
void emit_tlb_index(struct x64 *a, enum frame_mode mode, enum x64_reg address);
struct x64_mem emit_tlb_entry(enum frame_mode mode, size_t member);
/* rax = host address of what lies `offset` bytes from a global's address, checked; rcx is not free. */
void emit_address(struct emit *e, unsigned global, int64_t offset, unsigned size, bool store);
/* The place in memory that the present load or store accesses, checked; rdx is free, rax and rcx are not. */
struct x64_mem emit_place(struct emit *e, bool store);
/* rax = the guest address of the lowest byte that the present access, or the group it leads, checks. */
void emit_lowest_address(struct emit *e);
/* rax = its page, if that is known: what the hot path has there. */
void emit_known_page(struct emit *e);
/* rax = its own guest address. */
void emit_own_address(struct emit *e);
/* Whether an operation's code leaves rcx alone, but for accesses, which set e->pointer. */
bool emit_keeps_rcx(const struct ir *ir);
/* reg = reg op b, of which the operation's constant may be one. */
void emit_with(struct emit *e, enum x64_alu op, unsigned size, enum x64_reg reg, unsigned b);
/* emit_float.c: xmm = a float; a float = xmm, as it is; and flags that say whether the single in a float is boxed (equal). */
void emit_float_copy(struct emit *e, enum x64_xmm xmm, unsigned number);
void emit_float_keep(struct emit *e, unsigned number, enum x64_xmm xmm);
void emit_compare_box(struct emit *e, unsigned number, enum x64_reg scratch);
/* Whether an access reads its base on the hot path. */
bool emit_needs_base(const struct ir *ir);
/* Which groups of the unit keep a host address (those with a base in memory, and those that stay), and which globals move them. */
void emit_kinds_of_groups(struct emit *e);
/* No group has a page yet: at the entry of a unit. */
void emit_no_walks(struct emit *e);
/* The global was written: groups that stay lie elsewhere. */
void emit_forget_pages(struct emit *e, unsigned global);
static inline void emit_moved(struct emit *e, unsigned global)
{
	if (e->anchors >> global & 1)
		emit_forget_pages(e, global);
}
void emit_walk(struct emit *e);
/* For a group from rax on that may lie in two pages: rcx and rdx = what runtime->two_pages says. */
void emit_two_pages(struct emit *e);
/* It lies so: keeps what was said. rax is not kept. */
void emit_keep_pages(struct emit *e);
/* A member of what is known of a group that walks. */
struct x64_mem emit_walk_slot(unsigned group, size_t member);
/* emit_vector.c: at the head of a loop that vectors may do, where each round but the first asks for them; false: it is none. */
bool emit_vector_head(struct emit *e);
/* For the stub of it: with the loop's registers, then back. */
void emit_vector(struct emit *e, unsigned number, const void *back);
/* As the look-up of an access, for the address in rax, off the hot path. Returns the jump on a miss. */
uint8_t *emit_recheck(struct emit *e, unsigned span, bool store);
/* Instructions that were counted at the unit's entry and come behind the present one. */
unsigned emit_refund(const struct emit *e);
/* Goes to an address in the page (or beyond it), giving back nothing. */
void emit_go(struct emit *e, int64_t to);
/* The same in less room, where the host need not predict it. */
void emit_go_rarely(struct emit *e, int64_t to);
/* A branch or jump whose target is in the unit. */
void emit_inside(struct emit *e);
/* The way of such a branch ahead when it is taken, which leaves out so many instructions. */
void emit_ahead(struct emit *e, int32_t instructions);
/* Goes where rax says, but for its lowest bit, through the jump table. */
void emit_table_jump(struct emit *e);
void emit_jump(struct x64 *a, const struct emit_runtime *runtime);
/* A stack without guest calls. */
void emit_empty_stack(struct x64 *a);
/* The IR_CALL_C or IR_SYSTEM at hand, if it needs no C; false: nothing was emitted. */
bool emit_system(struct emit *e);
/* Its part of emit_runtime. */
void emit_system_runtime(struct x64 *a, struct emit_runtime *out);

#endif
