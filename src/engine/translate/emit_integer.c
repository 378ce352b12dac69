/*
 * General registers: arithmetic, logic, shifts, comparisons.
 */
#include "engine/translate/emit_private.h"

enum x64_reg emit_value(struct emit *e, unsigned global, enum x64_reg scratch)
{
	if (is_pinned(e, global))
		return pinned(e, global);
	emit_copy(e, scratch, global);
	return scratch;
}

/* Whether rax already has the value of a global that lives in memory. */
static bool in_rax(const struct emit *e, unsigned global)
{
	return global < IR_GLOBALS && e->held == global;
}

void emit_copy(struct emit *e, enum x64_reg reg, unsigned global)
{
	bool held = in_rax(e, global);

	if (global == IR_ZERO)
		x64_mov_ri(e->a, reg, 0);
	else if (global == IR_CONST)
		x64_mov_ri(e->a, reg, (uint64_t)e->ir->imm);
	else if (global == IR_PAGE)
		x64_load(e->a, 8, reg, x64_at(X64_RBP, FRAME_AT(page)));
	else if (held && reg != X64_RAX)
		x64_mov_rr(e->a, 8, reg, X64_RAX);
	else if (!held && !is_pinned(e, global))
		x64_load(e->a, 8, reg, home(global));
	else if (is_pinned(e, global) && pinned(e, global) != reg)
		x64_mov_rr(e->a, 8, reg, pinned(e, global));
	if (reg == X64_RAX)
		e->held = global < IR_GLOBALS && !is_pinned(e, global) ? (uint8_t)global : IR_ZERO;
}

enum x64_reg emit_target(const struct emit *e, enum x64_reg scratch)
{
	return is_pinned(e, e->ir->dst) ? pinned(e, e->ir->dst) : scratch;
}

void emit_keep(struct emit *e, enum x64_reg reg)
{
	unsigned dst = e->ir->dst;

	if (reg == X64_RAX || e->held == dst)
		emit_forget(e);
	if (dst == IR_ZERO)
		return;
	if (is_pinned(e, dst)) {
		if (pinned(e, dst) != reg)
			x64_mov_rr(e->a, 8, pinned(e, dst), reg);
		return;
	}
	x64_store(e->a, 8, home(dst), reg);
	if (reg == X64_RAX) {
		e->held = (uint8_t)dst;
		e->kept = true;
	}
}

void emit_with(struct emit *e, enum x64_alu op, unsigned size, enum x64_reg reg, unsigned b)
{
	if (b == IR_CONST)
		x64_alu_ri(e->a, op, size, reg, (int32_t)e->ir->imm);
	else if (b == IR_ZERO)
		x64_alu_ri(e->a, op, size, reg, 0);
	else if (is_pinned(e, b))
		x64_alu_rr(e->a, op, size, reg, pinned(e, b));
	else if (in_rax(e, b))
		x64_alu_rr(e->a, op, size, reg, X64_RAX);
	else
		x64_alu_rm(e->a, op, size, reg, home(b));
}

static void sign_extend_word(struct emit *e, enum x64_reg reg)
{
	if (e->ir->size == 4 && !e->ir->narrow)
		x64_movsx_rr(e->a, 4, reg, reg);
}

static bool b_in(const struct emit *e, enum x64_reg reg)
{
	return is_pinned(e, e->ir->b) && pinned(e, e->ir->b) == reg;
}

/* Additions that one lea does. */
static bool by_lea(struct emit *e)
{
	const struct ir *ir = e->ir;

	enum x64_reg reg = emit_target(e, X64_RAX);

	if (ir->op != IR_ADD || !is_pinned(e, ir->a) || ir->dst == ir->a || ir->dst == IR_ZERO)
		return false;
	if (ir->b == IR_CONST)
		x64_lea(e->a, ir->size, reg, x64_at(pinned(e, ir->a), (int32_t)ir->imm));
	else if (is_pinned(e, ir->b) && ir->b != ir->dst)
		x64_lea(e->a, ir->size, reg, x64_at_index(pinned(e, ir->a), pinned(e, ir->b), 1, 0));
	else
		return false;
	sign_extend_word(e, reg);
	emit_keep(e, reg);
	return true;
}

