/*
 * A unit as a whole: its entry, its operations, and the stubs behind them.
 */
#include "engine/translate/emit.h"

#include <stddef.h>
#include <string.h>

#include "engine/translate/emit_private.h"

void emit_stub(struct emit *e, enum stub_kind kind, uint8_t *place, const void *back, int32_t to)
{
	e->stubs[e->stub_count++] =
		(struct stub){.kind = (uint8_t)kind,
			      .place = place,
			      .back = back,
			      .ir = e->ir,
			      .to = to,
			      .swapped = e->map != frame_pinned,
			      .held = e->held};
}

static void give_back(struct emit *e, unsigned instructions)
{
	if (instructions)
		x64_alu_ri(e->a, X64_ADD, 8, FRAME_BUDGET, (int32_t)instructions);
}

static void leave_at(struct emit *e, enum emit_exit why, unsigned at)
{
	x64_mov_ri(e->a, X64_RDX, at);
	x64_jmp_rel32(e->a, e->runtime->leave_for[why]);
}

/* What the operations before this one have left for those who look. */
static void do_late(struct emit *e, const struct stub *s)
{
	unsigned here = (unsigned)(s->ir - e->unit->ops);
	const uint8_t *map = e->map;
	bool any = false;

	if (!e->late_count)
		return;
	e->map = s->swapped ? emit_map(e) : frame_pinned;
	for (unsigned i = 0; i < e->late_count && e->late[i] < here; i++) {
		const struct ir *ir = &e->unit->ops[e->late[i]];

		if (ir->late <= here && ir->narrow <= here)
			continue;
		if (!any)
			x64_store(e->a, 8, x64_at(X64_RBP, FRAME_AT(address)), X64_RAX);
		any = true;
		e->ir = ir;
		emit_forget(e);
		if (ir->late)
			emit_integer(e);
		else
			emit_extend(e);
	}
	if (any)
		x64_load(e->a, 8, X64_RAX, x64_at(X64_RBP, FRAME_AT(address)));
	emit_forget(e);
	e->ir = s->ir;
	e->map = map;
}

static void put_back(struct emit *e, const struct stub *s)
{
	if (s->swapped)
		x64_call_rel32(e->a, e->put_back);
}

static void take_again(struct emit *e, const struct stub *s)
{
	if (s->swapped)
		x64_call_rel32(e->a, e->take_again);
}

static bool is_load(const struct ir *ir)
{
	return ir->op == IR_LOAD || ir->op == IR_FLOAT_LOAD;
}

/* edx = what C must know of the access. */
static void describe(struct emit *e, const struct stub *s)
{
	uint32_t access = s->ir->at | (uint32_t)s->ir->size << 12 | (emit_refund(e) + 1u) << EMIT_ACCESS_REFUND;

	if (s->to && !is_load(s->ir))
		access |= EMIT_ACCESS_STORE;
	if (s->ir->op >= IR_ATOMIC_SWAP && s->ir->op <= IR_STORE_CONDITIONAL)
		access |= EMIT_ACCESS_ALIGNED;
	x64_mov_ri(e->a, X64_RDX, access);
}

/* rcx = the addend for the address in rax, by the TLB once more, then by C. */
static void slow_access(struct emit *e, const struct stub *s)
{
	put_back(e, s);
	describe(e, s);
	x64_call_rel32(e->a, e->runtime->slow_access[e->mode][s->to && !is_load(s->ir)]);
	take_again(e, s);
}

/* Back behind the look-up. */
static void looked_up(struct emit *e, const struct stub *s)
{
	if (s->held != IR_ZERO)
		x64_load(e->a, 8, X64_RAX, home(s->held));
	x64_jmp_rel32(e->a, s->back);
}

static void stub_address(struct emit *e, const struct stub *s)
{
	do_late(e, s);
	slow_access(e, s);
	looked_up(e, s);
}

/* With the registers as they are where the stub begins. */
static void address(struct emit *e, const struct stub *s, void (*of)(struct emit *e))
{
	e->map = s->swapped ? emit_map(e) : frame_pinned;
	of(e);
	e->map = frame_pinned;
}

