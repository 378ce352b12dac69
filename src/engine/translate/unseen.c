/*
 * Operations whose result nobody sees.
 *
 * A result that is overwritten before it is read is not computed. Where loads, stores or ways out lie in between, which
 * may have to show it, the operation is `late`: only the code off the hot path does it. A result of which only the low word
 * is read is `narrow` in the same way: that code extends its sign.
 */
#include <string.h>

#include "engine/translate/optimize_private.h"

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

void optimize_unseen(struct ir_unit *unit)
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