/* A copy is the sum with 0. */
static bool by_move(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg;

	if (ir->op != IR_ADD || ir->size != 8 || ir->b != IR_CONST || ir->imm != 0)
		return false;
	reg = is_pinned(e, ir->dst) ? pinned(e, ir->dst) : X64_RAX;
	if (is_pinned(e, ir->a) && reg == X64_RAX)
		reg = pinned(e, ir->a);
	else
		emit_copy(e, reg, ir->a);
	emit_keep(e, reg);
	return true;
}

/* Zero is compared with as the second of two. */
static bool is_turned(const struct ir *ir)
{
	return ir->a == IR_ZERO && ir->b < IR_GLOBALS;
}

/* A sum with the result of the unsigned comparison just before it, which has left the carry flag. */
static bool by_carry(struct emit *e)
{
	const struct ir *ir = e->ir, *before = ir - 1;
	enum x64_reg reg = emit_target(e, X64_RAX);
	unsigned other = ir->b;

	if (ir == e->unit->ops || ir->label || ir->late || ir->op != IR_ADD || ir->size != 8 ||
	    before->op != IR_LESS_UNSIGNED || is_turned(before) || before->late || before->dst == IR_ZERO || ir->a == ir->b)
		return false;
	if (ir->b == before->dst)
		other = ir->a;
	else if (ir->a != before->dst)
		return false;
	if (other >= IR_GLOBALS)
		return false;
	emit_copy(e, reg, other);
	x64_alu_ri(e->a, X64_ADC, 8, reg, 0);
	emit_keep(e, reg);
	return true;
}

/* A difference whose subtrahend is overwritten, or from zero: the negative of b, and a. */
static bool by_negation(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(e, X64_RAX);

	if (ir->op != IR_SUB || ir->b >= IR_GLOBALS || ir->a == ir->b || !(ir->a == IR_ZERO || b_in(e, reg)))
		return false;
	emit_copy(e, reg, ir->b);
	x64_neg(e->a, ir->size, reg);
	if (ir->a != IR_ZERO)
		emit_with(e, X64_ADD, ir->size, reg, ir->a);
	sign_extend_word(e, reg);
	emit_keep(e, reg);
	return true;
}

/* Whether the operation behind the present one reads its result, which had better be in rax then. */
static bool is_wanted(const struct emit *e)
{
	const struct ir *next = e->ir + 1;

	if (next == e->unit->ops + e->unit->count || next->label)
		return false;
	return next->a == e->ir->dst || next->b == e->ir->dst;
}

/* A change of a global that lives in memory, by a constant or a register, where it lives. */
static bool in_memory(struct emit *e, enum x64_alu op)
{
	const struct ir *ir = e->ir;
	unsigned other = ir->b;

	if (ir->size != 8 || ir->dst == IR_ZERO || is_pinned(e, ir->dst) || ir->a == ir->b || is_wanted(e))
		return false;
	if (ir->b == ir->dst && ir->op != IR_SUB)
		other = ir->a;
	else if (ir->a != ir->dst)
		return false;
	if (in_rax(e, ir->dst) || !(other == IR_CONST || is_pinned(e, other)))
		return false;
	if (other == IR_CONST)
		x64_alu_mi(e->a, op, 8, home(ir->dst), (int32_t)ir->imm);
	else
		x64_alu_mr(e->a, op, 8, home(ir->dst), pinned(e, other));
	return true;
}

/* Whether the operation is shorter with its operands the other way round: b is where the result goes. */
static bool turns(const struct emit *e, enum x64_reg reg)
{
	const struct ir *ir = e->ir;

	if (ir->op == IR_SUB || ir->a >= IR_GLOBALS || ir->a == ir->b)
		return false;
	return b_in(e, reg) || (reg == X64_RAX && in_rax(e, ir->b));
}

