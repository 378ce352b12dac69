#include "engine/translate/loops.h"

#include <string.h>

/* The pair of auipc and a jump is one jump, which nothing may lead into. */
static bool may_lead_to(const struct ir_unit *unit, unsigned i)
{
	return i == 0 || unit->ops[i - 1].op != IR_HERE;
}

static unsigned find_at(const struct ir_unit *unit, int64_t at)
{
	for (unsigned i = 0; i < unit->count; i++)
		if (unit->ops[i].at == at)
			return may_lead_to(unit, i) ? i + 1 : 0;
	return 0;
}

/* Branches within the unit. */
static void resolve_one(struct loops *l, struct ir_unit *unit, unsigned i)
{
	struct ir *ir = &unit->ops[i];
	unsigned to;

	ir->inside = (uint16_t)find_at(unit, ir->imm);
	if (!ir->inside)
		return;
	if (!unit->inside) {
		memset(l->first_from, 0, unit->count * sizeof l->first_from[0]);
		memset(l->last_from, 0, unit->count * sizeof l->last_from[0]);
		unit->inside = true;
	}
	to = ir->inside - 1u;
	unit->ops[to].label = true;
	unit->loops |= to <= i;
	if (to <= i)
		l->last_from[to] = (uint16_t)(i + 1);
	else if (!l->first_from[to])
		l->first_from[to] = (uint16_t)(i + 1);
}

static void resolve(struct loops *l, struct ir_unit *unit)
{
	int64_t end = unit->at + unit->bytes;

	for (unsigned i = 0; i < unit->count; i++) {
		const struct ir *ir = &unit->ops[i];

		if ((ir->op == IR_BRANCH || (ir->op == IR_JUMP && ir->dst == IR_ZERO)) && ir->imm >= unit->at &&
		    ir->imm < end)
			resolve_one(l, unit, i);
	}
}

/* A loop into whose end another one leads back from behind it lasts to the end of that one. */
static void entangle(struct loops *l, const struct ir_unit *unit)
{
	for (unsigned head = 0; head < unit->count; head++)
		for (unsigned i = head + 1; i < l->last_from[head]; i++)
			if (l->last_from[i] > l->last_from[head])
				l->last_from[head] = l->last_from[i];
}

void loops_find(struct loops *l, struct ir_unit *unit)
{
	unit->inside = unit->loops = false;
	resolve(l, unit);
	if (unit->loops)
		entangle(l, unit);
}

unsigned loops_ways_back(const struct ir_unit *unit, unsigned head)
{
	unsigned ways = 0;

	for (unsigned i = head; i < unit->count; i++)
		ways += unit->ops[i].inside == head + 1;
	return ways;
}

/* How far a base may move in one round of a loop for its group to walk: what leaves its page every few rounds is looked
 * up each time, which takes little more and is the same each time. */
#define STRIDE_MAX 128

uint32_t loops_walking(const struct ir_unit *unit, unsigned first, unsigned last)
{
	uint32_t set = UINT32_MAX, before;
	int64_t moved[IR_GLOBALS] = {0};

	for (unsigned i = first; i <= last; i++) {
		const struct ir *ir = &unit->ops[i];

		if (ir->op != IR_ADD || ir->b != IR_CONST || ir->dst >= IR_GLOBALS)
			continue;
		moved[ir->dst] += ir->imm < 0 ? -ir->imm : ir->imm;
		if (moved[ir->dst] > STRIDE_MAX)
			set &= ~(UINT32_C(1) << ir->dst);
	}

	do {
		before = set;
		for (unsigned i = first; i <= last; i++) {
			const struct ir *ir = &unit->ops[i];

			/* C may do what makes a page no longer good. */
			if (ir->op == IR_CALL_C)
				return 0;
			if (ir_writes_global(ir) && !(ir->op == IR_ADD && ir->size == 8 && ir->b == IR_CONST &&
						      ir->a < IR_GLOBALS && set >> ir->a & 1))
				set &= ~(UINT32_C(1) << ir->dst);
		}
	} while (set != before);
	return set;
}

void loops_stillness(struct loops *l, const struct ir_unit *unit)
{
	memset(l->still, 0, unit->count * sizeof l->still[0]);
	for (unsigned i = 0; i < unit->count; i++) {
		unsigned to = unit->ops[i].inside;
		uint32_t set = to && to - 1 <= i ? UINT32_MAX : 0;

		for (unsigned j = to - 1; set && j <= i; j++) {
			if (unit->ops[j].op == IR_CALL_C)
				set = 0;
			else if (ir_writes_global(&unit->ops[j]))
				set &= ~(UINT32_C(1) << unit->ops[j].dst);
		}
		for (unsigned j = to - 1; set && j <= i; j++)
			l->still[j] |= set;
	}
}