static void stub_access(struct emit *e, const struct stub *s)
{
	do_late(e, s);
	address(e, s, emit_lowest_address);
	slow_access(e, s);
	emit_known_page(e);
	looked_up(e, s);
}

static void two_pages(struct emit *e, const struct stub *s)
{
	put_back(e, s);
	emit_two_pages(e);
	take_again(e, s);
}

/* Goes back if the two pages of the group, whose lowest address is in rax, will do. */
static void side_by_side(struct emit *e, const struct stub *s)
{
	uint8_t *apart;

	two_pages(e, s);
	x64_alu_rr(e->a, X64_CMP, 8, X64_RCX, X64_RDX);
	apart = x64_jcc_forward(e->a, X64_NE);
	looked_up(e, s);
	x64_patch_here(e->a, apart);
}

/* The operation and what comes behind it is done by a unit of another kind. The common assignment is in force. */
static void go_on_in(struct emit *e, const struct stub *s, enum stub_kind kind)
{
	give_back(e, emit_refund(e) + 1);
	emit_stub(e, kind, x64_jmp_patchable(e->a), NULL, s->ir->at);
}

static void go_elsewhere(struct emit *e, const struct stub *s, enum stub_kind kind)
{
	put_back(e, s);
	go_on_in(e, s, kind);
}

/* The same as below, where only a register says how far the leader is from the lowest byte. */
static void stub_ranged(struct emit *e, const struct stub *s)
{
	uint8_t *crosses, *no_store = NULL;

	do_late(e, s);
	address(e, s, emit_lowest_address);
	x64_lea(e->a, 8, X64_RDX, x64_at(X64_RAX, s->ir->span - 1));
	x64_alu_rr(e->a, X64_XOR, 8, X64_RDX, X64_RAX);
	x64_shift_ri(e->a, X64_SHR, 8, X64_RDX, GUEST_PAGE_SHIFT);
	crosses = x64_jcc_forward(e->a, X64_NE);
	/* The fault, if there is one, is the operation's own. */
	address(e, s, emit_own_address);
	slow_access(e, s);
	address(e, s, emit_lowest_address);
	if (s->to && is_load(s->ir))
		no_store = emit_recheck(e, s->ir->span, true);
	emit_known_page(e);
	looked_up(e, s);
	x64_patch_here(e->a, crosses);
	if (s->ir->stays || s->ir->table)
		side_by_side(e, s);
	if (no_store)
		x64_patch_here(e->a, no_store);
	go_elsewhere(e, s, s->ir->table ? STUB_APART : STUB_PLAIN);
}

/* Within one page the slow path helps; what lies in two is done without groups, and so is a load that leads stores, for the
 * first store to say what it must. */
static void stub_group(struct emit *e, const struct stub *s)
{
	const struct ir *ir = s->ir;
	enum emit_group kind = !s->to ? EMIT_LOADS : is_load(ir) ? EMIT_LOAD_BEFORE_STORES : EMIT_STORES;
	uint8_t *plain;

	if (ir->ranged) {
		stub_ranged(e, s);
		return;
	}
	do_late(e, s);
	address(e, s, emit_lowest_address);
	put_back(e, s);
	describe(e, s);
	x64_mov_ri(e->a, X64_RCX, ir->low | (ir->span - 1u) << 16);
	x64_call_rel32(e->a, e->runtime->slow_group[e->mode][kind]);
	plain = x64_jcc_forward8(e->a, X64_NE);
	take_again(e, s);
	emit_known_page(e);
	looked_up(e, s);
	x64_patch_here8(e->a, plain);
	go_on_in(e, s, STUB_PLAIN);
}

/* Pages of a table that may lie apart. */
static void stub_tables(struct emit *e, const struct stub *s)
{
	uint8_t *crooked, *none;

	do_late(e, s);
	address(e, s, emit_lowest_address);
	x64_test_ri(e->a, 4, X64_RAX, s->ir->aligned - 1);
	crooked = x64_jcc_forward(e->a, X64_NE);
	two_pages(e, s);
	x64_test_rr(e->a, 8, X64_RCX, X64_RCX);
	none = x64_jcc_forward(e->a, X64_E);
	emit_keep_pages(e);
	looked_up(e, s);
	x64_patch_here(e->a, crooked);
	x64_patch_here(e->a, none);
	go_elsewhere(e, s, STUB_NO_TABLES);
}

