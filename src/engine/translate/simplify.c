/*
 * Simplification: pairs of operations that are one, and operations whose result nobody sees.
 *
 * A result that is overwritten before it is read is not computed. Where loads, stores or ways out lie in between, which
 * may have to show it, the operation is `late`: only the code off the hot path does it. A result of which only the low word
 * is read is `narrow` in the same way: that code extends its sign.
 */
#include <string.h>

#include "engine/translate/optimize.h"
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

/* Looks back from an operation that writes the float flags for the one that read them. */
struct between {
	unsigned flags;   /* the global that they are in */
	uint32_t singles; /* floats that must be known to be boxed for want of a way out */
	bool ways_out;    /* there is one behind, from where it must be seen what was raised */
};

static uint32_t single(const struct ir *ir, unsigned number)
{
	return ir->size == 4 ? UINT32_C(1) << number : 0;
}

/* The operation makes a float: boxed, if it is a single. */
static void made_between(struct between *b, const struct ir *ir)
{
	if (ir->size == 8 && b->singles >> ir->dst & 1)
		b->ways_out = true;
	b->singles &= ~single(ir, ir->dst);
}

/* Rounding to an integer raises nothing: it may be the last from which the unit is left, but for an integer that does not
 * fit a float and raises the same. */
static bool may_round_between(struct between *b, const struct ir *ir)
{
	b->singles &= ~single(ir, ir->a);
	if (b->ways_out || b->singles)
		return false;
	b->ways_out = true;
	return true;
}

/* Whether what lies between may hold this operation, so that nothing is raised unless the unit is left. */
static bool may_be_between(struct between *b, const struct ir *ir)
{
	switch (ir->op) {
	case IR_FLOAT_EQUAL:
	case IR_FLOAT_LESS:
	case IR_FLOAT_LESS_EQUAL:
	case IR_LOAD:
	case IR_STORE:
	case IR_FLOAT_LOAD:
	case IR_FLOAT_STORE:
	case IR_BRANCH:
		b->ways_out = true;
		return true;
	case IR_FLOAT_SIGN:
		made_between(b, ir);
		b->singles |= single(ir, ir->a) | single(ir, ir->b);
		return true;
	case IR_FLOAT_FROM_INT:
		made_between(b, ir);
		return true;
	case IR_FLOAT_TO_INT:
		return may_round_between(b, ir);
	default:
		return ir->op < IR_PURE;
	}
}

static bool compares_or_converts(const struct ir *ir)
{
	return (ir->op >= IR_FLOAT_EQUAL && ir->op <= IR_FLOAT_LESS_EQUAL) || ir->op == IR_FLOAT_FROM_INT ||
	       ir->op == IR_FLOAT_TO_INT;
}

/* Compilers and libraries put what must not raise flags between reading and writing them. */
static void quiet(struct ir_unit *unit, unsigned write)
{
	struct between b = {.flags = unit->ops[write].a};
	unsigned i = write;

	if (b.flags >= IR_GLOBALS)
		return;
	do {
		if (i == 0 || unit->ops[i].label)
			return;
		i--;
		if (unit->ops[i].op == IR_FLAGS_READ && unit->ops[i].dst == b.flags)
			break;
		if ((ir_writes_global(&unit->ops[i]) && unit->ops[i].dst == b.flags) ||
		    !may_be_between(&b, &unit->ops[i]))
			return;
	} while (true);
	unit->ops[write].quiet = true;
	while (++i < write)
		unit->ops[i].quiet = compares_or_converts(&unit->ops[i]);
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
		quiet(f->unit, (unsigned)(ir - f->unit->ops));
		break;
	default:
		break;
	}
}

static void together(struct ir_unit *unit)
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

/* What lies behind the operation looked at, up to the next barrier. All counted from 1; 0: none. */
struct behind {
	uint16_t over[IR_GLOBALS];  /* overwrites the global before anybody reads it */
	uint16_t write[IR_GLOBALS]; /* writes it */
	uint16_t narrow[IR_GLOBALS]; /* overwrites it before anybody reads more of it than its low word */
	uint16_t exit;              /* may have to show all globals */
};

static bool may_wait(const struct ir *ir)
{
	unsigned traits = ir_traits[ir->op];

	return (traits & IR_MAY_WAIT) || ((traits & IR_MAY_WAIT_CONST) && ir->b == IR_CONST);
}

static bool is_kept(const struct behind *b, unsigned input, const struct ir *ir, unsigned until)
{
	return input >= IR_GLOBALS || (input != ir->dst && (!b->write[input] || b->write[input] >= until));
}

/* Nothing is left out across these. */
static bool is_barrier(const struct ir_unit *unit, const struct ir *ir)
{
	if (ir->op == IR_BRANCH)
		return ir->inside || ir->before + 1u == unit->instructions;
	return ir->op == IR_PURE || ir->op > IR_FLOAT_STORE;
}

static bool is_of_words(const struct ir *ir)
{
	unsigned wanted = IR_OF_WORDS | (ir->size == 4 ? IR_OF_WORDS_4 : 0) | (ir->narrow ? IR_OF_WORDS_NARROW : 0);

	return ir_traits[ir->op] & wanted;
}

/* Whether the upper half of a result may be anything for a while: who looks all the same extends the word's sign. */
static bool may_be_narrow(const struct ir *ir)
{
	if (!ir->is_word)
		return false;
	return (ir->op >= IR_ADD && ir->op <= IR_XOR) ||
	       (ir->size == 4 && ir->b == IR_CONST && (ir->op == IR_SHL || ir->op == IR_ROR));
}

/* The operation reads a global. */
static void reads(struct behind *b, unsigned global, bool low_word)
{
	b->over[global] = 0;
	if (!low_word)
		b->narrow[global] = 0;
}

static void look(struct ir_unit *unit, struct behind *b, unsigned i)
{
	struct ir *ir = &unit->ops[i];
	bool writes = ir_writes_global(ir), words;
	unsigned over = writes ? b->over[ir->dst] : 0;

	if (over && may_wait(ir)) {
		if (!b->exit || b->exit > over)
			ir->dst = IR_ZERO;
		else if (is_kept(b, ir->a, ir, over) && is_kept(b, ir->b, ir, over))
			ir->late = (uint16_t)over;
	}
	if (ir->op < IR_LOAD && ir->dst == IR_ZERO)
		return;
	if (writes && !ir->late && may_be_narrow(ir))
		ir->narrow = b->narrow[ir->dst];
	words = !ir->late && is_of_words(ir);
	if (writes)
		b->over[ir->dst] = b->write[ir->dst] = b->narrow[ir->dst] = (uint16_t)(i + 1);
	if (ir_reads_a(ir))
		reads(b, ir->a, words);
	if (ir_reads_b(ir))
		reads(b, ir->b, words || (ir->op == IR_STORE && ir->size <= 4));
	if (ir->op >= IR_LOAD)
		b->exit = (uint16_t)(i + 1);
}

static void unseen(struct ir_unit *unit)
{
	struct behind b = {.exit = 0};
	bool empty = true;

	for (unsigned i = unit->count; i-- > 0;) {
		bool barrier = is_barrier(unit, &unit->ops[i]);

		if (!barrier)
			look(unit, &b, i);
		empty &= barrier;
		if (empty || !(barrier || unit->ops[i].label))
			continue;
		memset(&b, 0, sizeof b);
		empty = true;
	}
}

void simplify(struct ir_unit *unit)
{
	together(unit);
	unseen(unit);
}
