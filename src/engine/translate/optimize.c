/*
 * Groups of accesses: globals are followed as sums of an unknown root and a known distance.
 */
#include "engine/translate/optimize.h"

struct sum {
	uint16_t root;
	int32_t distance;
};

struct group {
	uint16_t root;
	uint16_t leader, members;
	int32_t low, high; /* the span, from the root */
	bool store;
};

struct pass {
	struct ir_unit *unit;
	struct sum sums[IR_GLOBALS];
	uint16_t roots;
	struct group groups[IR_GROUPS + 1]; /* from 1 on */
	unsigned count;
	unsigned first; /* groups before this one are closed */
	int32_t places[UNIT_OPS]; /* of grouped accesses, from the root */
};

#define DISTANCE_MAX (1 << 20)

static void fresh(struct pass *p, unsigned global)
{
	p->sums[global] = (struct sum){.root = p->roots++};
}

static void all_fresh(struct pass *p)
{
	for (unsigned i = 0; i < IR_GLOBALS; i++)
		fresh(p, i);
	p->first = p->count + 1;
}

bool ir_writes_global(const struct ir *ir)
{
	if (ir->dst >= IR_GLOBALS)
		return false;
	if (ir->op < IR_STORE)
		return true;
	if (ir->op >= IR_ATOMIC_SWAP && ir->op <= IR_STORE_CONDITIONAL)
		return true;
	return (ir->op >= IR_FLOAT_EQUAL && ir->op <= IR_FLOAT_TO_BITS) || ir->op == IR_FLOAT_TO_INT ||
	       ir->op == IR_FLAGS_READ || ir->op >= IR_JUMP;
}

static bool is_access(const struct ir *ir)
{
	return ir->op >= IR_LOAD && ir->op <= IR_FLOAT_STORE && ir->a < IR_GLOBALS;
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t greatest(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

/* The group that an access joins, or 0. */
static unsigned find(const struct pass *p, unsigned root, bool store, int32_t low, int32_t high)
{
	for (unsigned i = p->count; i >= p->first; i--) {
		const struct group *g = &p->groups[i];

		if (g->root == root && (g->store || !store) &&
		    greatest(g->high, high) - least(g->low, low) <= OPTIMIZE_SPAN)
			return i;
	}
	return 0;
}

static void place(struct pass *p, struct ir *ir)
{
	bool store = ir->op == IR_STORE || ir->op == IR_FLOAT_STORE;
	struct sum base = p->sums[ir->a];
	int32_t low = base.distance + (int32_t)ir->imm, high = low + ir->size;
	unsigned i = find(p, base.root, store, low, high);

	if (!i) {
		if (p->count == IR_GROUPS)
			return;
		i = ++p->count;
		p->groups[i] = (struct group){.root = base.root,
					      .leader = (uint16_t)(ir - p->unit->ops),
					      .low = low,
					      .high = high,
					      .store = store};
	}
	p->groups[i].low = least(p->groups[i].low, low);
	p->groups[i].high = greatest(p->groups[i].high, high);
	p->groups[i].members++;
	ir->group = (uint8_t)i;
	p->places[ir - p->unit->ops] = low;
}

static void follow(struct pass *p, const struct ir *ir)
{
	if (ir->op == IR_ADD && ir->size == 8 && ir->b == IR_CONST && ir->a < IR_GLOBALS) {
		struct sum sum = p->sums[ir->a];
		int64_t distance = sum.distance + ir->imm;

		if (distance > -DISTANCE_MAX && distance < DISTANCE_MAX) {
			sum.distance = (int32_t)distance;
			p->sums[ir->dst] = sum;
			return;
		}
	}
	fresh(p, ir->dst);
}

/* What is alone in its group is in none. */
static void settle(struct pass *p, unsigned i)
{
	struct ir *ir = &p->unit->ops[i];
	const struct group *g = &p->groups[ir->group];

	if (g->members == 1) {
		ir->group = 0;
		return;
	}
	ir->leads = g->leader == i;
	ir->low = (uint16_t)(p->places[i] - g->low);
	ir->span = (uint16_t)(g->high - g->low);
}

void optimize(struct ir_unit *unit)
{
	struct pass p;

	p.unit = unit;
	p.roots = 0;
	p.count = 0;
	all_fresh(&p);
	for (unsigned i = 0; i < unit->count; i++) {
		struct ir *ir = &unit->ops[i];

		if (is_access(ir))
			place(&p, ir);
		if (ir->op == IR_CALL_C)
			all_fresh(&p);
		else if (ir_writes_global(ir))
			follow(&p, ir);
	}
	for (unsigned i = 0; i < unit->count; i++)
		if (unit->ops[i].group)
			settle(&p, i);
}
