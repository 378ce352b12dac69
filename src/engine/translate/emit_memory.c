/*
 * Loads and stores: a TLB look-up of a few host instructions, the rest off the hot path.
 */
#include "engine/translate/emit_private.h"

#define TLB_ENTRY_SHIFT 5
_Static_assert(sizeof(struct frame_tlb) == 1 << TLB_ENTRY_SHIFT, "the index is part of the address");

struct x64_mem emit_tlb_entry(enum frame_mode mode, size_t member)
{
	size_t first = sizeof(struct frame_tlb) * frame_parts[mode].first;

	return x64_at_index(X64_RBP, X64_RCX, 1, FRAME_AT(tlb) + (int32_t)(first + member));
}

void emit_tlb_index(struct x64 *a, enum frame_mode mode, enum x64_reg address)
{
	x64_rorx(a, 8, X64_RCX, address, GUEST_PAGE_SHIFT - TLB_ENTRY_SHIFT);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, (frame_parts[mode].count - 1) << TLB_ENTRY_SHIFT);
}

/* rax = the guest's address. */
static void guest_address(struct emit *e, unsigned global, int64_t offset)
{
	if (is_pinned(e, global) && offset) {
		x64_lea(e->a, 8, X64_RAX, x64_at(pinned(e, global), (int32_t)offset));
	} else {
		emit_copy(e, X64_RAX, global);
		if (offset)
			x64_alu_ri(e->a, X64_ADD, 8, X64_RAX, (int32_t)offset);
	}
	emit_forget(e);
}

/* The lowest address of an access: a register, and a distance from it. */
struct place {
	enum x64_reg reg;
	int32_t low;
	bool is_page; /* the register has the page itself */
};

/* How far from its base an access may lie for the base to choose the TLB entry. Where the base lies in another page, the
 * entry never matches, and the stub looks once more. */
#define NEAR 128

/* rax = the page of what lies `low` bytes from the unit's page. */
static void known_page(struct emit *e, int64_t low)
{
	emit_copy(e, X64_RAX, IR_PAGE);
	if (low & -(int64_t)GUEST_PAGE_SIZE)
		x64_alu_ri(e->a, X64_ADD, 8, X64_RAX, (int32_t)(low & -(int64_t)GUEST_PAGE_SIZE));
}

/* Where `span` bytes begin, `low` bytes from a global: near it, or rax has the address, or the page if that is known. */
static struct place place_of(struct emit *e, unsigned global, int64_t low, unsigned span)
{
	int64_t away = low >= 0 ? low : -(low + (int64_t)span - 1);

	if (global == IR_PAGE) {
		known_page(e, low);
		return (struct place){X64_RAX, (int32_t)(low & (int64_t)(GUEST_PAGE_SIZE - 1)), true};
	}
	if (global < IR_GLOBALS && away >= 0 && away <= NEAR)
		return (struct place){emit_value(e, global, X64_RAX), (int32_t)low, false};
	guest_address(e, global, low);
	return (struct place){X64_RAX, 0, false};
}

/* Compares the page of `span` bytes with the TLB entry of their base, which rcx is left to lead to. The byte whose page
 * is compared is the one farthest from the base, with the others in between: what lies in two pages never matches.
 * Returns the jump on a miss. */
static uint8_t *check(struct emit *e, struct place place, unsigned span, bool store)
{
	size_t tag = store ? offsetof(struct frame_tlb, store) : offsetof(struct frame_tlb, load);
	int32_t farthest = place.low >= 0 ? place.low + (int32_t)span - 1 : place.low;
	struct x64 *a = e->a;

	emit_tlb_index(a, e->mode, place.reg);
	if (place.is_page) {
		x64_alu_rm(a, X64_CMP, 8, place.reg, emit_tlb_entry(e->mode, tag));
		return x64_jcc_forward(a, X64_NE);
	}
	if (farthest)
		x64_lea(a, 8, X64_RDX, x64_at(place.reg, farthest));
	else
		x64_mov_rr(a, 8, X64_RDX, place.reg);
	x64_alu_ri(a, X64_AND, 8, X64_RDX, -(int32_t)GUEST_PAGE_SIZE);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, emit_tlb_entry(e->mode, tag));
	return x64_jcc_forward(a, X64_NE);
}

/* rcx = what is to be added to addresses of the place's page, but for a miss, whose jump is returned. */
static uint8_t *find_addend(struct emit *e, struct place place, unsigned span, bool store)
{
	uint8_t *miss = check(e, place, span, store);

	x64_load(e->a, 8, X64_RCX, emit_tlb_entry(e->mode, offsetof(struct frame_tlb, addend)));
	return miss;
}