static void alu(struct emit *e, unsigned how)
{
	enum x64_alu op = (enum x64_alu)how;
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(e, X64_RAX);
	unsigned a = ir->a, b = ir->b;

	if (by_carry(e) || by_move(e) || by_lea(e) || by_negation(e) || in_memory(e, op))
		return;
	if (turns(e, reg)) {
		a = ir->b;
		b = ir->a;
	} else if (b_in(e, reg) && a != b) {
		/* A result must not overwrite b before it was read. */
		reg = X64_RAX;
	}
	if (reg == X64_RAX && a != b && in_rax(e, b))
		reg = X64_RDX;
	emit_copy(e, reg, a);
	emit_with(e, op, ir->size, reg, b);
	if (ir->size == 4 && !ir->narrow) {
		enum x64_reg to = emit_target(e, X64_RAX);

		x64_movsx_rr(e->a, 4, to, reg);
		reg = to;
	} else if (reg == X64_RDX) {
		x64_mov_rr(e->a, 8, X64_RAX, X64_RDX);
		reg = X64_RAX;
	}
	emit_keep(e, reg);
}

static void alu_not(struct emit *e, unsigned how)
{
	enum x64_alu op = (enum x64_alu)how;

	emit_copy(e, X64_RAX, e->ir->b);
	x64_not(e->a, 8, X64_RAX);
	emit_forget(e);
	if (is_pinned(e, e->ir->a))
		x64_alu_rr(e->a, op, 8, X64_RAX, pinned(e, e->ir->a));
	else {
		emit_copy(e, X64_RCX, e->ir->a);
		x64_alu_rr(e->a, op, 8, X64_RAX, X64_RCX);
	}
	emit_keep(e, X64_RAX);
}

/* By a constant that is not 0. */
static void shift_by(struct emit *e, enum x64_shift op, enum x64_reg reg, unsigned count)
{
	unsigned size = e->ir->size;

	if (op == X64_SAR && size == 4) {
		x64_movsx_rr(e->a, 4, reg, emit_value(e, e->ir->a, X64_RAX));
		x64_shift_ri(e->a, X64_SAR, 8, reg, count);
		return;
	}
	emit_copy(e, reg, e->ir->a);
	x64_shift_ri(e->a, op, size, reg, count);
	/* A word that was shifted right has no sign. */
	if (op != X64_SHR)
		sign_extend_word(e, reg);
}

static void shift(struct emit *e, unsigned how)
{
	enum x64_shift op = (enum x64_shift)how;
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(e, X64_RAX), count;

	if (ir->b == IR_CONST && op == X64_ROR && ir->imm) {
		x64_rorx(e->a, ir->size, reg, emit_value(e, ir->a, X64_RAX),
			 (unsigned)ir->imm & (ir->size * 8 - 1u));
	} else if (ir->b == IR_CONST && ir->imm) {
		shift_by(e, op, reg, (unsigned)ir->imm & (ir->size * 8 - 1u));
		emit_keep(e, reg);
		return;
	} else if (ir->b == IR_CONST) {
		emit_copy(e, reg, ir->a);
	} else if (op == X64_ROL || op == X64_ROR) {
		emit_copy(e, X64_RCX, ir->b);
		emit_copy(e, X64_RAX, ir->a);
		x64_shift_rcl(e->a, op, ir->size, X64_RAX);
		reg = X64_RAX;
	} else {
		count = emit_value(e, ir->b, X64_RCX);
		x64_shiftx(e->a, op, ir->size, reg, emit_value(e, ir->a, X64_RAX), count);
	}
	sign_extend_word(e, reg);
	emit_keep(e, reg);
}

void emit_extend(struct emit *e)
{
	enum x64_reg reg = emit_target(e, X64_RAX);

	if (reg == X64_RAX) {
		x64_load_sx(e->a, 4, reg, home(e->ir->dst));
		x64_store(e->a, 8, home(e->ir->dst), reg);
	} else {
		x64_movsx_rr(e->a, 4, reg, reg);
	}
}