static void stub_walk(struct emit *e, const struct stub *s)
{
	e->map = s->swapped ? emit_map(e) : frame_pinned;
	emit_walk(e);
	e->map = frame_pinned;
	looked_up(e, s);
}

static void stub_vector(struct emit *e, const struct stub *s)
{
	e->map = s->swapped ? emit_map(e) : frame_pinned;
	emit_vector(e, (unsigned)s->to, s->back);
	e->map = frame_pinned;
}

static void stub_ahead(struct emit *e, const struct stub *s)
{
	e->map = s->swapped ? emit_map(e) : frame_pinned;
	emit_ahead(e, s->to);
	e->map = frame_pinned;
}

static void stub_exit(struct emit *e, const struct stub *s)
{
	do_late(e, s);
	put_back(e, s);
	give_back(e, emit_refund(e));
	emit_go(e, s->to);
}

static void stub_link(struct emit *e, const struct stub *s)
{
	static const enum emit_kind kinds[] = {[STUB_LINK] = EMIT_SAME,
					       [STUB_PLAIN] = EMIT_PLAIN,
					       [STUB_APART] = EMIT_APART,
					       [STUB_NO_TABLES] = EMIT_NO_TABLES};

	x64_mov_ri(e->a, X64_RDX, e->first_link + e->out->link_count);
	x64_jmp_rel32(e->a, e->runtime->leave_link);
	e->out->links[e->out->link_count++] =
		(struct emit_link){.place = s->place, .to = s->to, .to_kind = (uint8_t)kinds[s->kind]};
}

/* C does the instruction. */
static void do_by_c(struct emit *e, const struct stub *s)
{
	if (s->to == STUB_RESTORES)
		x64_fmov_rr(e->a, (enum x64_xmm)frame_pinned_float[s->ir->dst], X64_XMM0);
	put_back(e, s);
	x64_mov_ri(e->a, X64_RDX, s->ir->word);
	x64_mov_ri(e->a, X64_RCX, s->ir->at | emit_refund(e) << 16);
	x64_call_rel32(e->a, e->runtime->call_c);
}

static void stub_call_c(struct emit *e, const struct stub *s)
{
	do_by_c(e, s);
	take_again(e, s);
	x64_jmp_rel32(e->a, s->back);
}

static void stub_elsewhere(struct emit *e, const struct stub *s)
{
	do_by_c(e, s);
	give_back(e, emit_refund(e));
	emit_go(e, s->ir->next);
}

static void stub_budget(struct emit *e, const struct stub *s)
{
	(void)s;
	give_back(e, e->unit->instructions);
	leave_at(e, EMIT_EXIT_BUDGET, e->unit->at);
}

static void stub_again(struct emit *e, const struct stub *s)
{
	const struct ir *to = &e->unit->ops[s->to];

	put_back(e, s);
	give_back(e, e->unit->instructions - to->before);
	leave_at(e, EMIT_EXIT_BUDGET, to->at);
}

static void stub_floats(struct emit *e, const struct stub *s)
{
	(void)s;
	give_back(e, e->unit->instructions);
	leave_at(e, EMIT_EXIT_FLOATS, e->unit->at);
}

static void stub_table(struct emit *e, const struct stub *s)
{
	(void)s;
	emit_table_jump(e);
}

static void stub_lookup_call(struct emit *e, const struct stub *s)
{
	x64_call_rel32(e->a, e->runtime->lookup);
	x64_jmp_rel32(e->a, s->back);
}

static void stub_plain_call(struct emit *e, const struct stub *s)
{
	if (s->ir->op == IR_CALL)
		emit_go_rarely(e, s->to);
	else
		x64_jmp_rel32(e->a, e->runtime->jump);
}

