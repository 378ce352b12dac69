/*
 * Branches, jumps, calls and returns.
 *
 * Within a page units jump to each other directly: the page's mapping cannot change while they run. Out of the page the
 * way leads through the jump table of the hart, whose entries are valid for the present address space only. A guest call
 * is a host call, with the guest's return address beneath the host's on the stack, so that the host predicts the
 * guest's return; a return that does not match what is on the stack takes the jump table.
 */
#include "engine/translate/emit_private.h"

static bool in_page(int64_t to)
{
	return to >= 0 && to < (int64_t)GUEST_PAGE_SIZE;
}

/* Whether jumps to an address are linked. */
static bool is_linked(const struct emit *e, int64_t to)
{
	return in_page(to) && to != e->unit->straddles;
}

unsigned emit_refund(const struct emit *e)
{
	return e->unit->instructions - (e->ir->before + 1u);
}

static void page_plus(struct emit *e, enum x64_reg reg, int64_t offset)
{
	x64_load(e->a, 8, reg, x64_at(X64_RBP, FRAME_AT(page)));
	if (offset)
		x64_alu_ri(e->a, X64_ADD, 8, reg, (int32_t)offset);
}

static struct x64_mem jump_at(size_t member)
{
	/* pc is even: its bits from 1 on choose the entry of sixteen bytes. */
	_Static_assert(sizeof(struct frame_jump) == 16, "an entry is pc * 8 bytes from the first");
	return x64_at_index(X64_RBP, X64_RCX, 8, FRAME_AT(jumps[0]) + (int32_t)member);
}

/* rcx = what leads to the entry that the virtual pc in rax has in the jump table; flags: whether it is there. */
static void find_jump(struct x64 *a)
{
	x64_load(a, 8, X64_RDX, x64_at(X64_RBP, FRAME_AT(salt)));
	x64_alu_rr(a, X64_XOR, 8, X64_RDX, X64_RAX);
	x64_mov_rr(a, 4, X64_RCX, X64_RDX);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, (FRAME_JUMPS - 1) * 2);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, jump_at(offsetof(struct frame_jump, tag)));
}

/* The page of the unit that is entered is that of rax. */
static void enter_page(struct x64 *a)
{
	x64_alu_ri(a, X64_AND, 8, X64_RAX, -(int32_t)GUEST_PAGE_SIZE);
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(page)), X64_RAX);
}

void emit_jump(struct x64 *a, const struct emit_runtime *runtime)
{
	find_jump(a);
	x64_jcc_rel32(a, X64_NE, runtime->lookup);
	enter_page(a);
	x64_jmp_m(a, jump_at(offsetof(struct frame_jump, code)));
}

/* Calls what rax says through the jump table, on the hot path: most calls of real programs leave the page, and a stub is
 * a line of the host's cache more for each. */
static void table_call(struct emit *e)
{
	uint8_t *miss;

	find_jump(e->a);
	miss = x64_jcc_forward(e->a, X64_NE);
	enter_page(e->a);
	x64_call_m(e->a, jump_at(offsetof(struct frame_jump, code)));
	emit_stub(e, STUB_LOOKUP_CALL, miss, x64_here(e->a), 0);
}

void emit_table_jump(struct emit *e)
{
	emit_jump(e->a, e->runtime);
}

void emit_go(struct emit *e, int64_t to)
{
	if (is_linked(e, to)) {
		emit_stub(e, STUB_LINK, x64_jmp_patchable(e->a), NULL, (int32_t)to);
		return;
	}
	page_plus(e, X64_RAX, to);
	emit_table_jump(e);
}

void emit_go_rarely(struct emit *e, int64_t to)
{
	if (is_linked(e, to)) {
		emit_go(e, to);
		return;
	}
	page_plus(e, X64_RAX, to);
	x64_jmp_rel32(e->a, e->runtime->jump);
}

static enum x64_cc condition(const struct ir *ir)
{
	static const enum x64_cc codes[] = {
		[IR_EQ] = X64_E, [IR_NE] = X64_NE, [IR_LT] = X64_L,
		[IR_GE] = X64_GE, [IR_LTU] = X64_B, [IR_GEU] = X64_AE};

	return emit_condition(ir, codes[ir->condition]);
}

/* Whether the operation before the branch at hand has left flags that tell its result: by which condition. */
static bool was_compared(const struct emit *e, enum x64_cc *cc)
{
	static const struct {
		bool known;
		enum x64_cc cc;
	} codes[UINT8_MAX + 1] = {[IR_LESS] = {true, X64_L},
				  [IR_LESS_UNSIGNED] = {true, X64_B},
				  [IR_FLOAT_LESS] = {true, X64_A},
				  [IR_FLOAT_LESS_EQUAL] = {true, X64_AE}};
	const struct ir *ir = e->ir, *before = ir - 1;

	if (ir == e->unit->ops || ir->label || ir->b != IR_ZERO || ir->a >= IR_GLOBALS || before->dst != ir->a ||
	    !codes[before->op].known)
		return false;
	*cc = before->op < IR_LOAD ? emit_condition(before, codes[before->op].cc) : codes[before->op].cc;
	return ir->condition == IR_NE || ir->condition == IR_EQ;
}

