/* Pairs of operations that are one. */
#include <string.h>

#include "engine/translate/optimize_private.h"
#include "memory/memory.h"

struct forward {
	struct ir_unit *unit;
	uint16_t made[IR_GLOBALS]; /* 1 + the operation that made the present value, since the last label; or 0 */
	uint32_t words;            /* globals known to hold sign-extended words, since the last label */
};

static bool is_const(const struct ir *ir, enum ir_op op, unsigned size)
{
	return ir->op == op && ir->size == size && ir->b == IR_CONST && ir->a < IR_GLOBALS;
}

/* The operation that made operand `global`, if what it was made from is still as it was. */
static const struct ir *maker(const struct forward *f, unsigned global)
{
	const struct ir *ir;

	if (global >= IR_GLOBALS || !f->made[global])
		return NULL;
	ir = &f->unit->ops[f->made[global] - 1];
	if (ir->a < IR_GLOBALS && f->made[ir->a] >= f->made[global])
		return NULL;
	return ir;
}

static void set(struct ir *ir, int64_t value)
{
	ir->op = IR_SET;
	ir->size = 8;
	ir->imm = value;
	ir->a = ir->b = IR_ZERO;
}

/* Instructions that assemblers write for moves, constants and extensions. */
static void alone(struct ir *ir)
{
	if (ir->op == IR_ADD && ir->a == IR_ZERO && ir->b < IR_GLOBALS) {
		ir->a = ir->b;
		ir->b = IR_CONST;
		ir->imm = 0;
	} else if ((ir->op == IR_ADD || ir->op == IR_OR || ir->op == IR_XOR) && ir->a == IR_ZERO && ir->b == IR_CONST) {
		set(ir, ir->imm);
	}
	if (ir->op == IR_ADD && ir->size == 4 && ir->b == IR_CONST && ir->imm == 0) {
		ir->op = IR_SIGN_EXTEND;
		ir->b = IR_ZERO;
	}
	if (ir->op == IR_AND && ir->b == IR_CONST && (ir->imm == UINT8_MAX || ir->imm == UINT16_MAX)) {
		ir->op = IR_ZERO_EXTEND;
		ir->size = ir->imm == UINT8_MAX ? 1 : 2;
		ir->b = IR_ZERO;
	}
}

/* A constant, or an address of the page, plus a constant. */
static void constants(const struct forward *f, struct ir *ir)
{
	const struct ir *from = ir->op == IR_ADD && ir->b == IR_CONST ? maker(f, ir->a) : NULL;
	uint64_t value;

	if (from && from->op == IR_SET) {
		value = (uint64_t)from->imm + (uint64_t)ir->imm;
		set(ir, ir->size == 4 ? (int32_t)value : (int64_t)value);
	} else if (from && from->op == IR_HERE && ir->size == 8 && from->imm + ir->imm == (int32_t)(from->imm + ir->imm)) {
		set(ir, from->imm + ir->imm);
		ir->op = IR_HERE;
	}
}

/* How far from its page a unit accesses a known place. */
#define ACCESS_MAX (1 << 30)

/* An access at a known place: whoever wants the base's register makes it. */
static void access(const struct forward *f, struct ir *ir)
{
	const struct ir *from = maker(f, ir->a);
	int64_t at = from ? from->imm + ir->imm : 0;

	if (!from || from->op != IR_HERE || at < -ACCESS_MAX || at > ACCESS_MAX ||
	    at >> GUEST_PAGE_SHIFT != (at + ir->size - 1) >> GUEST_PAGE_SHIFT)
		return;
	ir->a = IR_PAGE;
	ir->imm = at;
}

/* Whether nothing between two operations writes a global; `alone`: nor reads it, nor may have to show it. */
static bool is_left(const struct ir *from, const struct ir *to, unsigned global, bool alone)
{
	for (const struct ir *ir = from + 1; ir < to; ir++) {
		bool reads = (ir_reads_a(ir) && ir->a == global) || (ir_reads_b(ir) && ir->b == global);

		if ((ir_writes_global(ir) && ir->dst == global) || (alone && (reads || ir->op >= IR_LOAD)))
			return false;
	}
	return true;
}

/* Has the operation that made operand `global` of `ir` done as part of `ir`, which reads what that one was made from: if
 * it is still there, or if that one overwrites it in a register that `ir` writes and nobody looks at in between. */
