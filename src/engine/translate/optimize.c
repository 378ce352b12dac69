/*
 * Groups of accesses: globals are followed as sums of an unknown root and a known distance.
 */
#include "engine/translate/optimize.h"

#include <string.h>

#include "memory/memory.h"

/* A value: at least `distance` from the root, and by at most `range` more. */
struct sum {
	uint16_t root;
	uint16_t range;
	int32_t distance;
};

struct group {
	uint16_t root;
	uint16_t leader, members;
	int32_t low, high; /* the span, from the root */
	int32_t from_distance; /* of `from`, from the root */
	uint8_t from; /* a global that says where the group lies */
	bool store;
	bool ranged;
	bool closed; /* a way leads round the leader */
};

struct pass {
	struct ir_unit *unit;
	struct sum sums[IR_GLOBALS];
	uint16_t roots;
	struct group groups[IR_GROUPS + 1]; /* from 1 on */
	unsigned count;
	unsigned first; /* groups before this one are closed */
	unsigned straight; /* loads from this operation on may lead a store here */
	unsigned loop;  /* up to this operation it is a loop */
	int32_t places[UNIT_OPS]; /* of grouped accesses, from the root */
	bool walks[IR_GROUPS + 1];
	/* Of operations that branches of the unit lead to: the first from before, the last from behind; and where
	 * each global was written last. Counted from 1; 0: none. */
	uint16_t first_from[UNIT_OPS], last_from[UNIT_OPS];
	uint16_t written[IR_GLOBALS];
};

#define DISTANCE_MAX (1 << 20)
#define ROOT_PAGE    0 /* of addresses of code and what lies at a known distance from it: the page's start */
#define ROOT_ZERO    1 /* of small numbers */
#define PAGE_DISTANCE_MAX (INT32_MAX - DISTANCE_MAX)
#define RANGE_MAX    128 /* from here on a number is not small, and what it is added to has no known place */

static void fresh(struct pass *p, unsigned global)
{
	p->sums[global] = (struct sum){.root = p->roots++};
}

static void all_fresh(struct pass *p)
{
	for (unsigned i = 0; i < IR_GLOBALS; i++)
		p->sums[i] = (struct sum){.root = (uint16_t)(p->roots + i)};
	p->roots = (uint16_t)(p->roots + IR_GLOBALS);
	p->first = p->count + 1;
}

const uint8_t ir_traits[UINT8_MAX + 1] = {
	[IR_SET ... IR_LOAD] = IR_READS_A | IR_READS_B | IR_WRITES,
	[IR_STORE] = IR_READS_A | IR_READS_B,
	[IR_FLOAT_LOAD ... IR_FLOAT_STORE] = IR_READS_A,
	[IR_ATOMIC_SWAP ... IR_STORE_CONDITIONAL] = IR_READS_A | IR_READS_B | IR_WRITES,
	[IR_FLOAT_EQUAL ... IR_FLOAT_TO_BITS] = IR_WRITES,
	[IR_BITS_TO_FLOAT ... IR_FLOAT_FROM_INT] = IR_READS_A,
	[IR_FLOAT_TO_INT ... IR_FLAGS_READ] = IR_WRITES,
	[IR_FLAGS_WRITE] = IR_READS_A,
	[IR_ROUNDING_READ] = IR_WRITES,
	[IR_BRANCH] = IR_READS_A | IR_READS_B,
	[IR_JUMP ... IR_CALL] = IR_WRITES,
	[IR_JUMP_TO ... IR_RETURN_TO] = IR_READS_A | IR_WRITES,
	[IR_CALL_C ... IR_LEAVE] = IR_WRITES,
};

static bool is_access(const struct ir *ir)
{
	return ir->op >= IR_LOAD && ir->op <= IR_FLOAT_STORE && (ir->a < IR_GLOBALS || ir->a == IR_PAGE);
}