/* The same for good: on a miss the stub gives it. */
static void look_up(struct emit *e, struct place place, unsigned span, bool store, enum stub_kind kind)
{
	uint8_t *miss = find_addend(e, place, span, store);

	emit_stub(e, kind, miss, x64_here(e->a), store);
}

void emit_address(struct emit *e, unsigned global, int64_t offset, unsigned size, bool store)
{
	guest_address(e, global, offset);
	look_up(e, (struct place){X64_RAX, 0, false}, size, store, STUB_ADDRESS);
	x64_alu_rr(e->a, X64_ADD, 8, X64_RAX, X64_RCX);
}

void emit_lowest_address(struct emit *e)
{
	const struct ir *ir = e->ir;

	if (ir->group)
		guest_address(e, ir->from, ir->from_low);
	else
		guest_address(e, ir->a, ir->imm);
}

void emit_known_page(struct emit *e)
{
	const struct ir *ir = e->ir;

	if (ir->group ? ir->from == IR_PAGE : ir->a == IR_PAGE)
		known_page(e, ir->group ? ir->from_low : ir->imm);
}

void emit_own_address(struct emit *e)
{
	guest_address(e, e->ir->a, e->ir->imm);
}

uint8_t *emit_recheck(struct emit *e, unsigned span, bool store)
{
	return find_addend(e, (struct place){X64_RAX, 0, false}, span, store);
}

void emit_two_pages(struct emit *e)
{
	x64_mov_ri(e->a, X64_RDX, e->ir->span - 1u);
	x64_call_rel32(e->a, e->runtime->two_pages[e->mode][e->ir->stores]);
}

static struct x64_mem group_slot(const struct ir *ir)
{
	return x64_at(X64_RBP, FRAME_AT(groups) + 8 * ir->group);
}

/* The place of a group's lowest byte. */
static struct place look_up_group(struct emit *e)
{
	const struct ir *ir = e->ir;
	struct place place = place_of(e, ir->from, ir->from_low, ir->span);

	look_up(e, place, ir->span, ir->stores, STUB_GROUP);
	return place;
}

static bool has_host_address(const struct emit *e, unsigned group)
{
	return e->host_groups >> group & 1;
}

void emit_kinds_of_groups(struct emit *e)
{
	for (unsigned i = 0; i < e->unit->count; i++) {
		const struct ir *ir = &e->unit->ops[i];

		if (ir->group && !ir->ranged && (ir->stays || !is_pinned(e, ir->a)))
			e->host_groups |= UINT32_C(1) << ir->group;
		if (ir->stays && ir->leads && ir->from < IR_GLOBALS)
			e->anchors |= UINT32_C(1) << ir->from;
	}
}

bool emit_needs_base(const struct ir *ir)
{
	if (ir->stays)
		return ir->ranged;
	return !ir->group || ir->leads || ir->walks || ir->ranged;
}

/* Whether a member of the group that the present access leads comes when rcx holds something else. */
static bool is_asked_for(const struct emit *e)
{
	const struct ir *end = e->unit->ops + e->unit->count;
	bool held = true;

	for (const struct ir *ir = e->ir + 1; ir < end; ir++) {
		bool access = ir->op >= IR_LOAD && ir->op <= IR_FLOAT_STORE;

		held &= !ir->label && emit_keeps_rcx(ir);
		if (access && ir->group == e->ir->group && !held)
			return true;
		held &= !access || ir->group == e->ir->group;
	}
	return false;
}

/* What the group shares stays in rcx and, for those who come later, in the frame. */
static void lead(struct emit *e)
{
	struct place place = look_up_group(e);

	if (has_host_address(e, e->ir->group))
		x64_lea(e->a, 8, X64_RCX, x64_at_index(X64_RCX, place.reg, 1, place.low));
	if (is_asked_for(e))
		x64_store(e->a, 8, group_slot(e->ir), X64_RCX);
}

struct x64_mem emit_walk_slot(unsigned group, size_t member)
{
	return x64_at(X64_RBP, FRAME_AT(walks) + (int32_t)(sizeof(struct frame_walk) * group + member));
}

static struct x64_mem walk_slot(const struct ir *ir, size_t member)
{
	return emit_walk_slot(ir->group, member);
}