static bool takes_in(const struct forward *f, const struct ir *ir, unsigned global, struct ir *from)
{
	if (maker(f, global) == from)
		return true;
	if (from->a != global || ir->dst != global || !is_left(from, ir, global, true))
		return false;
	from->dst = IR_ZERO;
	return true;
}

/* The operation that made operand `global`, if it is known. */
static struct ir *made(const struct forward *f, unsigned global)
{
	return global < IR_GLOBALS && f->made[global] ? &f->unit->ops[f->made[global] - 1] : NULL;
}

/* The greatest shift of an index that is part of a sum. */
#define INDEX_SHIFT 3

/* Shifts left and right by as much are an extension; by somewhat less to the right, they are that and a shift left. */
static void extension(const struct forward *f, struct ir *ir)
{
	struct ir *from = is_const(ir, IR_SHR, 8) ? made(f, ir->a) : NULL;
	bool shifted;

	if (!from || !is_const(from, IR_SHL, 8))
		return;
	shifted = from->imm == 32 && ir->imm < 32 && ir->imm >= 32 - INDEX_SHIFT;
	if (!shifted && (from->imm != ir->imm || (ir->imm != 32 && ir->imm != 48)))
		return;
	if (!takes_in(f, ir, ir->a, from))
		return;
	ir->a = from->a;
	ir->b = IR_ZERO;
	if (shifted) {
		ir->op = IR_SHIFT_ADD;
		ir->size = 4;
		ir->imm = 32 - ir->imm;
	} else {
		ir->op = IR_ZERO_EXTEND;
		ir->size = (uint8_t)((64 - ir->imm) / 8);
	}
}

static bool is_index(const struct ir *ir)
{
	return (is_const(ir, IR_SHL, 8) && ir->imm > 0 && ir->imm <= INDEX_SHIFT) ||
	       (ir->op == IR_SHIFT_ADD && ir->b == IR_ZERO && ir->a < IR_GLOBALS);
}

/* An index that was shifted into the register where its sum with an array's place goes. */
static bool indexed(const struct forward *f, struct ir *ir, unsigned index, unsigned place)
{
	struct ir *from = made(f, index);

	if (!from || ir->dst != index || !is_index(from) || !takes_in(f, ir, index, from))
		return false;
	ir->op = IR_SHIFT_ADD;
	ir->size = from->size;
	ir->imm = from->imm;
	ir->a = from->a;
	ir->b = (uint8_t)place;
	return true;
}

static void element(const struct forward *f, struct ir *ir)
{
	unsigned a = ir->a, b = ir->b;

	if (ir->op == IR_ADD && ir->size == 8 && a < IR_GLOBALS && b < IR_GLOBALS && a != b && !indexed(f, ir, a, b))
		indexed(f, ir, b, a);
}

/* Whether the two shift one value by constants that fill a word between them: how far right; or 0. */
static int64_t fill_word(const struct ir *left, const struct ir *right)
{
	if (left->op == IR_SHR) {
		const struct ir *other = left;

		left = right;
		right = other;
	}
	if (!is_const(left, IR_SHL, left->size) || !is_const(right, IR_SHR, left->size) || left->a != right->a ||
	    left->imm + right->imm != left->size * 8)
		return 0;
	return right->imm;
}

static bool puts_together(const struct ir *ir)
{
	return (ir->op == IR_OR || ir->op == IR_XOR || ir->op == IR_ADD) && ir->a < IR_GLOBALS && ir->b < IR_GLOBALS;
}

static void rotate(struct ir *ir, const struct ir *shift, int64_t count)
{
	ir->op = IR_ROR;
	ir->size = shift->size;
	ir->a = shift->a;
	ir->b = IR_CONST;
	ir->imm = count;
}

/* Two shifts of one value that fill a word between them, put together, are a rotation. */
static void rotation(const struct forward *f, struct ir *ir)
{
	const struct ir *one, *other;
	int64_t count;

	if (!puts_together(ir))
		return;
	one = maker(f, ir->a);
	other = maker(f, ir->b);
	count = one && other ? fill_word(one, other) : 0;
	if (count && !(one->size == 8 && ir->size == 4))
		rotate(ir, one, count);
}

/* The same where the second shift has overwritten the value: the shift in whose place the result goes rotates, and what
 * puts them together goes. In between nobody looks. */