enum x64_cc emit_decide(struct emit *e)
{
	enum x64_cc cc;

	if (was_compared(e, &cc))
		return e->ir->condition == IR_NE ? cc : x64_cc_negate(cc);
	emit_compare(e);
	return condition(e->ir);
}

static void branch(struct emit *e)
{
	enum x64_cc cc = emit_decide(e);

	if (emit_refund(e) == 0 && is_linked(e, e->ir->imm) && e->map == frame_pinned)
		emit_stub(e, STUB_LINK, x64_jcc_patchable(e->a, cc), NULL, (int32_t)e->ir->imm);
	else
		emit_stub(e, STUB_EXIT, x64_jcc_forward(e->a, cc), NULL, (int32_t)e->ir->imm);
}

/* rax = the target of a computed jump, but for its lowest bit: no entry of the jump table is odd. */
static void computed_target(struct emit *e)
{
	emit_copy(e, X64_RAX, e->ir->a);
	if (e->ir->imm)
		x64_alu_ri(e->a, X64_ADD, 8, X64_RAX, (int32_t)e->ir->imm);
}

/* rdx = the address behind the jump, which the link register receives. */
static void write_link(struct emit *e)
{
	page_plus(e, X64_RDX, e->ir->next);
	emit_keep(e, X64_RDX);
}

/* The same in less, where rax has the address `to`. */
static void write_link_from(struct emit *e, int64_t to)
{
	int64_t away = e->ir->next - to;

	if (away != (int32_t)away) {
		write_link(e);
		return;
	}
	x64_lea(e->a, 8, X64_RDX, x64_at(X64_RAX, (int32_t)away));
	emit_keep(e, X64_RDX);
}

/* Pushes the guest's return address, which is in rdx; a full stack goes the plain way instead. */
static void push_frame(struct emit *e)
{
	x64_alu_rm(e->a, X64_CMP, 8, X64_RSP, x64_at(X64_RBP, FRAME_AT(stack_limit)));
	emit_stub(e, STUB_PLAIN_CALL, x64_jcc_forward(e->a, X64_B), NULL, (int32_t)e->ir->imm);
	x64_push_r(e->a, X64_RDX);
}

static void returned(struct emit *e)
{
	x64_alu_ri(e->a, X64_ADD, 8, X64_RSP, 8);
	if (in_page(e->ir->next)) {
		emit_go(e, e->ir->next);
		return;
	}
	/* The return has made the page the one that it returned to. */
	page_plus(e, X64_RAX, e->ir->next & (int32_t)(GUEST_PAGE_SIZE - 1));
	emit_table_jump(e);
}

static void call(struct emit *e)
{
	int64_t to = e->ir->imm;

	if (is_linked(e, to)) {
		write_link(e);
		push_frame(e);
		emit_stub(e, STUB_LINK, x64_call_patchable(e->a), NULL, (int32_t)to);
	} else {
		page_plus(e, X64_RAX, to);
		write_link_from(e, to);
		push_frame(e);
		table_call(e);
	}
	returned(e);
}

static void call_computed(struct emit *e)
{
	computed_target(e);
	write_link(e);
	push_frame(e);
	table_call(e);
	returned(e);
}

static void return_computed(struct emit *e)
{
	uint8_t *other;

	/* What the stack holds is even. */
	computed_target(e);
	x64_alu_rm(e->a, X64_CMP, 8, X64_RAX, x64_at(X64_RSP, 8));
	other = x64_jcc_forward(e->a, X64_NE);
	enter_page(e->a);
	x64_ret(e->a);
	emit_stub(e, STUB_TABLE, other, NULL, 0);
}

static void call_c(struct emit *e)
{
	if (emit_system(e))
		return;
	x64_mov_ri(e->a, X64_RDX, e->ir->word);
	x64_mov_ri(e->a, X64_RCX, e->ir->at | emit_refund(e) << 16);
	x64_call_rel32(e->a, e->runtime->call_c);
}

static void leave(struct emit *e)
{
	x64_mov_ri(e->a, X64_RDX, e->ir->at);
	x64_jmp_rel32(e->a, e->runtime->leave_for[EMIT_EXIT_ENGINE]);
}

void emit_control(struct emit *e)
{
	switch (e->ir->op) {
	case IR_BRANCH:
		branch(e);
		break;
	case IR_JUMP:
		if (e->ir->dst != IR_ZERO)
			write_link(e);
		emit_go(e, e->ir->imm);
		break;
	case IR_CALL:
		call(e);
		break;
	case IR_JUMP_TO:
		computed_target(e);
		if (e->ir->dst != IR_ZERO)
			write_link(e);
		emit_table_jump(e);
		break;
	case IR_CALL_TO:
		call_computed(e);
		break;
	case IR_RETURN_TO:
		return_computed(e);
		break;
	case IR_CALL_C:
	case IR_SYSTEM:
		call_c(e);
		break;
	default:
		leave(e);
	}
}