static void (*const stub_emitters[])(struct emit *e, const struct stub *s) = {
	[STUB_ACCESS] = stub_access, [STUB_GROUP] = stub_group,   [STUB_PLAIN] = stub_link,
	[STUB_APART] = stub_link,    [STUB_NO_TABLES] = stub_link,  [STUB_TABLES] = stub_tables,
	[STUB_WALK] = stub_walk,     [STUB_ADDRESS] = stub_address,
	[STUB_AHEAD] = stub_ahead,   [STUB_VECTOR] = stub_vector,
	[STUB_EXIT] = stub_exit,     [STUB_LINK] = stub_link,
	[STUB_CALL_C] = stub_call_c, [STUB_ELSEWHERE] = stub_elsewhere, [STUB_BUDGET] = stub_budget, [STUB_FLOATS] = stub_floats,
	[STUB_TABLE] = stub_table,   [STUB_LOOKUP_CALL] = stub_lookup_call,
	[STUB_PLAIN_CALL] = stub_plain_call, [STUB_AGAIN] = stub_again,
};

/* What stubs do to leave the unit's own assignment. */
static void swap_routines(struct emit *e)
{
	if (!e->swap_count)
		return;
	e->put_back = x64_here(e->a);
	emit_swap_out(e);
	x64_ret(e->a);
	e->take_again = x64_here(e->a);
	emit_swap_in(e);
	x64_ret(e->a);
}

/* Stubs may add stubs. */
static void emit_stubs(struct emit *e)
{
	for (unsigned i = 0; i < e->stub_count && !e->a->overflow; i++) {
		struct stub s = e->stubs[i];

		e->ir = s.ir;
		emit_forget(e);
		x64_patch_here(e->a, s.place);
		stub_emitters[s.kind](e, &s);
	}
}

enum { KEEPS_RCX = 1, KEEPS_RCX_CONST = 2 };

static const uint8_t keeps_rcx[UINT8_MAX + 1] = {
	[IR_SET ... IR_XOR] = KEEPS_RCX,
	[IR_SHL ... IR_SAR] = KEEPS_RCX_CONST,
	[IR_ROR] = KEEPS_RCX_CONST,
	[IR_LESS ... IR_LESS_UNSIGNED] = KEEPS_RCX,
	[IR_SHIFT_ADD ... IR_ZERO_EXTEND] = KEEPS_RCX,
	[IR_LOAD ... IR_FLOAT_STORE] = KEEPS_RCX, /* these set e->pointer */
	[IR_BRANCH] = KEEPS_RCX,
};

bool emit_keeps_rcx(const struct ir *ir)
{
	unsigned keeps = keeps_rcx[ir->op];

	return (keeps & KEEPS_RCX) || ((keeps & KEEPS_RCX_CONST) && ir->b == IR_CONST);
}

static void label(struct emit *e, unsigned op)
{
	emit_forget(e);
	e->pointer = 0;
	e->boxed = 0;
	for (unsigned i = 0; i < e->forward_count; i++)
		if (e->forwards[i].op == op)
			x64_patch_here(e->a, e->forwards[i].place);
	if (!emit_vector_head(e))
		e->labels[op] = x64_here(e->a);
}

static void by_kind(struct emit *e)
{
	unsigned op = e->ir->op;

	if (e->ir->inside)
		emit_inside(e);
	else if (op >= IR_BRANCH)
		emit_control(e);
	else if (op >= IR_FLOAT_ADD || op == IR_FLOAT_LOAD || op == IR_FLOAT_STORE)
		emit_float(e);
	else if (op >= IR_LOAD)
		emit_memory(e);
	else
		emit_integer(e);
}

/* What leaves the unit or calls C for good has the common assignment of registers. */
static bool is_common(const struct ir *ir)
{
	return ir->op == IR_PURE || (ir->op >= IR_JUMP && !ir->inside);
}

/* The rare cases of an operation come back behind it, for C has done it whole: with the registers, and to what follows from
 * its result, that its common case has there. */
static void come_back(struct emit *e, unsigned first)
{
	for (unsigned i = first; i < e->stub_count; i++)
		if (e->stubs[i].kind == STUB_CALL_C)
			e->stubs[i].back = x64_here(e->a);
}