static void no_walk(struct emit *e, const struct ir *ir)
{
	size_t member = ir->stays ? offsetof(struct frame_walk, addend) : offsetof(struct frame_walk, room);

	x64_store_i(e->a, 8, walk_slot(ir, member), 0);
}

void emit_no_walks(struct emit *e)
{
	for (unsigned i = 0; i < e->unit->count; i++) {
		const struct ir *ir = &e->unit->ops[i];

		if (ir->walks && ir->leads)
			no_walk(e, ir);
	}
}

void emit_forget_pages(struct emit *e, unsigned global)
{
	for (unsigned i = 0; i < e->unit->count; i++) {
		const struct ir *ir = &e->unit->ops[i];

		if (ir->stays && ir->leads && ir->from == global)
			no_walk(e, ir);
	}
}

/* rdx = the lowest address of the group, without a change of rax. */
static void lowest_address(struct emit *e)
{
	const struct ir *ir = e->ir;

	if (is_pinned(e, ir->from) && ir->from_low) {
		x64_lea(e->a, 8, X64_RDX, x64_at(pinned(e, ir->from), ir->from_low));
		return;
	}
	emit_copy(e, X64_RDX, ir->from);
	if (ir->from_low)
		x64_alu_ri(e->a, X64_ADD, 8, X64_RDX, ir->from_low);
}

/* The leader of a group that walks: whether it is in the page of the last time. */
static void stay(struct emit *e)
{
	uint8_t *elsewhere;

	lowest_address(e);
	x64_alu_rm(e->a, X64_SUB, 8, X64_RDX, walk_slot(e->ir, offsetof(struct frame_walk, page)));
	x64_alu_rm(e->a, X64_CMP, 8, X64_RDX, walk_slot(e->ir, offsetof(struct frame_walk, room)));
	elsewhere = x64_jcc_forward(e->a, X64_AE);
	emit_stub(e, STUB_WALK, elsewhere, x64_here(e->a), e->ir->stores);
}

/* The same of one that stays: rcx = what it shares. Where that is really zero, it is looked up each time. */
static void still(struct emit *e)
{
	uint8_t *nowhere;

	x64_load(e->a, 8, X64_RCX, walk_slot(e->ir, offsetof(struct frame_walk, addend)));
	x64_test_rr(e->a, 8, X64_RCX, X64_RCX);
	nowhere = x64_jcc_forward(e->a, X64_E);
	emit_stub(e, e->ir->apart ? STUB_TABLES : STUB_WALK, nowhere, x64_here(e->a), e->ir->stores);
}

void emit_keep_pages(struct emit *e)
{
	const struct ir *ir = e->ir;

	x64_store(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, addend)), X64_RCX);
	x64_store(e->a, 8, group_slot(ir), X64_RCX);
	x64_store(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, other)), X64_RDX);
	x64_alu_ri(e->a, X64_OR, 8, X64_RAX, GUEST_PAGE_SIZE - 1);
	x64_alu_ri(e->a, X64_ADD, 8, X64_RAX, 1);
	x64_store(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, page)), X64_RAX);
}

/* An element of a table that may lie in two pages, from where the second begins. */
static struct x64_mem chosen(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg;

	if (ir->leads)
		still(e);
	else
		x64_load(e->a, 8, X64_RCX, group_slot(ir));
	e->pointer = 0;
	reg = emit_value(e, ir->a, X64_RAX);
	if (ir->imm)
		x64_lea(e->a, 8, X64_RDX, x64_at(reg, (int32_t)ir->imm));
	x64_alu_rm(e->a, X64_CMP, 8, ir->imm ? X64_RDX : reg, walk_slot(ir, offsetof(struct frame_walk, page)));
	x64_cmov_rm(e->a, X64_AE, 8, X64_RCX, walk_slot(ir, offsetof(struct frame_walk, other)));
	return x64_at_index(X64_RCX, reg, 1, (int32_t)ir->imm);
}

/* For the stubs of `stay` and `still`. */
void emit_walk(struct emit *e)
{
	const struct ir *ir = e->ir;
	struct place place = look_up_group(e);

	if (ir->stays && has_host_address(e, ir->group))
		x64_lea(e->a, 8, X64_RCX, x64_at_index(X64_RCX, place.reg, 1, place.low));
	x64_store(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, addend)), X64_RCX);
	if (ir->stays) {
		x64_store(e->a, 8, group_slot(ir), X64_RCX);
		return;
	}
	x64_lea(e->a, 8, X64_RDX, x64_at(place.reg, place.low));
	x64_alu_ri(e->a, X64_AND, 8, X64_RDX, -(int32_t)GUEST_PAGE_SIZE);
	x64_store(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, page)), X64_RDX);
	x64_store_i(e->a, 8, walk_slot(ir, offsetof(struct frame_walk, room)), GUEST_PAGE_SIZE - ir->span + 1);
}