enum x64_cc emit_condition(const struct ir *ir, enum x64_cc cc)
{
	static const enum x64_cc turned[] = {[X64_E] = X64_E, [X64_NE] = X64_NE, [X64_L] = X64_G,
					     [X64_GE] = X64_LE, [X64_B] = X64_NE, [X64_AE] = X64_E};

	return is_turned(ir) ? turned[cc] : cc;
}

static void compare_with_zero(struct emit *e, unsigned global)
{
	enum x64_reg reg;

	if (!is_pinned(e, global) && !in_rax(e, global) && global < IR_GLOBALS) {
		x64_alu_mi(e->a, X64_CMP, 8, home(global), 0);
		return;
	}
	reg = emit_value(e, global, X64_RAX);
	x64_test_rr(e->a, 8, reg, reg);
}

void emit_compare(struct emit *e)
{
	const struct ir *ir = e->ir;

	if (is_turned(ir))
		compare_with_zero(e, ir->b);
	else if (ir->b == IR_ZERO || (ir->b == IR_CONST && ir->imm == 0))
		compare_with_zero(e, ir->a);
	else if (ir->b == IR_CONST && !is_pinned(e, ir->a) && !in_rax(e, ir->a) && ir->a < IR_GLOBALS)
		x64_alu_mi(e->a, X64_CMP, 8, home(ir->a), (int32_t)ir->imm);
	else
		emit_with(e, X64_CMP, 8, emit_value(e, ir->a, X64_RAX), ir->b);
}

static void less(struct emit *e, unsigned cc)
{
	const struct ir *ir = e->ir;

	cc = emit_condition(ir, (enum x64_cc)cc);
	/* To begin with zero costs no time, to extend does. */
	if (is_pinned(e, ir->dst) && ir->dst != ir->a && ir->dst != ir->b) {
		x64_zero(e->a, pinned(e, ir->dst));
		emit_compare(e);
		x64_setcc(e->a, (enum x64_cc)cc, pinned(e, ir->dst));
		return;
	}
	emit_compare(e);
	x64_setcc(e->a, (enum x64_cc)cc, X64_RAX);
	x64_movzx_rr(e->a, 1, emit_target(e, X64_RAX), X64_RAX);
	emit_keep(e, emit_target(e, X64_RAX));
}

/* a if cc holds of (a, b), else b */
static void choose(struct emit *e, unsigned cc)
{
	enum x64_reg b = emit_value(e, e->ir->b, X64_RCX);

	emit_copy(e, X64_RAX, e->ir->a);
	x64_alu_rr(e->a, X64_CMP, 8, X64_RAX, b);
	x64_cmov(e->a, x64_cc_negate((enum x64_cc)cc), 8, X64_RAX, b);
	emit_keep(e, X64_RAX);
}

static void if_zero(struct emit *e, unsigned zero_when)
{
	enum x64_reg b = emit_value(e, e->ir->b, X64_RCX);

	emit_copy(e, X64_RAX, e->ir->a);
	x64_mov_ri(e->a, X64_RDX, 0);
	x64_test_rr(e->a, 8, b, b);
	x64_cmov(e->a, (enum x64_cc)zero_when, 8, X64_RAX, X64_RDX);
	emit_keep(e, X64_RAX);
}

static void multiply(struct emit *e, unsigned unused)
{
	enum x64_reg reg = emit_target(e, X64_RAX);
	bool turned = b_in(e, reg);

	emit_copy(e, reg, turned ? e->ir->b : e->ir->a);
	x64_imul_rr(e->a, e->ir->size, reg, emit_value(e, turned ? e->ir->a : e->ir->b, X64_RCX));
	sign_extend_word(e, reg);
	emit_keep(e, reg);
	(void)unused;
}

static void multiply_high(struct emit *e, unsigned unused)
{
	enum x64_reg b = emit_value(e, e->ir->b, X64_RCX);

	emit_copy(e, X64_RAX, e->ir->a);
	if (e->ir->op == IR_MUL_HIGH)
		x64_imul1(e->a, 8, b);
	else
		x64_mul(e->a, 8, b);
	emit_keep(e, X64_RDX);
	(void)unused;
}