static void rotation_in_place(const struct forward *f, struct ir *ir)
{
	struct ir *first, *second, *place;
	int64_t count;

	if (!puts_together(ir) || ir->a == ir->b)
		return;
	first = made(f, ir->a);
	second = made(f, ir->b);
	if (!first || !second)
		return;
	if (first > second) {
		place = first;
		first = second;
		second = place;
	}
	count = fill_word(first, second);
	if (!count || second->dst != second->a || (first->size == 8 && ir->size == 4) ||
	    !is_left(first, second, second->a, false))
		return;
	place = ir->dst == first->dst ? first : second;
	if (ir->dst != place->dst || !is_left(place, ir, place->dst, true))
		return;
	rotate(place, place, count);
	set(ir, 0);
	ir->dst = IR_ZERO;
}

static bool is_copy(const struct ir *ir)
{
	return ir->op == IR_ADD && ir->size == 8 && ir->b == IR_CONST && ir->imm == 0;
}

static bool holds_word(const struct forward *f, const struct ir *ir, unsigned operand)
{
	if (operand == IR_CONST)
		return ir->imm == (int32_t)ir->imm;
	return operand == IR_ZERO || (operand < IR_GLOBALS && (f->words >> operand & 1));
}

/* A word that is extended already is copied. */
static void extended(const struct forward *f, struct ir *ir)
{
	if (ir->op != IR_SIGN_EXTEND || ir->size != 4 || ir->a >= IR_GLOBALS || !holds_word(f, ir, ir->a))
		return;
	ir->op = IR_ADD;
	ir->size = 8;
	ir->b = IR_CONST;
	ir->imm = 0;
}

/* Whether the result is a sign-extended word. */
static bool makes_word(const struct forward *f, const struct ir *ir)
{
	switch (ir->op) {
	case IR_SET:
		return ir->imm == (int32_t)ir->imm;
	case IR_AND:
		if (ir->b == IR_CONST && ir->imm >= 0 && ir->imm <= INT32_MAX)
			return true;
		return holds_word(f, ir, ir->a) && holds_word(f, ir, ir->b);
	case IR_OR:
	case IR_XOR:
		return holds_word(f, ir, ir->a) && holds_word(f, ir, ir->b);
	case IR_ZERO_EXTEND:
		return ir->size <= 2;
	case IR_LESS:
	case IR_LESS_UNSIGNED:
		return true;
	case IR_ADD:
		return ir->size == 4 || (is_copy(ir) && holds_word(f, ir, ir->a));
	case IR_SUB:
	case IR_SHL:
	case IR_SHR:
	case IR_SAR:
	case IR_ROL:
	case IR_ROR:
	case IR_MUL:
		return ir->size == 4;
	case IR_SIGN_EXTEND:
		return true;
	case IR_LOAD:
		return ir->is_signed ? ir->size <= 4 : ir->size <= 2;
	default:
		return false;
	}
}

static void of_sums(const struct forward *f, struct ir *ir)
{
	alone(ir);
	constants(f, ir);
	if (puts_together(ir)) {
		element(f, ir);
		rotation(f, ir);
		rotation_in_place(f, ir);
	}
	extended(f, ir);
}

/* Only what may be part of something is looked at. */
static void with_those_before(const struct forward *f, struct ir *ir)
{
	switch (ir->op) {
	case IR_ADD:
	case IR_OR:
	case IR_XOR:
		of_sums(f, ir);
		break;
	case IR_AND:
		alone(ir);
		break;
	case IR_SHR:
		extension(f, ir);
		break;
	case IR_SIGN_EXTEND:
		extended(f, ir);
		break;
	case IR_LOAD:
	case IR_STORE:
	case IR_FLOAT_LOAD:
	case IR_FLOAT_STORE:
		access(f, ir);
		break;
	case IR_FLAGS_WRITE:
		optimize_quiet(f->unit, (unsigned)(ir - f->unit->ops));
		break;
	default:
		break;
	}
}

void simplify(struct ir_unit *unit)
{
	struct forward f = {.unit = unit};

	for (unsigned i = 0; i < unit->count; i++) {
		struct ir *ir = &unit->ops[i];

		if (ir->label || ir->op == IR_CALL_C) {
			memset(f.made, 0, sizeof f.made);
			f.words = 0;
		}
		with_those_before(&f, ir);
		ir->is_word = makes_word(&f, ir);
		if (ir_writes_global(ir)) {
			f.made[ir->dst] = (uint16_t)(i + 1);
			f.words = (f.words & ~(UINT32_C(1) << ir->dst)) | (uint32_t)ir->is_word << ir->dst;
		}
	}
}