static void operation(struct emit *e)
{
	unsigned first = e->stub_count;
	unsigned op = e->ir->op;

	if (e->ir->label)
		label(e, (unsigned)(e->ir - e->unit->ops));
	/* What has no side effect is left out where nobody sees its result. */
	if (e->ir->late | e->ir->narrow)
		e->late[e->late_count++] = (uint8_t)(e->ir - e->unit->ops);
	if (e->ir->late || (op < IR_LOAD && e->ir->dst == IR_ZERO))
		return;
	e->kept = false;
	if (is_common(e->ir)) {
		emit_swap_out(e);
		emit_forget(e);
		e->map = frame_pinned;
		/* More of the unit may lie behind a jump. */
		if (op >= IR_JUMP && op <= IR_RETURN_TO)
			give_back(e, emit_refund(e));
		by_kind(e);
		come_back(e, first);
		e->map = emit_map(e);
		if (op == IR_PURE || op == IR_CALL_C)
			emit_swap_in(e);
		if (op == IR_CALL_C)
			emit_no_walks(e);
		/* C may have written any float. */
		e->boxed = 0;
	} else {
		by_kind(e);
		come_back(e, first);
	}
	if (!emit_keeps_rcx(e->ir))
		e->pointer = 0;
	if (ir_writes_global(e->ir))
		emit_moved(e, e->ir->dst);
	/* What is left in rax otherwise is not worth knowing, but for a base; after C there may be anything in it. */
	if (!(e->kept || op == IR_LOAD || op == IR_STORE) || op > IR_FENCE)
		emit_forget(e);
}

/* sub r15, imm32 in its long form: seven bytes in one instruction, so that replacing them by a jump never cuts an
 * instruction that a hart is about to run. */
static void entry(struct emit *e)
{
	static const uint8_t sub_r15[3] = {0x49, 0x81, 0xef};
	uint32_t count = e->unit->instructions;
	struct x64 *a = e->a;

	if (a->end - a->at < EMIT_ENTRY_BYTES) {
		a->overflow = true;
		return;
	}
	memcpy(a->at, sub_r15, sizeof sub_r15);
	memcpy(a->at + 3, &count, 4);
	a->at += EMIT_ENTRY_BYTES;
	emit_stub(e, STUB_BUDGET, x64_jcc_forward(a, X64_S), NULL, 0);
	if (e->unit->floats) {
		x64_alu_mi(a, X64_CMP, 4, x64_at(X64_RBP, FRAME_AT(floats_live)), 0);
		emit_stub(e, STUB_FLOATS, x64_jcc_forward(a, X64_E), NULL, 0);
	}
}

static bool goes_on(const struct ir *last)
{
	return last->op < IR_JUMP || last->op == IR_CALL_C;
}

void emit_unit(struct x64 *a, const struct ir_unit *unit, enum frame_mode mode, const struct emit_runtime *runtime,
	       uint32_t first_link, struct emit_result *out)
{
	struct emit e;

	memset(&e, 0, offsetof(struct emit, labels));
	e.held = IR_ZERO;
	e.a = a;
	e.unit = unit;
	e.mode = mode;
	e.runtime = runtime;
	e.first_link = first_link;
	e.out = out;
	e.map = frame_pinned;
	out->link_count = 0;
	e.ir = &unit->ops[0];
	entry(&e);
	if (unit->grouped)
		emit_no_walks(&e);
	emit_choose(&e);
	emit_swap_in(&e);
	e.map = emit_map(&e);
	if (unit->grouped)
		emit_kinds_of_groups(&e);
	for (unsigned i = 0; i < unit->count && !a->overflow; i++) {
		e.ir = &unit->ops[i];
		operation(&e);
	}
	if (goes_on(&unit->ops[unit->count - 1])) {
		emit_swap_out(&e);
		e.map = frame_pinned;
		emit_go(&e, (int64_t)unit->at + unit->bytes);
	}
	e.map = frame_pinned;
	swap_routines(&e);
	emit_stubs(&e);
	out->invalid = x64_here(a);
	leave_at(&e, EMIT_EXIT_LOOKUP, unit->at);
}