static struct x64_mem walk_place(struct emit *e)
{
	const struct ir *ir = e->ir;

	if (ir->leads)
		stay(e);
	if (ir->leads || e->pointer != ir->group)
		x64_load(e->a, 8, X64_RCX, walk_slot(ir, offsetof(struct frame_walk, addend)));
	e->pointer = ir->group;
	return x64_at_index(X64_RCX, emit_value(e, ir->a, X64_RAX), 1, (int32_t)ir->imm);
}

static struct x64_mem alone(struct emit *e, bool store)
{
	const struct ir *ir = e->ir;
	struct place place = place_of(e, ir->a, ir->imm, ir->size);

	look_up(e, place, ir->size, store, STUB_ACCESS);
	e->pointer = 0;
	return x64_at_index(X64_RCX, place.reg, 1, place.low);
}

struct x64_mem emit_place(struct emit *e, bool store)
{
	const struct ir *ir = e->ir;

	if (!ir->group)
		return alone(e, store);
	if (ir->apart)
		return chosen(e);
	if (ir->walks && !ir->stays)
		return walk_place(e);
	if (ir->leads && ir->stays)
		still(e);
	else if (ir->leads)
		lead(e);
	else if (e->pointer != ir->group)
		x64_load(e->a, 8, X64_RCX, group_slot(ir));
	e->pointer = ir->group;
	if (has_host_address(e, ir->group))
		return x64_at(X64_RCX, ir->low);
	return x64_at_index(X64_RCX, emit_value(e, ir->a, X64_RAX), 1, (int32_t)ir->imm);
}

static void load(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(e, X64_RAX);
	struct x64_mem place = emit_place(e, false);

	if (ir->size == 8)
		x64_load(e->a, 8, reg, place);
	else if (ir->is_signed)
		x64_load_sx(e->a, ir->size, reg, place);
	else
		x64_load_zx(e->a, ir->size, reg, place);
	emit_keep(e, reg);
}

static void store(struct emit *e)
{
	const struct ir *ir = e->ir;
	struct x64_mem place = emit_place(e, true);

	if (ir->b == IR_ZERO)
		x64_store_i(e->a, ir->size, place, 0);
	else
		x64_store(e->a, ir->size, place, emit_value(e, ir->b, X64_RDX));
}

/* rax = host address of an atomic access; a misaligned one is C's to refuse. */
static void atomic_address(struct emit *e, bool is_store)
{
	emit_address(e, e->ir->a, 0, e->ir->size, is_store);
	x64_test_ri(e->a, 4, X64_RAX, e->ir->size - 1);
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, X64_NE), NULL, 0);
}

static void keep_old(struct emit *e, enum x64_reg reg)
{
	if (e->ir->size == 4)
		x64_movsx_rr(e->a, 4, reg, reg);
	emit_keep(e, reg);
}

/* A hart alone needs no locks: devices share no word with it that both of them change, and order is what fences are for. */
static void swap(struct emit *e)
{
	struct x64_mem place = x64_at(X64_RAX, 0);

	atomic_address(e, true);
	emit_copy(e, X64_RDX, e->ir->b);
	if (!e->runtime->alone) {
		x64_xchg_mr(e->a, e->ir->size, place, X64_RDX);
		keep_old(e, X64_RDX);
		return;
	}
	x64_load(e->a, e->ir->size, X64_RCX, place);
	x64_store(e->a, e->ir->size, place, X64_RDX);
	keep_old(e, X64_RCX);
}

static void add(struct emit *e)
{
	atomic_address(e, true);
	emit_copy(e, X64_RDX, e->ir->b);
	(e->runtime->alone ? x64_xadd : x64_lock_xadd)(e->a, e->ir->size, x64_at(X64_RAX, 0), X64_RDX);
	keep_old(e, X64_RDX);
}