/* Division by zero gives all ones and the dividend; the one overflow (by -1) gives the negated dividend and 0. */
static void divide(struct emit *e, unsigned unused)
{
	const struct ir *ir = e->ir;
	bool is_signed = ir->op == IR_DIV || ir->op == IR_REM;
	bool remainder = ir->op == IR_REM || ir->op == IR_REM_UNSIGNED;
	uint8_t *to_zero, *to_minus = NULL, *done, *done_minus = NULL;
	struct x64 *a = e->a;

	emit_copy(e, X64_RCX, ir->b);
	emit_copy(e, X64_RAX, ir->a);
	x64_test_rr(a, ir->size, X64_RCX, X64_RCX);
	to_zero = x64_jcc_forward8(a, X64_E);
	if (is_signed) {
		x64_alu_ri(a, X64_CMP, ir->size, X64_RCX, -1);
		to_minus = x64_jcc_forward8(a, X64_E);
		if (ir->size == 8)
			x64_cqo(a);
		else
			x64_cdq(a);
		x64_idiv(a, ir->size, X64_RCX);
	} else {
		x64_zero(a, X64_RDX);
		x64_div(a, ir->size, X64_RCX);
	}
	if (remainder)
		x64_mov_rr(a, 8, X64_RAX, X64_RDX);
	done = x64_jmp_forward8(a);
	if (is_signed) {
		x64_patch_here8(a, to_minus);
		if (remainder)
			x64_zero(a, X64_RAX);
		else
			x64_neg(a, ir->size, X64_RAX);
		done_minus = x64_jmp_forward8(a);
	}
	x64_patch_here8(a, to_zero);
	if (!remainder)
		x64_mov_ri(a, X64_RAX, UINT64_MAX);
	x64_patch_here8(a, done);
	if (is_signed)
		x64_patch_here8(a, done_minus);
	sign_extend_word(e, X64_RAX);
	emit_keep(e, X64_RAX);
	(void)unused;
}

/* reg = the low word of a, shifted. */
static void shift_word(struct emit *e)
{
	enum x64_reg reg = emit_target(e, X64_RAX);

	x64_mov_rr(e->a, 4, reg, emit_value(e, e->ir->a, X64_RAX));
	if (e->ir->imm)
		x64_shift_ri(e->a, X64_SHL, 8, reg, (unsigned)e->ir->imm);
	emit_keep(e, reg);
}

static void shift_add(struct emit *e, unsigned unused)
{
	enum x64_reg reg = emit_target(e, X64_RAX), a, b;
	const struct ir *ir = e->ir;

	(void)unused;
	if (ir->b == IR_ZERO && ir->size == 4) {
		shift_word(e);
		return;
	}
	b = emit_value(e, ir->b, X64_RDX);
	a = emit_value(e, ir->a, X64_RAX);
	/* A 32-bit move clears the upper half. */
	if (ir->size == 4) {
		x64_mov_rr(e->a, 4, X64_RAX, a);
		a = X64_RAX;
		emit_forget(e);
	}
	x64_lea(e->a, 8, reg, x64_at_index(b, a, (uint8_t)(1u << ir->imm), 0));
	emit_keep(e, reg);
}

static void unary(struct emit *e, unsigned unused)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(e, X64_RAX), from = emit_value(e, ir->a, X64_RAX);

	switch (ir->op) {
	case IR_SIGN_EXTEND:
		x64_movsx_rr(e->a, ir->size, reg, from);
		break;
	case IR_ZERO_EXTEND:
		x64_movzx_rr(e->a, ir->size, reg, from);
		break;
	case IR_COUNT_LEADING:
		x64_lzcnt(e->a, ir->size, reg, from);
		break;
	case IR_COUNT_TRAILING:
		x64_tzcnt(e->a, ir->size, reg, from);
		break;
	case IR_COUNT_ONES:
		x64_popcnt(e->a, ir->size, reg, from);
		break;
	default:
		emit_copy(e, reg, ir->a);
		x64_bswap(e->a, 8, reg);
	}
	emit_keep(e, reg);
	(void)unused;
}

