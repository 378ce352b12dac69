/* Floats between reading and writing the float flags, which need raise none. */
#include "engine/translate/optimize_private.h"

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

void optimize_quiet(struct ir_unit *unit, unsigned write)
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