static void combine(struct emit *e)
{
	static const enum x64_alu ops[] = {
		[IR_ATOMIC_AND - IR_ATOMIC_AND] = X64_AND,
		[IR_ATOMIC_OR - IR_ATOMIC_AND] = X64_OR,
		[IR_ATOMIC_XOR - IR_ATOMIC_AND] = X64_XOR,
	};
	enum x64_alu op = ops[e->ir->op - IR_ATOMIC_AND];
	unsigned size = e->ir->size;
	const void *again;

	atomic_address(e, true);
	x64_mov_rr(e->a, 8, X64_RCX, X64_RAX);
	x64_load(e->a, size, X64_RAX, x64_at(X64_RCX, 0));
	again = x64_here(e->a);
	x64_mov_rr(e->a, size, X64_RDX, X64_RAX);
	if (e->ir->b == IR_ZERO)
		x64_alu_ri(e->a, op, size, X64_RDX, 0);
	else if (is_pinned(e, e->ir->b))
		x64_alu_rr(e->a, op, size, X64_RDX, pinned(e, e->ir->b));
	else
		x64_alu_rm(e->a, op, size, X64_RDX, home(e->ir->b));
	if (e->runtime->alone) {
		x64_store(e->a, size, x64_at(X64_RCX, 0), X64_RDX);
	} else {
		x64_lock_cmpxchg(e->a, size, x64_at(X64_RCX, 0), X64_RDX);
		x64_jcc_rel32(e->a, X64_NE, again);
	}
	keep_old(e, X64_RAX);
}

static void load_reserved(struct emit *e)
{
	unsigned size = e->ir->size;

	atomic_address(e, false);
	if (size == 8)
		x64_load(e->a, 8, X64_RDX, x64_at(X64_RAX, 0));
	else
		x64_load_sx(e->a, size, X64_RDX, x64_at(X64_RAX, 0));
	x64_store(e->a, 8, x64_at(X64_RBP, FRAME_AT(reserved_host)), X64_RAX);
	x64_store(e->a, 8, x64_at(X64_RBP, FRAME_AT(reserved_value)), X64_RDX);
	x64_store_i(e->a, 4, x64_at(X64_RBP, FRAME_AT(reserved_size)), (int32_t)size);
	emit_keep(e, X64_RDX);
}

static void store_conditional(struct emit *e)
{
	uint8_t *elsewhere, *other_size;
	unsigned size = e->ir->size;

	atomic_address(e, true);
	emit_copy(e, X64_RDX, e->ir->b);
	x64_mov_rr(e->a, 8, X64_RCX, X64_RAX);
	x64_alu_rm(e->a, X64_CMP, 8, X64_RCX, x64_at(X64_RBP, FRAME_AT(reserved_host)));
	elsewhere = x64_jcc_forward8(e->a, X64_NE);
	x64_alu_mi(e->a, X64_CMP, 4, x64_at(X64_RBP, FRAME_AT(reserved_size)), (int32_t)size);
	other_size = x64_jcc_forward8(e->a, X64_NE);
	x64_load(e->a, 8, X64_RAX, x64_at(X64_RBP, FRAME_AT(reserved_value)));
	(e->runtime->alone ? x64_cmpxchg : x64_lock_cmpxchg)(e->a, size, x64_at(X64_RCX, 0), X64_RDX);
	/* Here "not equal" says that nothing was stored, on each way. */
	x64_patch_here8(e->a, elsewhere);
	x64_patch_here8(e->a, other_size);
	x64_setcc(e->a, X64_NE, X64_RAX);
	x64_movzx_rr(e->a, 1, X64_RAX, X64_RAX);
	x64_store_i(e->a, 8, x64_at(X64_RBP, FRAME_AT(reserved_host)), 0);
	emit_keep(e, X64_RAX);
}

/* The host keeps every order but that of a store before a load. A locked operation that changes nothing is quicker
 * than mfence. */
static void fence(struct emit *e)
{
	if (!e->ir->imm)
		return;
	x64_zero(e->a, X64_RAX);
	emit_forget(e);
	x64_lock_alu_mr(e->a, X64_OR, 8, x64_at(X64_RSP, 0), X64_RAX);
}

void emit_memory(struct emit *e)
{
	static void (*const table[])(struct emit *e) = {
		[IR_LOAD] = load,
		[IR_STORE] = store,
		[IR_FENCE] = fence,
		[IR_ATOMIC_SWAP] = swap,
		[IR_ATOMIC_ADD] = add,
		[IR_ATOMIC_AND] = combine,
		[IR_ATOMIC_OR] = combine,
		[IR_ATOMIC_XOR] = combine,
		[IR_LOAD_RESERVED] = load_reserved,
		[IR_STORE_CONDITIONAL] = store_conditional,
	};

	table[e->ir->op](e);
}