static void constant(struct emit *e, unsigned unused)
{
	enum x64_reg reg = emit_target(e, X64_RAX);
	int64_t imm = e->ir->imm;

	(void)unused;
	if (e->ir->op == IR_SET && imm == (int32_t)imm && !is_pinned(e, e->ir->dst) && e->ir->dst != IR_ZERO &&
	    !is_wanted(e)) {
		x64_store_i(e->a, 8, home(e->ir->dst), (int32_t)imm);
		return;
	}
	if (e->ir->op == IR_SET) {
		x64_mov_ri(e->a, reg, (uint64_t)e->ir->imm);
	} else {
		x64_load(e->a, 8, reg, x64_at(X64_RBP, FRAME_AT(page)));
		x64_alu_ri(e->a, X64_ADD, 8, reg, (int32_t)e->ir->imm);
	}
	emit_keep(e, reg);
}

static void pure(struct emit *e, unsigned unused)
{
	emit_copy(e, X64_RAX, e->ir->a);
	emit_copy(e, X64_RDX, e->ir->b);
	x64_mov_ri(e->a, X64_RCX, (uint64_t)(uintptr_t)e->ir->function);
	x64_call_rel32(e->a, e->runtime->pure);
	emit_keep(e, X64_RAX);
	(void)unused;
}

/* Each integer operation: its emitter, and the host operation or condition that the emitter is given. */
static const struct {
	void (*emit)(struct emit *e, unsigned with);
	unsigned with;
} table[] = {
	[IR_SET] = {constant, 0},
	[IR_HERE] = {constant, 0},
	[IR_ADD] = {alu, X64_ADD},
	[IR_SUB] = {alu, X64_SUB},
	[IR_AND] = {alu, X64_AND},
	[IR_OR] = {alu, X64_OR},
	[IR_XOR] = {alu, X64_XOR},
	[IR_ANDN] = {alu_not, X64_AND},
	[IR_ORN] = {alu_not, X64_OR},
	[IR_XNOR] = {alu_not, X64_XOR},
	[IR_SHL] = {shift, X64_SHL},
	[IR_SHR] = {shift, X64_SHR},
	[IR_SAR] = {shift, X64_SAR},
	[IR_ROL] = {shift, X64_ROL},
	[IR_ROR] = {shift, X64_ROR},
	[IR_LESS] = {less, X64_L},
	[IR_LESS_UNSIGNED] = {less, X64_B},
	[IR_MIN] = {choose, X64_L},
	[IR_MIN_UNSIGNED] = {choose, X64_B},
	[IR_MAX] = {choose, X64_G},
	[IR_MAX_UNSIGNED] = {choose, X64_A},
	[IR_IF_ZERO] = {if_zero, X64_E},
	[IR_IF_NOT_ZERO] = {if_zero, X64_NE},
	[IR_MUL] = {multiply, 0},
	[IR_MUL_HIGH] = {multiply_high, 0},
	[IR_MUL_HIGH_UNSIGNED] = {multiply_high, 0},
	[IR_DIV] = {divide, 0},
	[IR_DIV_UNSIGNED] = {divide, 0},
	[IR_REM] = {divide, 0},
	[IR_REM_UNSIGNED] = {divide, 0},
	[IR_SHIFT_ADD] = {shift_add, 0},
	[IR_SIGN_EXTEND] = {unary, 0},
	[IR_ZERO_EXTEND] = {unary, 0},
	[IR_COUNT_LEADING] = {unary, 0},
	[IR_COUNT_TRAILING] = {unary, 0},
	[IR_COUNT_ONES] = {unary, 0},
	[IR_SWAP_BYTES] = {unary, 0},
	[IR_PURE] = {pure, 0},
};

void emit_integer(struct emit *e)
{
	table[e->ir->op].emit(e, table[e->ir->op].with);
}