static struct sum sum_at(const struct pass *p, unsigned global)
{
	return global == IR_PAGE ? (struct sum){.root = ROOT_PAGE} : p->sums[global];
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t greatest(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

/* Whether a group of `root` may reach that far. What lies at a known place is known to lie in one page, or in two. */
static bool may_span(unsigned root, int32_t low, int32_t high)
{
	if (root == ROOT_PAGE && low >> GUEST_PAGE_SHIFT != (high - 1) >> GUEST_PAGE_SHIFT)
		return false;
	return (int64_t)high - low <= OPTIMIZE_SPAN;
}

/* The group that an access joins, or 0. */
static unsigned find(const struct pass *p, unsigned root, bool store, int32_t low, int32_t high)
{
	for (unsigned i = p->count; i >= p->first; i--) {
		const struct group *g = &p->groups[i];

		if (!g->closed && g->root == root && (g->store || !store || g->leader >= p->straight) &&
		    may_span(root, least(g->low, low), greatest(g->high, high)))
			return i;
	}
	return 0;
}

/* Whether a global's register says where a group of that root lies: late and narrow results are not there. */
static bool tells(const struct pass *p, unsigned global, struct sum of)
{
	const struct ir *made = p->written[global] ? &p->unit->ops[p->written[global] - 1] : NULL;
	struct sum sum = p->sums[global];
	int64_t away = (int64_t)of.distance - sum.distance;

	return sum.root == of.root && !sum.range && away > -DISTANCE_MAX && away < DISTANCE_MAX &&
	       !(made && (made->late || made->narrow));
}

/* A global, or IR_PAGE, from which a group can be checked that an access leads; IR_GLOBALS: there is none. */
static unsigned teller(const struct pass *p, unsigned base)
{
	unsigned global = 0;

	if (!sum_at(p, base).range)
		return base;
	while (global < IR_GLOBALS && !tells(p, global, p->sums[base]))
		global++;
	return global;
}

static void place(struct pass *p, struct ir *ir)
{
	bool store = ir->op == IR_STORE || ir->op == IR_FLOAT_STORE;
	struct sum base = sum_at(p, ir->a);
	int32_t low = base.distance + (int32_t)ir->imm, high = low + base.range + ir->size;
	unsigned i = find(p, base.root, store, low, high);

	if (!i) {
		unsigned from = teller(p, ir->a);

		if (p->count == IR_GROUPS || from == IR_GLOBALS || !may_span(base.root, low, high))
			return;
		i = ++p->count;
		p->groups[i] = (struct group){.root = base.root,
					      .leader = (uint16_t)(ir - p->unit->ops),
					      .low = low,
					      .high = high,
					      .from = (uint8_t)from,
					      .from_distance = sum_at(p, from).distance,
					      .store = store};
	}
	p->groups[i].ranged |= base.range != 0;
	p->groups[i].low = least(p->groups[i].low, low);
	p->groups[i].high = greatest(p->groups[i].high, high);
	p->groups[i].members++;
	p->groups[i].store |= store;
	ir->group = (uint8_t)i;
	p->places[ir - p->unit->ops] = low;
}

static struct sum number(uint64_t most)
{
	return (struct sum){.root = ROOT_ZERO, .range = (uint16_t)(most < RANGE_MAX ? most : RANGE_MAX)};
}

/* A small number, if the operation makes one; else its range is RANGE_MAX. */
static struct sum small(const struct pass *p, const struct ir *ir)
{
	bool constant = ir->b == IR_CONST;
	struct sum a = ir->a < IR_GLOBALS ? p->sums[ir->a] : number(RANGE_MAX);

	if (ir->op == IR_AND && constant && ir->imm >= 0)
		return number((uint64_t)ir->imm);
	if (ir->op == IR_SHR && constant && ir->imm > 0)
		return number(UINT64_MAX >> (64 - ir->size * 8 + ir->imm));
	if (ir->op == IR_SHL && constant && ir->size == 8 && a.root == ROOT_ZERO && !a.distance && ir->imm < 16)
		return number((uint64_t)a.range << ir->imm);
	return number(RANGE_MAX);
}

/* An element of a small array: its place and a small number that is shifted. */
static struct sum element(const struct pass *p, const struct ir *ir)
{
	struct sum index = ir->a < IR_GLOBALS ? p->sums[ir->a] : number(RANGE_MAX), sum;
	unsigned range = (unsigned)index.range << ir->imm;

	if (ir->size != 8 || ir->b >= IR_GLOBALS || index.root != ROOT_ZERO || index.distance)
		return number(RANGE_MAX);
	sum = p->sums[ir->b];
	if (sum.range + range >= RANGE_MAX)
		return number(RANGE_MAX);
	sum.range = (uint16_t)(sum.range + range);
	return sum;
}

/* A value plus a constant or a small number; else its range is RANGE_MAX. */
static struct sum sum_of(const struct pass *p, const struct ir *ir)
{
	struct sum a, b = {.root = ROOT_ZERO};
	int64_t distance, most;

	if (ir->op == IR_SHIFT_ADD)
		return element(p, ir);
	if (ir->op != IR_ADD || ir->size != 8 || ir->a >= IR_GLOBALS || (ir->b >= IR_GLOBALS && ir->b != IR_CONST))
		return number(RANGE_MAX);
	a = p->sums[ir->a];
	if (ir->b != IR_CONST)
		b = p->sums[ir->b];
	if (a.root == ROOT_ZERO && ir->b != IR_CONST) {
		b = a;
		a = p->sums[ir->b];
	}
	distance = (int64_t)a.distance + b.distance + (ir->b == IR_CONST ? ir->imm : 0);
	most = a.root == ROOT_PAGE ? PAGE_DISTANCE_MAX : DISTANCE_MAX;
	if (b.root != ROOT_ZERO || a.range + b.range >= RANGE_MAX || distance <= -most || distance >= most)
		return number(RANGE_MAX);
	return (struct sum){.root = a.root, .range = (uint16_t)(a.range + b.range), .distance = (int32_t)distance};
}

static struct sum here(const struct ir *ir)
{
	if (ir->imm <= -PAGE_DISTANCE_MAX || ir->imm >= PAGE_DISTANCE_MAX)
		return number(RANGE_MAX);
	return (struct sum){.root = ROOT_PAGE, .distance = (int32_t)ir->imm};
}

static void follow(struct pass *p, const struct ir *ir)
{
	struct sum sum;

	switch (ir->op) {
	case IR_HERE:
		sum = here(ir);
		break;
	case IR_AND:
	case IR_SHR:
	case IR_SHL:
		sum = small(p, ir);
		break;
	case IR_ADD:
	case IR_SHIFT_ADD:
		sum = sum_of(p, ir);
		break;
	default:
		fresh(p, ir->dst);
		return;
	}
	if (sum.range == RANGE_MAX)
		fresh(p, ir->dst);
	else
		p->sums[ir->dst] = sum;
}

/* What is alone in its group is in none. */
static void settle(struct pass *p, unsigned i)
{
	struct ir *ir = &p->unit->ops[i];
	const struct group *g = &p->groups[ir->group];

	ir->walks = p->walks[ir->group];
	if (g->members == 1 && !ir->walks) {
		ir->group = 0;
		return;
	}
	p->unit->grouped = true;
	ir->leads = g->leader == i;
	ir->ranged = g->ranged;
	ir->from = g->from;
	ir->from_low = g->low - g->from_distance;
	ir->stores = g->store;
	ir->low = (uint16_t)(p->places[i] - g->low);
	ir->span = (uint16_t)(g->high - g->low);
}

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
static void resolve_one(struct pass *p, unsigned i)
{
	struct ir_unit *unit = p->unit;
	struct ir *ir = &unit->ops[i];
	unsigned to;

	ir->inside = (uint16_t)find_at(unit, ir->imm);
	if (!ir->inside)
		return;
	if (!unit->inside) {
		memset(p->first_from, 0, unit->count * sizeof p->first_from[0]);
		memset(p->last_from, 0, unit->count * sizeof p->last_from[0]);
		unit->inside = true;
	}
	to = ir->inside - 1u;
	unit->ops[to].label = true;
	unit->loops |= to <= i;
	if (to <= i)
		p->last_from[to] = (uint16_t)(i + 1);
	else if (!p->first_from[to])
		p->first_from[to] = (uint16_t)(i + 1);
}

static void resolve(struct pass *p)
{
	const struct ir_unit *unit = p->unit;
	int64_t end = unit->at + unit->bytes;

	for (unsigned i = 0; i < unit->count; i++) {
		const struct ir *ir = &unit->ops[i];

		if ((ir->op == IR_BRANCH || (ir->op == IR_JUMP && ir->dst == IR_ZERO)) && ir->imm >= unit->at &&
		    ir->imm < end)
			resolve_one(p, i);
	}
}

/* What is known where a way from before leads round some operations. */
static void join(struct pass *p, unsigned from)
{
	for (unsigned i = p->first; i <= p->count; i++)
		if (p->groups[i].leader >= from)
			p->groups[i].closed = true;
	for (unsigned i = 0; i < IR_GLOBALS; i++)
		if (p->written[i] > from)
			fresh(p, i);
}

/* What is known at the head of a loop: nothing that the loop changes, nor what a way into its middle leads round. */
static void head(struct pass *p, unsigned first, unsigned last)
{
	for (unsigned i = first; i < last; i++) {
		const struct ir *ir = &p->unit->ops[i];

		if (ir->op == IR_CALL_C) {
			all_fresh(p);
			return;
		}
		if (p->first_from[i] && p->first_from[i] <= first)
			join(p, p->first_from[i]);
		if (ir_writes_global(ir))
			fresh(p, ir->dst);
	}
}

/* How far a base may move in one round of a loop for its group to walk: what leaves its page every few rounds is looked
 * up each time, which takes little more and is the same each time. */
#define STRIDE_MAX 128

/* Of the globals, those that operations [first, last] move by constants alone, and not far, or not at all. */
static uint32_t walking(const struct ir_unit *unit, unsigned first, unsigned last)
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

static bool stays_or_walks(uint32_t set, unsigned from)
{
	return from == IR_PAGE || (set >> from & 1);
}

/* Which groups walk: their leader is in a loop that moves its base so. */
static void walks(struct pass *p)
{
	const struct ir_unit *unit = p->unit;

	for (unsigned i = 0; i < unit->count; i++) {
		unsigned to = unit->ops[i].inside;
		uint32_t set = to && to - 1 <= i ? walking(unit, to - 1, i) : 0;

		for (unsigned g = 1; set && g <= p->count; g++) {
			unsigned leader = p->groups[g].leader;

			if (leader >= to - 1 && leader <= i)
				p->walks[g] |= stays_or_walks(set, p->groups[g].from);
		}
	}
}

/* Ways of the unit join before this operation, or may part behind it. */
static void ways(struct pass *p, unsigned i)
{
	const struct ir *ir = &p->unit->ops[i];

	if (p->first_from[i])
		join(p, p->first_from[i]);
	if (p->last_from[i])
		head(p, i, p->last_from[i]);
	if (p->last_from[i] > p->loop)
		p->loop = p->last_from[i];
	/* Not in a loop, unless the store follows for certain: it may run over pages that are but read. */
	if (i < p->loop && (ir->label || ir->op >= IR_BRANCH))
		p->straight = ir->label ? i : i + 1;
}

static void groups(struct pass *p)
{
	struct ir_unit *unit = p->unit;

	for (unsigned i = 0; i < unit->count; i++) {
		struct ir *ir = &unit->ops[i];

		if (unit->inside)
			ways(p, i);
		if (is_access(ir))
			place(p, ir);
		if (ir->op == IR_CALL_C) {
			all_fresh(p);
		} else if (ir_writes_global(ir)) {
			follow(p, ir);
			p->written[ir->dst] = (uint16_t)(i + 1);
		}
	}
	if (!p->count)
		return;
	memset(p->walks, 0, sizeof p->walks);
	if (unit->loops)
		walks(p);
	for (unsigned i = 0; i < unit->count; i++)
		if (unit->ops[i].group)
			settle(p, i);
}

void optimize(struct ir_unit *unit)
{
	struct pass p;

	p.unit = unit;
	p.roots = ROOT_ZERO + 1;
	p.count = 0;
	p.straight = p.loop = 0;
	memset(p.written, 0, sizeof p.written);
	unit->inside = unit->loops = unit->grouped = false;
	all_fresh(&p);
	resolve(&p);
	simplify(unit);
	groups(&p);
}
